# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling: latent grids -> dense latents (coolchic-5, section 9). Float.

Starting from the coarsest latent grid, all channels are doubled with a separable transposed filter
(X2), cut to the size of the next finer grid, and that grid joins them after a separable filter of
its own (PRE).

Order of operations, every product and sum rounded to float32:

* X2: along rows first, then along columns; each output is the polyphase sum of section 9.4 with
  u = 0, 1, 2 ..., from the first product on.
* PRE: along rows first, then along columns, t = 0, 1, 2 ...; the sample itself is added last.

The last step, which makes most of the data, is done for a range of rows at a time so that the dense
latents never need to exist as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numchic.filters import preconcat_rows
from numchic_bitstream.arrays import F32, F32_1D, F32_2D, F32_3D, I8
from numchic_bitstream.errors import UsageError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import UpsamplingParameters, dequantise


def x2_kernel(half: F32) -> F32:
    """Full kernel of X2, even size, from its first half (section 9.2)."""
    return np.concatenate([half, half[::-1]])


def preconcat_kernel(half: F32) -> F32:
    """Full kernel of PRE, odd size, from its first half and centre (section 9.2)."""
    return np.concatenate([half, half[-2::-1]])


class Upsampler:
    """Upsamples the latents of one Cool-chic decoder.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : UpsamplingParameters

    Attributes
    ----------
    reach : int
        Number of rows of the finest latent that a dense row needs above and below itself.

    Notes
    -----
    :meth:`prepare` must have seen all but the finest latent before :meth:`rows` is called.
    """

    def __init__(self, header: CoolChicHeader, parameters: UpsamplingParameters) -> None:
        exponent = header.derived.steps.upsampling_weight
        self._x2 = [x2_kernel(dequantise(layer, exponent, 0).weight) for layer in parameters.x2]
        self._preconcat = [
            preconcat_kernel(dequantise(layer, exponent, 0).weight)
            for layer in parameters.preconcat
        ]
        self._stack = np.empty((0, 0, 0), np.float32)
        self._finest = np.empty((0, 0), np.int8)
        # That of the finest latent; -1: no step at all.
        self._last_step = header.derived.n_latents - 2
        self.reach = self._preconcat[self._last_step].size // 2 if self._last_step >= 0 else 0

    def prepare(self, latents: Sequence[I8]) -> None:
        """Take the latents, finest first, and upsample all but the finest.

        The finest array may still be empty of content; it is read by :meth:`rows`.
        """
        *finer, coarsest = latents
        self._stack = coarsest.astype(np.float32)[None]
        for step, grid in enumerate(finer[:0:-1]):
            stack = np.empty((step + 2, *grid.shape), np.float32)
            self._upsample(step, self._stack, grid, 0, 0, stack)
            self._stack = stack
        self._finest = latents[0]

    def _upsample(self, step: int, stack: F32, grid: I8, first: int, margin: int, out: F32) -> None:
        preconcat_rows(grid, self._preconcat[step], first, margin, out[0])
        x2_rows(stack, self._x2[step], first, grid.shape[1], margin, out[1:])

    def rows(self, first: int, margin: int, out: F32) -> None:
        """Write dense rows first, first + 1, ...

        Parameters
        ----------
        first, margin : int
            First row; number of columns on each side of ``out`` to leave alone.
        out : float32[S', n_rows, margin + w + margin]
            Output, contiguous.
        """
        if self._last_step < 0:
            inside = slice(margin, margin + self._finest.shape[1])
            out[0, :, inside] = self._finest[first : first + out.shape[1]]
        else:
            self._upsample(self._last_step, self._stack, self._finest, first, margin, out)


def upsample(
    header: CoolChicHeader, parameters: UpsamplingParameters, latents: Sequence[I8]
) -> F32:
    """Upsample latents to dense latents.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : UpsamplingParameters
    latents : sequence of int8[h, w]
        Latent grids without hyperlatents, finest first.

    Returns
    -------
    float32[S', h, w]
        Channel j comes from latent j.

    Raises
    ------
    UsageError
        The latents do not fit the header.
    """
    expected = [grid.shape for grid in header.derived.grids if not grid.hyper]
    found = [latent.shape for latent in latents]
    if found != expected:
        raise UsageError("the latents do not fit the header", "latents", None, found, expected)
    upsampler = Upsampler(header, parameters)
    upsampler.prepare([np.ascontiguousarray(latent, np.int8) for latent in latents])
    dense = np.empty((len(latents), *latents[0].shape), np.float32)
    upsampler.rows(0, 0, dense)
    return dense


def x2_rows(stack: F32, taps: F32, first: int, out_width: int, margin: int, out: F32) -> None:
    """Double channels with X2 and write some rows of the result.

    Parameters
    ----------
    stack : float32[C, h, w]
    taps : float32[k]
    first : int
        First output row.
    out_width, margin : int
        Output columns, 2 * w or 2 * w - 1; columns of ``out`` in front of them.
    out : float32[C, n_rows, >= margin + out_width]
        Output, contiguous.
    """
    _, height, width = stack.shape
    half = taps.size // 2
    # Input rows that the output rows reach; clipped ones are the edge rows themselves.
    low = max(0, first // 2 - half)
    high = min(height - 1, (first + out.shape[1] - 1) // 2 + half)
    padded = np.empty(width + 2 * half, np.float32)
    phases = np.empty((2, width), np.float32)
    wide = np.empty((high - low + 1, out_width), np.float32)
    _x2_rows(stack, taps, first, low, margin, padded, phases, wide, out)


@kernel(entry=True)
def _x2_rows(
    stack: F32_3D,
    taps: F32_1D,
    first: int,
    low: int,
    margin: int,
    padded: F32_1D,
    phases: F32_2D,
    wide: F32_2D,
    out: F32_3D,
) -> None:
    """Do the same with memory for one padded row, both its phases, and doubled rows from low on."""
    n_channels, height, width = stack.shape
    out_width = wide.shape[1]
    half = taps.size // 2
    for c in range(n_channels):
        for y in range(low, low + wide.shape[0]):
            for x in range(padded.size):
                padded[x] = stack[c, y, min(max(x - half, 0), width - 1)]
            for e in range(2):
                r = (e + half - 1) % 2
                start = half + (e + half - 1 - r) // 2
                for p in range(width):
                    phases[e, p] = taps[r] * padded[start + p]
                for u in range(1, half):
                    tap = taps[r + 2 * u]
                    for p in range(width):
                        phases[e, p] += tap * padded[start - u + p]
            row = wide[y - low]
            for x in range(out_width // 2):
                row[2 * x] = phases[0, x]
                row[2 * x + 1] = phases[1, x]
            if out_width % 2 == 1:
                row[out_width - 1] = phases[0, width - 1]
        for i in range(out.shape[1]):
            e = (first + i) % 2
            r = (e + half - 1) % 2
            start = (first + i) // 2 + (e + half - 1 - r) // 2
            target = out[c, i, margin : margin + out_width]
            for u in range(half):
                source = wide[min(max(start - u, 0), height - 1) - low]
                tap = taps[r + 2 * u]
                if u == 0:
                    for x in range(out_width):
                        target[x] = tap * source[x]
                else:
                    for x in range(out_width):
                        target[x] += tap * source[x]
