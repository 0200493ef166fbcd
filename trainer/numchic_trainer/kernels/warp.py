# SPDX-License-Identifier: BSD-3-Clause
"""Warping with one vector per block, and its derivative by the vectors (coolchic-5, section 13.3).

Four pixels of four channels are sixteen numbers side by side in a reference, so a row of a block is
one vector of the processor, and a filter along rows adds such vectors that begin one pixel apart.
Values are those of the decoder: products and sums are rounded one by one, along rows first.
Only the fraction of a vector has a derivative, through the coefficients of the filter.
"""

from __future__ import annotations

import math

import numpy as np

from numchic.v5.resize import resize
from numchic_bitstream.arrays import F32, F64, I64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES, accumulate, fma, load, plus, save, spread, zeros
from numchic_trainer.kernels.products import folded
from numchic_trainer.kernels.rows import ROOM, clear_row
from numchic_trainer.kernels.workers import Part, Workers, partition

_TILE = 4  # rows and columns that are filtered together
_LEAST = 8192  # pixels of a part
_FAR = np.float32(1 << 20)  # beyond every picture; no vector need be longer
_NEAR = 1e-4  # below this the slope of sin(x) / x is taken from its series
_PI = math.pi
_ZERO, _ONE, _TWO, _THREE = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
_A = np.float32(-0.75)

# sin(pi x) / x as a polynomial in x**2: its series, which for x <= 1/2 is good to 2**-53.
_SERIES = np.array(
    [(-1) ** n * math.pi ** (2 * n + 1) / math.factorial(2 * n + 1) for n in range(12)]
)


