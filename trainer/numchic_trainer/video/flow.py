# SPDX-License-Identifier: BSD-3-Clause
"""Optical flow without learned weights, for motion to start from (video-training, 9.2, 9.3). Float.

Block matching finds motion however large, Lucas and Kanade's method makes it precise. Larger
pictures are matched at a smaller size first. Matching goes strip by strip: all takes some 40 MB for
a small picture, and less than 150 bytes per pixel of a large one.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
from scipy.ndimage import (
    correlate1d,
    gaussian_filter,
    map_coordinates,
    median_filter,
    uniform_filter,
)

from numchic.v5.resize import resize
from numchic_bitstream.arrays import F32, I64
from numchic_trainer.video.pyramid import halved

MAX_SEARCHED: Final = 1 << 16  # pixels; larger pictures are matched at half the size first

_RANGE = 8  # of the search, either way
_FINE_RANGE = 2  # around what was found at half the size
_WINDOW = 8
_SHORT = np.float32(0.002 / 8)  # a pixel more of length is worth that much of a difference
_MAX_COSTS = 1 << 22  # of all displacements of the pixels of a strip

_SLOPE_SIGMA = 0.7
_AROUND_SIGMA = 2.0  # of what a vector stands for
_EQUATIONS_SIGMA = 2.5  # of the pixels that have one in common
_N_REFINEMENTS = 3
_STABLE = np.float32(1e-4)  # on the diagonal of the equations: where nothing is seen nothing moves


def estimate_flow(frame: F32, reference: F32) -> F32:
    """Block matching, refined by Lucas and Kanade's method (method C of section 9.3).

    Every pixel takes the vector of the two, or none, that leaves the least error around it.

    Parameters
    ----------
    frame, reference : float32[H, W]
        Luma, [0, 1]; the reference is the decoded one, shifted by the global translation.

    Returns
    -------
    float32[2, H, W]
        Horizontal, vertical, in pixels: the frame at x looks like the reference at x + flow(x).
    """
    best = np.zeros((2, *frame.shape), np.float32)
    least = _left(frame, reference, best)  # what is still does not move at all
    matched = block_matching_flow(frame, reference)
    for flow in (matched, _lucas_kanade(frame, reference, matched)):
        left = _left(frame, reference, flow)
        best = np.where(left < least, flow, best)
        least = np.minimum(left, least)
    return best


def block_matching_flow(frame: F32, reference: F32) -> F32:
    """Give every pixel the displacement at which its neighbourhood differs least (section 9.2).

    Takes and returns the same as :func:`estimate_flow`. Displacements up to 8 pixels are found,
    and twice as many every time that a picture is halved to have no more than
    :data:`MAX_SEARCHED` pixels.
    """
    start, reach = np.zeros((2, *frame.shape), np.int64), _RANGE
    if frame.size > MAX_SEARCHED:
        coarse = block_matching_flow(halved(frame), halved(reference))
        rows, columns = (np.arange(n) >> 1 for n in frame.shape)
        start = np.rint(2 * coarse).astype(np.int64)[:, rows][:, :, columns]
        reach = _FINE_RANGE
    height, width = frame.shape
    flow = np.empty((2, height, width), np.float32)
    n_rows = max(1, _MAX_COSTS // (width * (2 * reach + 1) ** 2))
    for first in range(0, height, n_rows):
        strip = slice(first, min(first + n_rows, height))
        flow[:, strip] = _match(frame, reference, start, reach, strip)
    smooth: F32 = median_filter(flow, (1, 5, 5), mode="nearest")
    return smooth


def block_vectors(flow: F32, size: tuple[int, int]) -> F32:
    """Median flow of the pixels that share a vector of the motion model.

    Which ones do is told by the decoder's nearest resize (format, section 11.3): blocks of 4x4 if
    the sides of the picture are multiples of 4 and the vectors are a quarter of them.

    Parameters
    ----------
    flow : float32[2, H, W]
    size : (h, w)
        Of the finest latents of motion, at most (H, W), so that every vector has a pixel.

    Returns
    -------
    float32[2, h, w]
    """
    rows, columns = (_runs(n, m) for n, m in zip(size, flow.shape[1:], strict=True))
    vectors = np.empty((2, *size), np.float32)
    for (i, y), (j, x) in product(rows, columns):
        block = flow[:, y[:, None, :, None], x[None, :, None, :]]
        vectors[:, i[:, None], j] = np.median(block, (3, 4))
    return vectors


def vector_costs(frame: F32, size: tuple[int, int]) -> F32:
    """Tell what an error of the vector of a block costs, to second order.

    Parameters
    ----------
    frame : float32[H, W]
        Luma, [0, 1].
    size : (h, w)
        As :func:`block_vectors` takes it.

    Returns
    -------
    float32[3, h, w]
        Means of gx^2, gx gy and gy^2 around every block, where g is the slope of the frame: an
        error (x, y) of the vector adds c[0] x^2 + 2 c[1] x y + c[2] y^2 to the squared error.
    """
    smooth = gaussian_filter(frame, _SLOPE_SIGMA)
    gy, gx = (
        np.gradient(smooth, axis=axis) if n > 1 else np.zeros_like(smooth)
        for axis, n in enumerate(smooth.shape)
    )
    products = [gaussian_filter(a * b, _AROUND_SIGMA) for a, b in ((gx, gx), (gx, gy), (gy, gy))]
    sides = zip(size, frame.shape, strict=True)
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in sides)  # middles of blocks
    return np.stack(products)[:, rows[:, None], columns].astype(np.float32)


def bilinear_warp(reference: F32, flow: F32) -> F32:
    """Reference seen along a flow, positions being clipped, float32[H, W]."""
    positions = flow[::-1] + np.indices(reference.shape, np.float32)
    warped: F32 = map_coordinates(reference, positions, order=1, mode="nearest")
    return warped


def _match(frame: F32, reference: F32, start: I64, reach: int, rows: slice) -> F32:
    """Best displacements of some rows, at most ``reach`` from ``start``."""
    height, width = frame.shape
    top, bottom = max(0, rows.start - _WINDOW // 2), min(rows.stop + _WINDOW // 2, height)
    x, y = start[:, top:bottom]
    offsets = np.arange(-reach, reach + 1)
    n = offsets.size
    at_y = np.arange(top, bottom)[:, None] + y + offsets[:, None, None]
    at_x = np.arange(width) + x + offsets[:, None, None]
    row_starts = np.clip(at_y, 0, height - 1, out=at_y) * width
    columns = np.clip(at_x, 0, width - 1, out=at_x)
    samples, inside = reference.ravel(), slice(rows.start - top, rows.stop - top)
    costs = np.empty((n, n, rows.stop - rows.start, width), np.float32)
    for j, i in product(range(n), repeat=2):
        difference = np.abs(frame[top:bottom] - samples.take(row_starts[j] + columns[i]))
        cost = uniform_filter(difference, _WINDOW, mode="nearest")
        length = np.hypot(x + offsets[i], y + offsets[j])
        costs[j, i] = cost[inside] + _SHORT * length[inside]
    best = costs.reshape(n * n, -1).argmin(0).reshape(costs.shape[2:])
    j, i = np.divmod(best, n)
    pixel = np.indices(best.shape, sparse=True)
    lowest = costs[(j, i, *pixel)]
    flow = np.empty((2, *best.shape), np.float32)
    for c, (position, dj, di) in enumerate(((i, 0, 1), (j, 1, 0))):
        # The outermost displacements have one neighbour only, and stay where they are.
        inner = (position > 0) & (position < n - 1)
        before = costs[(j - dj * inner, i - di * inner, *pixel)]
        after = costs[(j + dj * inner, i + di * inner, *pixel)]
        curvature = np.maximum(before + after - 2 * lowest, np.finfo(np.float32).tiny)
        flow[c] = (start[c, rows] + offsets[position]) + (before - after) / (2 * curvature)
    return flow


def _left(frame: F32, reference: F32, flow: F32) -> F32:
    """Squared error that a flow leaves around every pixel."""
    squares = (frame - bilinear_warp(reference, flow)) ** 2
    error: F32 = gaussian_filter(squares, _AROUND_SIGMA, mode="nearest")
    return error


def _lucas_kanade(frame: F32, reference: F32, flow: F32) -> F32:
    """Refine a flow by the differences that it leaves (section 9.1, step 3)."""

    def windowed(x: F32) -> F32:
        y: F32 = gaussian_filter(x, _EQUATIONS_SIGMA, mode="nearest")
        return y

    smooth = gaussian_filter(frame, _SLOPE_SIGMA, mode="nearest")
    gx, gy = (correlate1d(smooth, (-0.5, 0.0, 0.5), axis, mode="nearest") for axis in (1, 0))
    sxx, sxy, syy = windowed(gx * gx) + _STABLE, windowed(gx * gy), windowed(gy * gy) + _STABLE
    determinant = sxx * syy - sxy * sxy
    for _ in range(_N_REFINEMENTS):
        difference = frame - bilinear_warp(reference, flow)
        bx, by = windowed(gx * difference), windowed(gy * difference)
        step = np.stack((syy * bx - sxy * by, sxx * by - sxy * bx)) / determinant
        flow = median_filter(flow + np.clip(step, -1, 1), (1, 3, 3), mode="nearest")
    return flow


def _runs(n: int, size: int) -> list[tuple[I64, I64]]:
    """Which of n vectors have how many pixels along a side: by their number, vectors and pixels."""
    vector_of = resize(np.arange(n, dtype=np.float32).reshape(1, n, 1), (size, 1), "nearest")
    lengths = np.bincount(vector_of.astype(np.int64).ravel(), minlength=n)
    firsts = np.cumsum(lengths) - lengths
    vectors = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    return [(v, firsts[v][:, None] + np.arange(lengths[v[0]])) for v in vectors]
