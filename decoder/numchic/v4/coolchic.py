# SPDX-License-Identifier: BSD-3-Clause
"""One 4.x decoder: sub-streams -> signal (coolchic-4.2, sections 7 to 12).

Latent planes do not depend on each other, and everything after them works on bands of rows. So the
calling thread decodes the finest plane, which holds most of the latents, while other threads decode
the rest and then render bands as soon as the rows they need are there; then it helps them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from numchic.schedule import Bands, Meter, Schedule
from numchic.v4.arm import prepare_arm
from numchic.v4.latents import decode_plane, interior, new_plane
from numchic.v4.synthesis import MARGIN, Synthesiser
from numchic.v4.upsampling import Upsampler
from numchic_bitstream.arrays import F32
from numchic_bitstream.v4.headers import CoolChicHeader
from numchic_bitstream.v4.parameters import read_parameters
from numchic_bitstream.v4.stream import CoolChic

Sink = Callable[[int, F32], None]
"""Takes the number of a first row and float32[O, n_rows, W]."""


def signal_totals(header: CoolChicHeader) -> tuple[int, int]:
    """Work of :func:`decode_signal`: samples of latents, rows to render."""
    sizes = [header.derived.sizes[i] for i in header.derived.coded_planes]
    return sum(height * width for height, width in sizes), header.derived.output_size[0]


def decode_signal(coolchic: CoolChic, sink: Sink, meter: Meter, *, threads: int = 1) -> None:
    """Decode everything and hand the signal to ``sink``.

    Parameters
    ----------
    coolchic : CoolChic
    sink : callable
        Called once per band of rows, from several threads and in any order. Bands start at
        multiples of ``BAND_ROWS``.
    meter : Meter
        Counts "latents" and "rendering", see :func:`signal_totals`.
    threads : int
        Number of threads that may compute at the same time, the calling one included.

    Raises
    ------
    CorruptError, TruncatedError
        A sub-stream is damaged.
    """
    # A hostile stream may overflow int32, which wraps around.
    with np.errstate(over="ignore", invalid="ignore"), Schedule(threads, meter) as schedule:
        _Rendering(coolchic, sink, meter, schedule).run()


class _Rendering:
    """State of one :func:`decode_signal`."""

    def __init__(
        self,
        coolchic: CoolChic,
        sink: Sink,
        meter: Meter,
        schedule: Schedule,
    ) -> None:
        header = coolchic.header
        parameters = read_parameters(coolchic)
        self.coolchic = coolchic
        self.sink = sink
        self.meter = meter
        self.schedule = schedule
        self.arm = prepare_arm(parameters.arm)
        self.upsampler = Upsampler(header, parameters, coolchic.noise_start)
        self.synthesiser = Synthesiser(header, parameters.syn)
        self.height, self.width = header.derived.output_size
        self.planes = {i: new_plane(*header.derived.sizes[i]) for i in header.derived.coded_planes}

    def run(self) -> None:
        lead = self.coolchic.header.lead
        others = [
            self.schedule.add(partial(self._decode_plane, i, self._pause))
            for i in self.planes
            if i != lead
        ]
        prepared = self.schedule.add(self._prepare, others)
        reach = self.synthesiser.reach + self.upsampler.reach
        bands = Bands(self.schedule, self.height, reach, self._render, [prepared])
        if lead in self.planes:
            self._decode_plane(lead, bands.advance)
        else:
            bands.advance(self.height)

    def _pause(self, _: int) -> None:
        self.schedule.pause()

    def _decode_plane(self, i: int, advance: Callable[[int], None]) -> None:
        """Decode a plane, and tell how many of its rows are complete."""
        header, plane = self.coolchic.header, self.planes[i]
        context_size, width = header.topology.arm.context_size, interior(plane).shape[1]
        done = 0
        for rows in decode_plane(
            self.coolchic.latents[i], self.arm, context_size, header.blk, i, plane
        ):
            advance(rows)
            self.meter.advance("latents", (rows - done) * width)
            done = rows

    def _prepare(self) -> None:
        """Do what the bands need and what does not depend on the finest latent."""
        self.upsampler.prepare(self.planes)

    def _render(self, first: int, n_rows: int) -> None:
        """Upsample, synthesise and hand over one band."""
        start, n_input_rows = self.synthesiser.input_rows(self.height, first, n_rows)
        shape = (self.synthesiser.n_inputs, n_input_rows, self.width + 2 * MARGIN)
        planes = np.empty(shape, np.float32)
        self.upsampler.rows(start, MARGIN, planes)
        pause = self.schedule.pause
        self.sink(first, self.synthesiser.run(planes, self.height, first, n_rows, pause))
        self.meter.advance("rendering", n_rows)
