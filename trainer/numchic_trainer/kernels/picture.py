# SPDX-License-Identifier: BSD-3-Clause
"""From latents to the picture and back, without tensors (coolchic-5, sections 9 and 11.1).

The step of the upsampling to the finest level and the 1 x 1 layers of the synthesis go together,
some rows at a time: the dense latents, seven numbers per pixel, never leave the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_trainer.kernels.lanes import LANES
from numchic_trainer.kernels.products import COLUMNS, add_folded
from numchic_trainer.kernels.rows import copy, row_size
from numchic_trainer.kernels.synthesis import (
    Network,
    Planes,
    Pointwise,
    Sizes,
    is_usual,
    make_scratch,
    pointwise_backward,
    pointwise_forward,
)
from numchic_trainer.kernels.upsampling import (
    MAX_PRECONCAT_SIZE,
    MAX_X2_SIZE,
    N_ROWS,
    NOTHING,
    STEP,
    Level,
    Pyramid,
    double_row,
    halve_row,
)
from numchic_trainer.kernels.workers import Workers

_CHUNK_PIXELS = 1024


class PictureSweep:
    """Upsampling and synthesis of one picture, forward and backward.

    Parameters
    ----------
    header : CoolChicHeader
        One that :meth:`fits`.
    noise : float32[S', h, w] or None
        Common randomness, the second half of the input of the synthesis.
    workers : Workers

    Notes
    -----
    All memory is allocated here: about 85 bytes per pixel with one 3 x 3 layer and 100 with two.
    Weights are arrays in the order of :func:`numchic_trainer.model.encoder.picture_parameters`.
    """

    def __init__(self, header: CoolChicHeader, noise: F32 | None, workers: Workers) -> None:
        derived = header.derived
        places = np.cumsum([0] + [grid.n_samples for grid in derived.grids])
        grids = [
            (grid.height, grid.width, int(place))
            for grid, place in zip(derived.grids, places, strict=False)
            if not grid.hyper
        ]
        self._workers = workers
        self._n_filters = header.latent_resolution[1]
        self._pyramid = Pyramid(grids, False, workers)
        self._parts = self._pyramid.parts(0)
        self._noise = np.zeros(0, np.float32) if noise is None else noise.reshape(-1)
        height, width = derived.dense_size
        self._network = Network(
            derived.synthesis_inputs,
            derived.n_latents,
            [layer.out_ft for layer in header.syn_layer],
            bool(header.linear_stabiliser_synth),
        )
        self._planes = Planes(self._network, height, width, workers)
        self._network.make_sums(max(len(self._parts), self._planes.n_parts))
        self._fine, self._coarse = (*self._pyramid.levels, NOTHING)[:2]

    @staticmethod
    def fits(header: CoolChicHeader) -> bool:
        """Whether the kernels can do this architecture."""
        return (
            is_usual(header.syn_layer)
            and header.ups_k_size <= MAX_X2_SIZE
            and header.ups_preconcat_k_size <= MAX_PRECONCAT_SIZE
        )

    def render(self, symbols: F32, weights: Sequence[F32]) -> F32:
        """Make the picture of the finest latent's size, before the output transform.

        Parameters
        ----------
        symbols : float32[N]
            Quantised grids, hyperlatents included, one after another, finest first.
        weights : sequence of float32 arrays

        Returns
        -------
        float32[C, h, w]
            C outputs of the synthesis. A buffer that is used again by the next call.
        """
        pyramid, network, planes = self._pyramid, self._network, self._planes
        n, n_steps = self._n_filters, len(pyramid.levels) - 1
        pyramid.set_taps(weights[:n_steps], weights[n : n + n_steps])
        network.set_weights(weights[2 * n :])
        pyramid.upsample(symbols)

        def work(p: int) -> None:
            _render(
                self._fine,
                self._coarse,
                pyramid.taps,
                pyramid.dense,
                self._noise,
                network.sizes,
                network.pointwise,
                *self._parts[p],
                planes.trunk,
                planes.side,
            )

        self._workers.run(work, len(self._parts))
        planes.forward()
        return planes.raw

    def differentiate(
        self,
        symbols: F32,
        d_raw: F32,
        d_symbols: F32,
        d_weights: Sequence[F32],
    ) -> None:
        """Differentiate the last :meth:`render`, which had the same symbols.

        Parameters
        ----------
        symbols : float32[N]
            As there.
        d_raw : float32[C, h, w]
            Derivatives by the picture.
        d_symbols : float32[N]
            Derivatives are added to it.
        d_weights : sequence of float32 arrays
            Output.
        """
        pyramid, network, planes = self._pyramid, self._network, self._planes
        incoming = d_raw.reshape(-1)
        network.sums[:] = 0.0
        pyramid.begin_backward()
        d_trunk = planes.backward(d_raw)

        def work(p: int) -> None:
            _differentiate(
                self._fine,
                self._coarse,
                pyramid.taps,
                pyramid.dense,
                self._noise,
                network.sizes,
                network.pointwise,
                *self._parts[p],
                d_trunk,
                incoming,
                pyramid.d_dense,
                pyramid.columns,
                pyramid.sums[p],
                network.sums[p, : network.spatial_sums],
            )

        self._workers.run(work, len(self._parts))
        pyramid.backward(symbols, d_symbols)
        n, n_steps = self._n_filters, len(pyramid.levels) - 1
        pyramid.get_d_taps(d_weights[:n_steps], d_weights[n : n + n_steps])
        for unused in (*d_weights[n_steps:n], *d_weights[n + n_steps : 2 * n]):
            unused[:] = 0.0
        network.get_d_weights(d_weights[2 * n :])


@kernel()
def _chunk_rows(width: int) -> int:
    return max(_CHUNK_PIXELS // width, 1)


@kernel()
def _fill_inputs(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    noise: F32,
    sizes: Sizes,
    start: int,
    n_rows: int,
    row: F32,
    x: F32,
    size: int,
) -> None:
    """Make some rows of the input of the synthesis: latents, then common randomness."""
    width, n = fine.width, n_rows * fine.width
    copy(dense, fine.dense + start * width, n, x, 0)
    for i in range(n_rows):
        double_row(fine, coarse, taps, dense, start + i, row, x, size + i * width, size)
    for c in range(sizes.n_inputs - sizes.n_seen):
        copy(noise, (c * fine.height + start) * width, n, x, (sizes.n_seen + c) * size)


@kernel(allocates=True)
def _render(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    noise: F32,
    sizes: Sizes,
    layers: Pointwise,
    start: int,
    end: int,
    trunk: F32,
    side: F32,
) -> None:
    """Evaluate the 1 x 1 layers for pairs of rows."""
    width, n_rows, last = fine.width, _chunk_rows(fine.width), min(2 * end, fine.height)
    size = n_rows * width + -(n_rows * width) % COLUMNS
    scratch = make_scratch(sizes, size)
    row = np.zeros(row_size(coarse.width), np.float32)
    for m in range(2 * start, last, n_rows):
        n = min(n_rows, last - m)
        _fill_inputs(fine, coarse, taps, dense, noise, sizes, m, n, row, scratch.x, size)
        pointwise_forward(
            sizes, layers, scratch, size, n * width, trunk, side, m * width, fine.height * width
        )


@kernel(allocates=True)
def _differentiate(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    noise: F32,
    sizes: Sizes,
    layers: Pointwise,
    start: int,
    end: int,
    d_trunk: F32,
    d_side: F32,
    d_dense: F32,
    columns: F32,
    tap_sums: F64,
    sums: F64,
) -> None:
    """Differentiate the 1 x 1 layers and, along rows, the finest step for pairs of rows."""
    width, n_rows, last = fine.width, _chunk_rows(fine.width), min(2 * end, fine.height)
    size = n_rows * width + -(n_rows * width) % COLUMNS
    scratch = make_scratch(sizes, size)
    rows = np.zeros(N_ROWS * row_size(coarse.width), np.float32)
    lanes, tap_lanes = np.zeros(sums.size * LANES), np.zeros(STEP * LANES)
    for m in range(2 * start, last, n_rows):
        n = min(n_rows, last - m)
        _fill_inputs(fine, coarse, taps, dense, noise, sizes, m, n, rows, scratch.x, size)
        place, plane = m * width, fine.height * width
        pointwise_backward(
            sizes, layers, scratch, size, n * width, d_trunk, d_side, place, plane, lanes
        )
        d_x = scratch.d_x
        copy(d_x, 0, n * width, d_dense, fine.dense + place)
        for i in range(n):
            at = size + i * width
            halve_row(fine, coarse, taps, dense, m + i, rows, d_x, at, size, columns, tap_lanes)
    add_folded(lanes, sums)
    add_folded(tap_lanes, tap_sums[fine.taps : fine.taps + STEP])
