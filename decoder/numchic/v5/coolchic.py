# SPDX-License-Identifier: BSD-3-Clause
"""One Cool-chic decoder: payloads -> signal at picture size (coolchic-5, sections 5 to 11).

The finest grid holds most of the latents and is decoded from top to bottom, while everything after
the latents works on bands of rows. So bands are rendered by other threads as soon as the rows they
need are there. No result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

import numpy as np

from numchic.progress import Progress
from numchic.v5.latents import LatentDecoder
from numchic.v5.noise import CommonRandomness
from numchic.v5.resize import resize_rows
from numchic.v5.synthesis import Synthesiser
from numchic.v5.upsampling import Upsampler
from numchic_bitstream.arrays import F32, I8
from numchic_bitstream.v5.complexity import BAND_ROWS
from numchic_bitstream.v5.grids import dense_size, n_latents
from numchic_bitstream.v5.parameters import read_parameters
from numchic_bitstream.v5.stream import CoolChic

Sink = Callable[[int, F32], None]
"""Takes the number of a first row and float32[O, n_rows, W]."""

_PATIENCE = 0.1  # seconds between two reports while other threads work

# A hostile stream may overflow float32; that is an error when its samples are rounded.
_quiet_overflow = np.errstate(over="ignore", invalid="ignore")


def decode_signal(
    coolchic: CoolChic, sink: Sink, *, threads: int = 1, progress: Progress | None = None
) -> list[I8]:
    """Decode everything and hand the signal to ``sink``.

    Parameters
    ----------
    coolchic : CoolChic
    sink : callable
        Called once per band of rows, from several threads and in any order. Bands start at even
        rows.
    threads : int
        Number of threads that may compute at the same time, the calling one included.
    progress : callable, optional
        Called from the calling thread; an exception it raises stops the decoding.

    Returns
    -------
    list of int8[h, w]
        The latents, see :func:`numchic.v5.latents.decode_latents`.

    Raises
    ------
    CorruptError, TruncatedError
        See :func:`numchic.v5.latents.decode_latents`.
    """
    pool = ThreadPoolExecutor(threads - 1, "numchic") if threads > 1 else None
    rendering = _Rendering(coolchic, sink, pool, progress)
    try:
        return rendering.run()
    finally:
        rendering.over = True
        if pool is not None:
            pool.shutdown(cancel_futures=True)


class _Rendering:
    """State of one :func:`decode_signal`."""

    def __init__(
        self,
        coolchic: CoolChic,
        sink: Sink,
        pool: ThreadPoolExecutor | None,
        progress: Progress | None,
    ) -> None:
        header = coolchic.header
        parameters = read_parameters(header, coolchic.nn_payload, coolchic.nn_offset)
        self.header = header
        self.sink = sink
        self.pool = pool
        self.progress = progress
        self.latents = LatentDecoder(coolchic, parameters)
        self.upsampler = Upsampler(header, parameters.upsampling)
        self.synthesiser = Synthesiser(header, parameters.synthesis)
        self.height, self.width = dense_size(header)
        self.noise: CommonRandomness | None = None
        self.unresized: F32 | None = None
        if (self.height, self.width) != header.img_size:
            shape = (self.synthesiser.n_outputs, self.height, self.width)
            self.unresized = np.empty(shape, np.float32)
        # Rows to render, those of the final resize counted apart.
        self.total_rows = self.height + (0 if self.unresized is None else header.img_size[0])
        self.jobs: list[tuple[int, Future[None]]] = []
        self.next_row = 0
        self.rendered = 0  # rows reported
        self.over = False

    def run(self) -> list[I8]:
        grids = self.latents.grid_list
        finest = next(k for k, grid in enumerate(grids) if not grid.hyper)
        total = sum(grid.height * grid.width for grid in grids)
        done = 0
        for k in reversed(range(len(grids))):
            if k == finest:
                self._submit(0, self._prepare)
            for rows in self.latents.decode_grid(k):
                if k == finest:
                    self._submit_bands(rows)
                self._report("latents", done + rows * grids[k].width, total)
            done += self.latents.grids[k].size
        self._finish()
        return self.latents.grids

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)

    def _report_rows(self, rows: int) -> None:
        self.rendered = rows
        self._report("rendering", rows, self.total_rows)

    def _submit(self, rows: int, job: Callable[..., None], *arguments: int) -> None:
        """Do a job, after which ``rows`` rows are rendered, or leave it to the pool."""
        if self.pool is None:
            job(*arguments)
            self._report_rows(rows)
        else:
            self.jobs.append((rows, self.pool.submit(job, *arguments)))

    def _pause(self) -> None:
        """Give the caller a chance to stop long work."""
        if self.over:
            raise CancelledError
        if self.pool is None:
            self._report_rows(self.rendered)

    @_quiet_overflow
    def _prepare(self) -> None:
        """Do what the bands need and what does not depend on the finest latent."""
        pairs = zip(self.latents.grid_list, self.latents.grids, strict=True)
        self.upsampler.prepare([samples for grid, samples in pairs if not grid.hyper])
        if self.header.flag_common_randomness:
            lowest, highest = self.header.latent_resolution
            self.noise = CommonRandomness(self.header.img_size, lowest, highest)

    def _submit_bands(self, rows: int) -> None:
        """Submit all bands that need no more than the first ``rows`` rows of the finest latent."""
        reach = self.synthesiser.reach + self.upsampler.reach
        while self.next_row < self.height:
            stop = min(self.next_row + BAND_ROWS, self.height)
            if min(stop + reach, self.height) > rows:
                return
            self._submit(stop, self._render, self.next_row, stop - self.next_row)
            self.next_row = stop

    @_quiet_overflow
    def _render(self, first: int, n_rows: int) -> None:
        """Upsample, synthesise and hand over one band."""
        if self.pool is not None:
            self.jobs[0][1].result()  # _prepare
        band = self.synthesiser.band(self.height, self.width, first, n_rows)
        dense, n = band.input, n_latents(self.header)
        self.upsampler.rows(band.input_first, band.margin, dense[:n])
        if self.noise is not None:
            inside = slice(band.margin, band.margin + self.width)
            dense[n:, :, inside] = self.noise.rows(band.input_first, dense.shape[1])
        self.synthesiser.run(band, self._pause)
        if self.unresized is None:
            self.sink(first, band.output)
        else:
            self.unresized[:, first : first + n_rows] = band.output

    def _finish(self) -> None:
        self._wait(0)
        if self.unresized is not None:
            height, n_jobs = self.header.img_size[0], len(self.jobs)
            for first in range(0, height, BAND_ROWS):
                n_rows = min(BAND_ROWS, height - first)
                self._submit(self.height + first + n_rows, self._resize, first, n_rows)
            self._wait(n_jobs)

    def _wait(self, first: int) -> None:
        """Wait for the jobs first, first + 1, ... left to the pool."""
        for rows, job in self.jobs[first:]:
            while not wait([job], _PATIENCE).done:
                self._report_rows(self.rendered)
            job.result()
            self._report_rows(rows)

    @_quiet_overflow
    def _resize(self, first: int, n_rows: int) -> None:
        """Resize and hand over one band."""
        assert self.unresized is not None
        size, kind = self.header.img_size, self.header.final_upsampling_type
        self.sink(first, resize_rows(self.unresized, size, kind, first, n_rows))
