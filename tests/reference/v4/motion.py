# SPDX-License-Identifier: BSD-3-Clause
"""Motion compensation and output: specification, section 13, one sample at a time."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.v4.latents import spec

F32 = NDArray[np.float32]
f32 = np.float32


@functools.cache
def corrections(n: int) -> dict[int, np.float32]:
    """The list of 13.7."""
    row = re.search(rf"^\| {n} \| (\d+: [0-9a-f]{{8}}.*) \|$", spec(), re.MULTILINE)
    pairs = [pair.split(": ") for pair in row.group(1).split(", ")] if row else []
    return {int(m): np.frombuffer(bytes.fromhex(v), ">f4").astype(f32)[0] for m, v in pairs}


@functools.cache
def coefficients(n: int, t: int) -> list[np.float32]:
    f = f32(t / 64)
    if n == 2:
        return [f32(1) - f, f]
    if n == 4:
        a = f32(-0.75)

        def near(x: np.float32) -> np.float32:
            return (((a + f32(2)) * x - (a + f32(3))) * x) * x + f32(1)

        def far(x: np.float32) -> np.float32:
            return ((a * x - f32(5) * a) * x + f32(8) * a) * x - f32(4) * a

        return [far(f + f32(1)), near(f), near(f32(1) - f), far((f32(1) - f) + f32(1))]
    out = []
    pi_n = f32(3.141592653589793 / n)
    for j in range(n):
        d = n // 2 - 1 + t / 64 - j
        m = abs(64 * (n // 2 - 1) + t - 64 * j)
        if d == 0:
            out.append(f32(1))
        elif m in corrections(n):
            out.append(corrections(n)[m])
        else:
            pi_d = 3.141592653589793 * d
            cosine = float(f32(math.cos(float(pi_n * f32(d)))))
            out.append(f32(cosine * math.sin(pi_d) / pi_d))
    return out


def _visible(g: int, n: int) -> tuple[int, int]:
    return (min(g, n - 1), n) if g >= 0 else (0, max(n + g, 1))


def warp(ref: F32, flow: F32, g: tuple[int, int], n: int, b: int) -> F32:
    """Sections 13.5 and 13.6: ref [3][H][W], flow [2][H/B][W/B]."""
    _, h, w = ref.shape
    out = np.empty_like(ref)
    (xs, xe), (ys, ye) = _visible(g[0], w), _visible(g[1], h)
    for y in range(h):
        for x in range(w):
            x0, y0 = x // b * b, y // b * b
            qx = int(np.rint((flow[0, y // b, x // b] + f32(x0)) * f32(64)))
            qy = int(np.rint((flow[1, y // b, x // b] + f32(y0)) * f32(64)))
            bx, by = (qx >> 6) + g[0] + x - x0, (qy >> 6) + g[1] + y - y0
            cx, cy = coefficients(n, qx & 63), coefficients(n, qy & 63)
            r = np.zeros(3, f32)
            for v in range(n):
                py = min(max(by - (n // 2 - 1) + v, ys), ye - 1)
                a = np.zeros(3, f32)
                for u in range(n):
                    px = min(max(bx - (n // 2 - 1) + u, xs), xe - 1)
                    a = a + ref[:, py, px] * cx[u]
                r = r + a * cy[v]
            out[:, y, x] = r
    return out


def warp_40(ref: F32, flow: F32, g: tuple[int, int]) -> F32:
    """Appendix C.2."""
    _, h, w = ref.shape
    out = np.empty_like(ref)

    def place(f: np.float32, p: int, shift: int, n: int) -> tuple[int, int, np.float32]:
        low, high = _visible(shift, n)
        position = f + f32(p)
        i = int(np.floor(position))
        fraction = position - f32(i)
        i += shift
        if i < low:
            return low, low, f32(0)
        if i >= high - 1:
            return high - 1, high - 1, f32(0)
        return i, i + 1, fraction

    for y in range(h):
        for x in range(w):
            x0, x1, dx = place(flow[0, y, x], x, g[0], w)
            y0, y1, dy = place(flow[1, y, x], y, g[1], h)
            a, b, c, d = ref[:, y0, x0], ref[:, y0, x1], ref[:, y1, x0], ref[:, y1, x1]
            h0, h1 = a + (b - a) * dx, c + (d - c) * dx
            out[:, y, x] = h0 + (h1 - h0) * dy
    return out


def output(signal: F32, data_type: int, depth: int) -> list[NDArray[Any]]:
    """Section 13.2."""
    maxval = 2**depth - 1
    scaled = (signal[:3] * f32(maxval)).astype(np.float64) + 0.5
    planes = [np.clip(np.trunc(c), 0, maxval).astype(np.int64) for c in scaled]
    if data_type == 1:
        planes[1:] = [c[::2, ::2] for c in planes[1:]]
    return planes


def reference(planes: list[NDArray[Any]], depth: int) -> F32:
    """Section 13.3."""
    shape = planes[0].shape
    full = [c if c.shape == shape else c.repeat(2, 0).repeat(2, 1) for c in planes]
    return np.stack(full).astype(f32) / f32(2**depth - 1)


def predict(residue: F32, motion: F32, warped: list[F32], clamped: bool) -> F32:
    """Section 13.8; motion already enlarged to a vector for every sample."""
    zero, one, half = f32(0), f32(1), f32(0.5)
    alpha = np.clip(residue[3] + half, zero, one)
    r = warped[0]
    if len(warped) == 2:
        m = motion[4] + half
        r = warped[0] * np.clip(m, zero, one) + warped[1] * np.clip(one - m, zero, one)
    signal: F32 = r * alpha + residue[:3]
    return np.clip(signal, zero, one) if clamped else signal