class WarpSweep:
    """A shifted reference seen along a field of vectors, one per block, and derivatives by them.

    Parameters
    ----------
    reference : float32[H, W, 4]
        As :func:`numchic.references.shifted_reference` makes it.
    k : int
        Filter size: 2, 4, ..., 14.
    field : (h, w)
        Size of the field of vectors, which is resized to H x W by the *nearest* rule of section
        11.3.
    workers : Workers

    Notes
    -----
    The reference is kept with its borders replicated as far as a filter reaches. A vector that
    leads beyond sees nothing but the border, and so does the nearest one that stays inside.
    """

    def __init__(self, reference: F32, k: int, field: tuple[int, int], workers: Workers) -> None:
        height, width = reference.shape[:2]
        margin = _margin(k)
        around = ((margin, margin), (margin, margin), (0, 0))
        padded = np.pad(reference, around, "edge").reshape(-1)
        self._reference = np.concatenate([padded, np.zeros(ROOM, np.float32)])
        self._angles = _angles(k)
        # Normalised coordinates make of one vector a slightly different fraction in every pixel.
        most = _TILE if k >= 6 else 1
        self._rows = _tiles(field[0], height, most)
        self._columns = _tiles(field[1], width, most)
        self._vectors = np.zeros((2, *field), np.float32)
        self._sums = np.zeros((2, *field))
        self._out = np.empty((3, height, width), np.float32)
        self._workers = workers
        parts = partition(field[0], -(-_LEAST * field[0] // (height * width)))
        first = [int(i) for i in np.searchsorted(self._rows[:, 2], range(field[0] + 1))]
        self._parts = [Part(first[part.start], first[part.end]) for part in parts]

    def warp(self, vectors: F32) -> F32:
        """See the reference along the vectors.

        Parameters
        ----------
        vectors : float32[2, h, w]
            Horizontal, vertical, in pixels. Where one is not finite, the picture is NaN.

        Returns
        -------
        float32[3, H, W]
            A buffer that is used again by the next call.
        """
        np.copyto(self._vectors, vectors)

        def work(p: int) -> None:
            _warp(
                self._reference,
                self._angles,
                self._vectors,
                self._rows,
                self._columns,
                *self._parts[p],
                self._out,
            )

        self._workers.run(work, len(self._parts))
        return self._out

    def differentiate(self, d_out: F32, d_vectors: F32) -> None:
        """Differentiate the last :meth:`warp`.

        Parameters
        ----------
        d_out : float32[3, H, W]
            Derivatives by the picture.
        d_vectors : float32[2, h, w]
            Output. Where k is 2, a component that is clipped at a border has none.
        """
        self._sums[:] = 0.0

        def work(p: int) -> None:
            _differentiate(
                self._reference,
                self._angles,
                self._vectors,
                self._rows,
                self._columns,
                *self._parts[p],
                d_out,
                self._sums,
            )

        self._workers.run(work, len(self._parts))
        np.copyto(d_vectors, self._sums, casting="same_kind")


def _tiles(n: int, m: int, most: int) -> I64:
    """Runs of at most ``most`` of m samples that have the same of n vectors: place, size, vector.

    Examples
    --------
    >>> _tiles(2, 7, 4).tolist()
    [[0, 4, 0], [4, 3, 1]]
    """
    numbers = np.arange(n, dtype=np.float32).reshape(1, n, 1)
    owners = resize(numbers, (m, 1), "nearest").reshape(-1).astype(np.int64)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    sizes = np.diff(starts, append=m)
    tiles = [
        (start + i, min(most, size - i), owners[start])
        for start, size in zip(starts, sizes, strict=True)
        for i in range(0, size, most)
    ]
    return np.array(tiles, np.int64)


def _angles(k: int) -> F64:
    """Tap, (-1)**tap, and cosine and sine of pi tap / k, for the taps -k/2 + 1 .. k/2."""
    taps = range(-k // 2 + 1, k // 2 + 1)
    waves = [(j, (-1) ** j, math.cos(_PI * j / k), math.sin(_PI * j / k)) for j in taps]
    return np.array(waves, np.float64).T.copy()


@kernel()
def _margin(k: int) -> int:
    """Pixels around a reference: of windows that are outside, all rows and columns are the same."""
    return k + _TILE - 1


@kernel()
def _sin_pi(x: float) -> float:
    """sin(pi x) for x in -1/2 .. 1/2."""
    square = x * x
    total = 0.0
    for n in range(_SERIES.size - 1, -1, -1):
        total = total * square + _SERIES[n]
    return total * x


@kernel()
def _sinc(s: float, angles: F64, taps: F32, slopes: F32) -> None:
    """Windowed sinc of a fraction s = 0 .. 1, for all taps: its values and their derivatives."""
    k = taps.size
    sine, cosine = _sin_pi(min(s, 1.0 - s)), _sin_pi(0.5 - s)
    sine_k, cosine_k = _sin_pi(s / k), _sin_pi(0.5 - s / k)
    for i in range(k):
        u = s - angles[0, i]
        # Of pi u and pi u / k, by the angle difference identities.
        wave, rise = angles[1, i] * cosine, angles[1, i] * sine
        window = cosine_k * angles[2, i] + sine_k * angles[3, i]
        fall = sine_k * angles[2, i] - cosine_k * angles[3, i]
        divisor = u if u != 0.0 else 1.0
        sinc = rise / (_PI * divisor) if u != 0.0 else 1.0
        steep = (wave - sinc) / divisor if abs(u) > _NEAR else -_PI * _PI / 3.0 * u
        taps[i] = np.float32(window * sinc) if u != 0.0 else _ONE
        slopes[i] = np.float32(window * steep - _PI / k * fall * sinc)


@kernel()
def _bicubic(t: np.float32, taps: F32, slopes: F32) -> None:
    """Cubic coefficients of section 11.3 of distances t + 1, t, 1 - t, 2 - t."""
    for i in range(4):
        right = i > 1  # where distances become shorter as t grows
        if 0 < i < 3:
            x = _ONE - t if right else t
            taps[i] = ((_A + _TWO) * x - (_A + _THREE)) * x * x + _ONE
            slope = (_THREE * (_A + _TWO) * x - _TWO * (_A + _THREE)) * x
        else:
            x = _TWO - t if right else t + _ONE
            five, eight, four = np.float32(5) * _A, np.float32(8) * _A, np.float32(4) * _A
            taps[i] = ((_A * x - five) * x + eight) * x - four
            slope = (_THREE * _A * x - _TWO * five) * x + eight
        slopes[i] = -slope if right else slope


@kernel()
def _position(x: int, flow: np.float32, n: int, k: int) -> np.float32:
    """Position on an axis of n samples at which sample x looks; relative to x if k >= 6."""
    if k >= 6:
        return flow
    if n == 1:
        return flow * _ZERO
    # By way of coordinates in -1 .. 1, as decoders do.
    last = np.float32(n - 1)
    u = np.float32(-1.0) + np.float32(2 * x) / last
    u = u + flow / (last / _TWO)
    return (u + _ONE) / _TWO * last


@kernel()
def _aim(x: int, flow: np.float32, n: int, angles: F64, taps: F32, slopes: F32) -> int:
    """Find coefficients and their derivatives by the vector.

    Returns
    -------
    int
        Place of the first tap on the axis with its margins.
    """
    k = taps.size
    position = _position(x, flow, n, k)
    last = np.float32(n - 1)
    is_clipped = k == 2 and (position < _ZERO or position > last)
    if is_clipped:
        position = last if position > last else _ZERO
    floor = np.floor(position)
    s = position - floor
    if k >= 6:
        _sinc(np.float64(s), angles, taps, slopes)
    elif k == 4:
        _bicubic(s, taps, slopes)
    else:
        taps[0], taps[1] = _ONE - s, s
        slopes[0], slopes[1] = -_ONE, _ONE
    if is_clipped or (k < 6 and n == 1):
        clear_row(slopes)
    # What is not finite has NaN as coefficients, and need only be inside.
    near = floor if abs(floor) < _FAR else (_FAR if floor > _ZERO else -_FAR)
    start = int(near) - k // 2 + 1 + (x if k >= 6 else 0)
    margin = _margin(k)
    return min(max(start, -margin), n) + margin


@kernel()
def _filter(taps: F32, x: F32, at: int, step: int, y: F32, y_at: int) -> None:
    """Add up sixteen numbers at ``at``, ``at + step`` ... times the taps, each step rounded."""
    total = fma(spread(taps, 0), load(x, at), zeros())
    for j in range(1, taps.size):
        total = plus(total, fma(spread(taps, j), load(x, at + j * step), zeros()))
    save(total, y, y_at)


@kernel(allocates=True)
def _warp(
    reference: F32,
    angles: F64,
    vectors: F32,
    rows: I64,
    columns: I64,
    first: int,
    last: int,
    out: F32,
) -> None:
    """Warp the tiles of some rows of tiles."""
    height, width = out.shape[1:]
    k = angles.shape[1]
    stride = 4 * (width + 2 * _margin(k))
    across, down = np.empty(k, np.float32), np.empty(k, np.float32)
    slopes = np.empty(k, np.float32)
    filtered = np.empty((k + _TILE - 1) * LANES, np.float32)
    pixels = np.empty(LANES, np.float32)
    for r in range(first, last):
        y, n_rows, v = rows[r]
        for q in range(columns.shape[0]):
            x, n_columns, u = columns[q]
            left = _aim(x, vectors[0, v, u], width, angles, across, slopes)
            top = _aim(y, vectors[1, v, u], height, angles, down, slopes)
            for t in range(k + n_rows - 1):
                place = (top + t) * stride + 4 * left
                _filter(across, reference, place, 4, filtered, t * LANES)
            for i in range(n_rows):
                _filter(down, filtered, i * LANES, LANES, pixels, 0)
                for c in range(3):
                    row = out[c, y + i]
                    for j in range(n_columns):
                        row[x + j] = pixels[4 * j + c]


@kernel(allocates=True)
def _differentiate(
    reference: F32,
    angles: F64,
    vectors: F32,
    rows: I64,
    columns: I64,
    first: int,
    last: int,
    d_out: F32,
    sums: F64,
) -> None:
    """Add derivatives by the vectors of the tiles of some rows of tiles to ``sums``."""
    height, width = d_out.shape[1:]
    k = angles.shape[1]
    stride = 4 * (width + 2 * _margin(k))
    across, slopes_across = np.empty(k, np.float32), np.empty(k, np.float32)
    down, slopes_down = np.empty(k, np.float32), np.empty(k, np.float32)
    filtered = np.empty((k + _TILE - 1) * LANES, np.float32)
    sloping = np.empty_like(filtered)
    pixels = np.zeros(LANES, np.float32)
    lanes = np.empty(2 * LANES)
    for r in range(first, last):
        y, n_rows, v = rows[r]
        for q in range(columns.shape[0]):
            x, n_columns, u = columns[q]
            left = _aim(x, vectors[0, v, u], width, angles, across, slopes_across)
            top = _aim(y, vectors[1, v, u], height, angles, down, slopes_down)
            for t in range(k + n_rows - 1):
                place = (top + t) * stride + 4 * left
                a = b = zeros()
                for j in range(k):
                    samples = load(reference, place + 4 * j)
                    a = fma(spread(across, j), samples, a)
                    b = fma(spread(slopes_across, j), samples, b)
                save(a, filtered, t * LANES)
                save(b, sloping, t * LANES)
            by_x = by_y = zeros()
            clear_row(pixels)
            for i in range(n_rows):
                for c in range(3):
                    row = d_out[c, y + i]
                    for j in range(n_columns):
                        pixels[4 * j + c] = row[x + j]
                a = b = zeros()
                for t in range(k):
                    a = fma(spread(down, t), load(sloping, (i + t) * LANES), a)
                    b = fma(spread(slopes_down, t), load(filtered, (i + t) * LANES), b)
                by_x = fma(load(pixels, 0), a, by_x)
                by_y = fma(load(pixels, 0), b, by_y)
            lanes[:] = 0.0
            accumulate(by_x, lanes, 0)
            accumulate(by_y, lanes, LANES)
            sums[0, v, u] += folded(lanes, 0)
            sums[1, v, u] += folded(lanes, LANES)
