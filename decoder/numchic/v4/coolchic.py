# SPDX-License-Identifier: BSD-3-Clause
"""One 4.x decoder: sub-streams -> signal (coolchic-4.2, sections 7 to 12).

Latent planes do not depend on each other, and everything after them works on bands of rows. So the
calling thread decodes the finest plane, which holds most of the latents, while other threads decode
the rest and then render bands as soon as the rows they need are there; then it helps them. No
result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Lock, get_ident

import numpy as np

from numchic.progress import Progress
from numchic.v4.arm import prepare_arm
from numchic.v4.latents import decode_plane, interior, new_plane
from numchic.v4.synthesis import MARGIN, Synthesiser
from numchic.v4.upsampling import Upsampler
from numchic_bitstream.arrays import F32
from numchic_bitstream.errors import NumchicError
from numchic_bitstream.v4.grids import coded_planes, output_size, resolution_size
from numchic_bitstream.v4.parameters import read_parameters
from numchic_bitstream.v4.stream import CoolChic
from numchic_bitstream.v5.complexity import BAND_ROWS

Sink = Callable[[int, F32], None]
"""Takes the number of a first row and float32[O, n_rows, W]."""

_PATIENCE = 0.1  # seconds between two reports while other threads work

# A hostile stream may overflow int32, which wraps around, or float32.
_quiet_overflow = np.errstate(over="ignore", invalid="ignore")


class SignalDecoder:
    """Decodes the parts of one frame.

    Parameters
    ----------
    parts : sequence of CoolChic
    img_size : (H, W)
    threads : int
        Number of threads that may compute at the same time, the calling one included.
    progress : callable, optional
        Called from the calling thread; an exception it raises stops the decoding.
    """

    def __init__(
        self,
        parts: Sequence[CoolChic],
        img_size: tuple[int, int],
        threads: int,
        progress: Progress | None,
    ) -> None:
        self._parts = parts
        self._img_size = img_size
        self._threads = threads
        self._progress = progress
        sizes = [resolution_size(img_size, i) for part in parts for i in coded_planes(part.header)]
        self._done = {"latents": 0, "rendering": 0}
        self._total = {
            "latents": sum(height * width for height, width in sizes),
            "rendering": sum(self.output_size(k)[0] for k in range(len(parts))),
        }

    def output_size(self, part: int) -> tuple[int, int]:
        """(height, width) of the signal of a part."""
        return output_size(self._parts[part].header, self._img_size)

    def advance(self, stage: str, amount: int) -> None:
        """Report work done."""
        self._done[stage] += amount
        if self._progress is not None:
            self._progress(stage, self._done[stage], self._total[stage])

    def pause(self) -> None:
        """Give the caller a chance to stop long work."""
        self.advance("rendering", 0)

    def decode(self, part: int, sink: Sink) -> None:
        """Decode a part and hand its signal to ``sink``.

        Parameters
        ----------
        part : int
        sink : callable
            Called once per band of rows, from several threads and in any order. Bands start at
            multiples of ``BAND_ROWS``.

        Raises
        ------
        CorruptError, TruncatedError
            A sub-stream is damaged.
        """
        pool = ThreadPoolExecutor(self._threads - 1, "numchic") if self._threads > 1 else None
        rendering = _Rendering(self, self._parts[part], self._img_size, sink, pool)
        try:
            rendering.run()
        finally:
            rendering.over = True
            if pool is not None:
                pool.shutdown(cancel_futures=True)
            # They refer back to it, so that its arrays would wait for the garbage collector.
            rendering.jobs.clear()


class _Job:
    """Work that whoever is free does, once."""

    def __init__(self, stage: str, amount: int, work: Callable[[], None]) -> None:
        self.stage = stage
        self.amount = amount
        self.future: Future[None] = Future()
        self._work = work
        self._unclaimed = Lock()

    def run(self) -> None:
        """Do the work unless somebody else does; what it raises is kept in the future.

        What is no error of the stream, such as an interruption, goes to the caller as well, so that
        it does not take up another job.
        """
        if self._unclaimed.acquire(blocking=False):
            try:
                self._work()
            except BaseException as error:
                self.future.set_exception(error)
                if not isinstance(error, NumchicError):
                    raise
            else:
                self.future.set_result(None)


class _Rendering:
    """State of one :meth:`SignalDecoder.decode`."""

    def __init__(
        self,
        decoder: SignalDecoder,
        coolchic: CoolChic,
        img_size: tuple[int, int],
        sink: Sink,
        pool: ThreadPoolExecutor | None,
    ) -> None:
        header = coolchic.header
        parameters = read_parameters(coolchic)
        self.decoder = decoder
        self.coolchic = coolchic
        self.sink = sink
        self.pool = pool
        self.arm = prepare_arm(parameters.arm)
        self.upsampler = Upsampler(header, parameters, img_size, coolchic.noise_start)
        self.synthesiser = Synthesiser(header, parameters.syn)
        self.height, self.width = output_size(header, img_size)
        self.planes = {i: new_plane(*resolution_size(img_size, i)) for i in coded_planes(header)}
        self.jobs: list[_Job] = []
        self.n_planes = 0  # the first jobs; the next one is _prepare
        self.caller = get_ident()
        self.next_row = 0
        self.over = False

    @_quiet_overflow
    def run(self) -> None:
        lead = self.coolchic.header.lead
        for i, plane in self.planes.items():
            if i != lead:
                self._submit("latents", interior(plane).size, self._decode_plane, i)
        self.n_planes = len(self.jobs)
        self._submit("rendering", 0, self._prepare)
        if lead in self.planes:
            done = 0
            for rows in self._decode_rows(lead):
                self.decoder.advance(
                    "latents", (rows - done) * interior(self.planes[lead]).shape[1]
                )
                done = rows
                self._submit_bands(rows)
        self._submit_bands(self.height)
        self._finish()

    def _submit(self, stage: str, amount: int, work: Callable[..., None], *arguments: int) -> None:
        """Do a job, or leave it to the pool; either way it counts as some work of a stage."""
        if self.pool is None:
            work(*arguments)
            self.decoder.advance(stage, amount)
        else:
            self.jobs.append(_Job(stage, amount, partial(work, *arguments)))
            self.pool.submit(self.jobs[-1].run)

    def _pause(self) -> None:
        """Give the caller a chance to stop long work."""
        if self.over:
            raise CancelledError
        if get_ident() == self.caller:
            self.decoder.pause()

    def _decode_rows(self, i: int) -> Iterator[int]:
        header = self.coolchic.header
        context_size = header.topology.arm.context_size
        stream, plane = self.coolchic.latents[i], self.planes[i]
        return decode_plane(stream, self.arm, context_size, header.blk, i, plane)

    @_quiet_overflow
    def _decode_plane(self, i: int) -> None:
        for _ in self._decode_rows(i):
            self._pause()

    @_quiet_overflow
    def _prepare(self) -> None:
        """Do what the bands need and what does not depend on the finest latent."""
        for job in self.jobs[: self.n_planes]:
            job.future.result()
        self.upsampler.prepare({i: interior(plane) for i, plane in self.planes.items()})

    def _submit_bands(self, rows: int) -> None:
        """Submit all bands that need no more than the first ``rows`` rows of the finest latent."""
        reach = self.synthesiser.reach + self.upsampler.reach
        while self.next_row < self.height:
            stop = min(self.next_row + BAND_ROWS, self.height)
            if min(stop + reach, self.height) > rows:
                return
            n_rows = stop - self.next_row
            self._submit("rendering", n_rows, self._render, self.next_row, n_rows)
            self.next_row = stop

    @_quiet_overflow
    def _render(self, first: int, n_rows: int) -> None:
        """Upsample, synthesise and hand over one band."""
        if self.pool is not None:
            self.jobs[self.n_planes].future.result()
        start, n_input_rows = self.synthesiser.input_rows(self.height, first, n_rows)
        shape = (self.synthesiser.n_inputs, n_input_rows, self.width + 2 * MARGIN)
        planes = np.empty(shape, np.float32)
        self.upsampler.rows(start, MARGIN, planes)
        self.sink(first, self.synthesiser.run(planes, self.height, first, n_rows, self._pause))

    def _finish(self) -> None:
        """Help the pool, with bands from the last one upwards, and wait for it."""
        bands = self.n_planes + 1
        for job in self.jobs[:bands] + self.jobs[:bands:-1] + self.jobs[bands : bands + 1]:
            job.run()
        for job in self.jobs:
            while not wait([job.future], _PATIENCE).done:
                self.decoder.pause()
            job.future.result()
            self.decoder.advance(job.stage, job.amount)
