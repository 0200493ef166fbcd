# SPDX-License-Identifier: BSD-3-Clause
"""ARM, symbols, block maps: specification, section 9.

Tables are taken from the text of the specification.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.v4.entropy import Adaptive, Decoder

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec" / "coolchic-4.2.md"

Weights = list[tuple[Any, Any]]  # per layer: weight[out][in], bias[out]; integers
Plane = NDArray[np.int64]


@functools.cache
def spec() -> str:
    return SPEC.read_text(encoding="utf-8")


@functools.cache
def positions(c: int) -> list[tuple[int, int]]:
    """Context (dy, dx), in order: the table of 9.4."""
    row = re.search(rf"^\| {c} \|([-\d |]*)\|$", spec(), re.MULTILINE)
    assert row is not None
    cells = row.group(1).split("|")
    return [(i - 4, int(dx)) for i, cell in enumerate(cells) for dx in cell.split()]


@functools.cache
def states() -> list[list[list[int]]]:
    """Appendix A: [mi][si] -> five states."""

    def numbers(name: str) -> list[int]:
        row = re.search(rf"^{re.escape(name)} += ([\d ]+)", spec(), re.MULTILINE)
        assert row is not None
        return [int(n) for n in row.group(1).split()]

    table = []
    for mi in range(17):
        columns = [numbers(f"G[{abs(mi - 8)}]")]
        for k in (1, 2, 3):
            first = numbers(f"start_{k}")[mi]
            columns.append([s if i >= first else 65 for i, s in enumerate(numbers("M"))])
        columns.append(numbers(f"NEG[{mi}]"))
        table.append([list(five) for five in zip(*columns, strict=True)])
    return table


def wrap(a: int) -> int:
    return (a + 2**31) % 2**32 - 2**31


def half_away(a: int) -> int:
    return (a + 128) >> 8 if a >= 0 else -((-a + 128) >> 8)


def arm(layers: Weights, context: list[int]) -> tuple[int, int]:
    """Section 9.4: mu and log-scale of a context of latents."""
    x = [256 * y for y in context]
    for i, (weight, bias) in enumerate(layers):
        last = i == len(layers) - 1
        a = []
        for o in range(len(bias)):
            total = int(bias[o]) + sum(int(w) * v for w, v in zip(weight[o], x, strict=True))
            a.append(wrap(total + (0 if last else 256 * x[o])))
        x = [half_away(v) for v in a] if last else [0 if v < 0 else (v + 128) >> 8 for v in a]
    return x[0], x[1]


def model(layers: Weights, plane: Plane, y: int, x: int) -> tuple[int, list[int]]:
    """Rounded mean, and the states of the contexts."""
    h, w = plane.shape
    context = []
    for dy, dx in positions(len(layers[-1][0][0])):
        inside = 0 <= y + dy < h and 0 <= x + dx < w
        context.append(int(plane[y + dy, x + dx]) if inside else 0)
    mu, ls = arm(layers, context)
    m = half_away(mu)
    mi = 8 + half_away((mu - 256 * m) * 16)
    t = ls + 256
    si = 0 if t < 0 else min(49, (5 * t + 128) >> 8)
    return m, states()[mi][si]


def decode(data: bytes, shape: tuple[int, int], layers: Weights, blk: int) -> Plane:
    """Section 9.2."""
    plane = np.zeros(shape, np.int64)
    if not data:
        return plane
    d = Decoder(data)
    b = abs(blk) or 1 << 16
    h, w = shape
    n_blocks = (-(-h // b), -(-w // b))
    sig, flat = np.ones(n_blocks, int), np.zeros(n_blocks, int)
    if n_blocks != (1, 1):
        for values, among in ((sig, np.ones(n_blocks, int)), (flat, sig)):
            if d.bypass():
                context = Adaptive()
                for by in range(n_blocks[0]):
                    for bx in range(n_blocks[1]):
                        if among[by, bx]:
                            bit = d.bin(context.q8) if blk < 0 else d.bypass()
                            context.update(bit)
                            values[by, bx] = bit
    for y in range(h):
        for x in range(w):
            if not sig[y // b, x // b]:
                continue
            if flat[y // b, x // b] and (y % b or x % b):
                plane[y, x] = plane[y, x - 1] if x % b else plane[y - 1, x]
                continue
            m, s = model(layers, plane, y, x)
            r = 0
            while r < 4 and d.bin(2 * s[r]):
                r += 1
            if r == 4:
                r += d.exp_golomb(0)
            if r and d.bin(2 * s[4]):
                r = -r
            plane[y, x] = m + r
    assert d.is_over()
    return plane
