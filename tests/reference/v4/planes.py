# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling, common randomness, synthesis: specification, sections 10 to 12, in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic_conformance.synthetic.v4.headers import Part

F32 = NDArray[np.float32]

C25 = [np.float32(v) for v in (-0.10546875, 0.87890625, 0.26171875, -0.03515625)]


def _columns(s: F32, shift: int) -> F32:
    """s[y][x + shift], edges replicated."""
    return s[:, np.clip(np.arange(s.shape[1]) + shift, 0, s.shape[1] - 1)]


def _double_columns(s: F32, even: list[Any], odd: list[Any]) -> F32:
    e = len(even) // 2
    out = np.zeros((s.shape[0], 2 * s.shape[1]), np.float32)
    for j in range(len(even)):
        out[:, 0::2] += _columns(s, j - e) * even[j]
        out[:, 1::2] += _columns(s, j - e + 1) * odd[j]
    return out


def double(s: F32, even: list[Any], odd: list[Any], shape: tuple[int, int]) -> F32:
    """up2 and cubic2, cropped."""
    wide = _double_columns(s, even, odd)
    return _double_columns(wide.T, even, odd).T[: shape[0], : shape[1]]


def _filter_columns(s: F32, k: F32) -> F32:
    half = len(k) // 2
    padded = np.pad(s, ((0, 0), (half, half)))
    out = np.zeros_like(s)
    for j in range(len(k)):
        out += padded[:, j : j + s.shape[1]] * k[j]
    return out


def refine(s: F32, k: F32) -> F32:
    return _filter_columns(_filter_columns(s, k).T, k).T + s


def generator() -> Iterator[float]:
    """Section 11; one for the whole file."""
    seed = 18101995
    while True:
        uniform = []
        for _ in range(2):
            seed = 16807 * seed % 2147483647
            uniform.append(seed / 2147483647)
        radius = math.sqrt(-2.0 * math.log(uniform[0]))
        g = float(np.float32(radius * math.cos(2.0 * 3.14159265359 * uniform[1])))
        yield int(256.0 * g) / 256


def inputs(
    p: Part, latents: list[Any], ups: list[F32], pre: list[F32], size: tuple[int, int],
    lead: int, random: Iterator[float],
) -> F32:  # fmt: skip
    """Synthesis inputs; ``latents`` by resolution, None where there is nothing."""
    sizes = [(-(-size[0] >> i), -(-size[1] >> i)) for i in range(len(p.latent))]
    out = []
    r = len(sizes)
    for i in range(r):
        if not p.latent[i]:
            continue
        if latents[i] is None:
            out.append(np.zeros(sizes[lead], np.float32))
            continue
        s = np.asarray(latents[i], np.float32)
        if i < r - 1:
            s = refine(s, pre[(r - 2 - i) % len(pre)])
        for j in range(i - 1, lead - 1, -1):
            k = ups[(r - 2 - j) % len(ups)]
            s = double(s, list(k[0::2]), list(k[1::2]), sizes[j])
        out.append(s)
    for i in range(r):
        if p.noise[i] and p.zero:
            out.append(np.zeros(sizes[lead], np.float32))
        elif p.noise[i]:
            n = sizes[i][0] * sizes[i][1]
            s = np.array([next(random) for _ in range(n)], np.float32).reshape(sizes[i])
            for j in range(i - 1, -1, -1):
                s = double(s, C25[::-1], C25, sizes[j])
            out.append(s)
    return np.stack(out)


def synthesise(x: F32, p: Part, layers: list[tuple[F32, F32]]) -> F32:
    """Section 12."""
    for (n_out, ks, residual, relu), (weight, bias) in zip(p.syn, layers, strict=True):
        half = ks // 2
        padded = np.pad(x, ((0, 0), (half, half), (half, half)), mode="edge")
        h, w = x.shape[1:]
        planes = []
        for o in range(n_out):
            acc = np.full((h, w), bias[o], np.float32)
            if residual:
                acc = acc + x[o]
            for i in range(x.shape[0]):
                for ky in range(ks):
                    for kx in range(ks):
                        acc = acc + padded[i, ky : ky + h, kx : kx + w] * weight[o, i, ky, kx]
            planes.append(np.where(acc < 0, np.float32(0), acc) if relu else acc)
        x = np.stack(planes)
    return x
