# SPDX-License-Identifier: BSD-3-Clause
"""One Cool-chic decoder: payloads -> signal at picture size (coolchic-5, sections 5 to 11).

The finest grid holds most of the latents and is decoded from top to bottom, while everything after
the latents works on bands of rows. So the calling thread decodes latents, other threads render
bands as soon as the rows they need are there, and at the end it helps them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from numchic.schedule import BAND_ROWS, Bands, Meter, Schedule
from numchic.v5.latents import LatentDecoder
from numchic.v5.noise import CommonRandomness
from numchic.v5.resize import resize_rows
from numchic.v5.synthesis import Synthesiser
from numchic.v5.upsampling import Upsampler
from numchic_bitstream.arrays import F32, I8
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import read_parameters
from numchic_bitstream.v5.stream import CoolChic

Sink = Callable[[int, F32], None]
"""Takes the number of a first row and float32[O, n_rows, W]."""


def signal_totals(header: CoolChicHeader) -> tuple[int, int]:
    """Work of :func:`decode_signal`: samples of latents, rows to render, resized ones included."""
    height = header.derived.dense_size[0]
    resized = 0 if header.derived.dense_size == header.img_size else header.img_size[0]
    return sum(grid.height * grid.width for grid in header.derived.grids), height + resized


def decode_signal(coolchic: CoolChic, sink: Sink, meter: Meter, *, threads: int = 1) -> list[I8]:
    """Decode everything and hand the signal to ``sink``.

    Parameters
    ----------
    coolchic : CoolChic
    sink : callable
        Called once per band of rows, from several threads and in any order. Bands start at even
        rows.
    meter : Meter
        Counts "latents" and "rendering", see :func:`signal_totals`.
    threads : int
        Number of threads that may compute at the same time, the calling one included.

    Returns
    -------
    list of int8[h, w]
        The latents, see :func:`numchic.v5.latents.decode_latents`.

    Raises
    ------
    CorruptError, TruncatedError
        See :func:`numchic.v5.latents.decode_latents`.
    """
    with Schedule(threads, meter) as schedule:
        return _Rendering(coolchic, sink, meter, schedule).run()


class _Rendering:
    """State of one :func:`decode_signal`."""

    def __init__(self, coolchic: CoolChic, sink: Sink, meter: Meter, schedule: Schedule) -> None:
        header = coolchic.header
        parameters = read_parameters(header, coolchic.nn_payload, coolchic.nn_offset)
        self.header = header
        self.sink = sink
        self.meter = meter
        self.schedule = schedule
        self.latents = LatentDecoder(coolchic, parameters)
        self.upsampler = Upsampler(header, parameters.upsampling)
        self.synthesiser = Synthesiser(header, parameters.synthesis)
        self.height, self.width = header.derived.dense_size
        self.noise: CommonRandomness | None = None
        self.unresized: F32 | None = None
        if (self.height, self.width) != header.img_size:
            shape = (self.synthesiser.n_outputs, self.height, self.width)
            self.unresized = np.empty(shape, np.float32)

    def run(self) -> list[I8]:
        grids = self.latents.grid_list
        finest = next(k for k, grid in enumerate(grids) if not grid.hyper)
        for k in range(len(grids) - 1, finest, -1):
            self._decode_grid(k)
        reach = self.synthesiser.reach + self.upsampler.reach
        prepared = self.schedule.add(self._prepare)
        bands = Bands(self.schedule, self.height, reach, self._render, [prepared])
        self._decode_grid(finest, bands.advance)
        for k in range(finest - 1, -1, -1):
            self._decode_grid(k)
        if self.unresized is not None:
            for first in range(0, self.header.img_size[0], BAND_ROWS):
                n_rows = min(BAND_ROWS, self.header.img_size[0] - first)
                self.schedule.add(partial(self._resize, first, n_rows), bands.jobs)
        return self.latents.grids

    def _decode_grid(self, k: int, advance: Callable[[int], None] = lambda _: None) -> None:
        """Decode a grid, and tell how many of its rows are complete."""
        done = 0
        for rows in self.latents.decode_grid(k):
            advance(rows)
            self.meter.advance("latents", (rows - done) * self.latents.grid_list[k].width)
            done = rows

    def _prepare(self) -> None:
        """Do what the bands need and what does not depend on the finest latent."""
        pairs = zip(self.latents.grid_list, self.latents.grids, strict=True)
        self.upsampler.prepare([samples for grid, samples in pairs if not grid.hyper])
        if self.header.flag_common_randomness:
            lowest, highest = self.header.latent_resolution
            self.noise = CommonRandomness(self.header.img_size, lowest, highest)

    def _render(self, first: int, n_rows: int) -> None:
        """Upsample, synthesise and hand over one band."""
        band = self.synthesiser.band(self.height, self.width, first, n_rows)
        dense, n = band.input, self.header.derived.n_latents
        self.upsampler.rows(band.input_first, band.margin, dense[:n])
        if self.noise is not None:
            inside = slice(band.margin, band.margin + self.width)
            dense[n:, :, inside] = self.noise.rows(band.input_first, dense.shape[1])
        self.synthesiser.run(band, self.schedule.pause)
        if self.unresized is None:
            self.sink(first, band.output)
        else:
            self.unresized[:, first : first + n_rows] = band.output
        self.meter.advance("rendering", n_rows)

    def _resize(self, first: int, n_rows: int) -> None:
        """Resize and hand over one band."""
        assert self.unresized is not None
        size, kind = self.header.img_size, self.header.final_upsampling_type
        self.sink(first, resize_rows(self.unresized, size, kind, first, n_rows))
        self.meter.advance("rendering", n_rows)
