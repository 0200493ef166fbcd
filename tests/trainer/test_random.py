# SPDX-License-Identifier: BSD-3-Clause
"""The generator is Threefry as published, and what it gives is Gaussian and independent."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs torch")

import torch

from numchic_bitstream.arrays import F32, F64, U32
from numchic_trainer.kernels.random import BLOCK, Draw, gaussian, threefry

N = 1 << 20
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)


def words(key: tuple[int, int], counters: U32, step: int) -> tuple[U32, U32]:
    """Threefry-2x32-20 as its authors write it."""
    low, high = np.array(key, np.uint32)
    keys = [low, high, low ^ high ^ np.uint32(0x1BD11BDA)]
    x, y = counters + keys[0], np.full_like(counters, step) + keys[1]
    for i in range(20):
        x = x + y
        bits = ROTATIONS[i % 8]
        y = ((y << np.uint32(bits)) | (y >> np.uint32(32 - bits))) ^ x
        if i % 4 == 3:
            k = i // 4 + 1
            x, y = x + keys[k % 3], y + (keys[(k + 1) % 3] + np.array([k], np.uint32))
    return x, y


def plain(seed: int, step: int, n: int) -> F64:
    """What the kernel gives, for indices 0 to n - 1."""
    n_blocks = -(-n // BLOCK)
    counters = np.arange(n_blocks * BLOCK // 2, dtype=np.uint32)
    x, y = words((seed & 0xFFFFFFFF, seed >> 32), counters, step)
    radius = np.sqrt(-2 * np.log(((x >> np.uint32(1)).astype(np.float64) + 0.5) * 2.0**-31))
    radius = np.where(y >> np.uint32(31), -radius, radius)
    angle = ((y & np.uint32(0x3FFFFFFF)).astype(np.float64) * 2.0**-29 - 1.0) * np.pi / 4
    aside = (y & np.uint32(0x40000000)) != 0
    pair = [
        np.where(aside, np.sin(angle), np.cos(angle)),
        np.where(aside, np.cos(angle), np.sin(angle)),
    ]
    blocks = [(radius * part).reshape(n_blocks, BLOCK // 2) for part in pair]
    return np.concatenate(blocks, 1).ravel()[:n]


def draw(seed: int, step: int, n: int = N) -> F32:
    out = np.empty(n, np.float32)
    for block in range(n // BLOCK):
        gaussian(Draw.of(seed, step), block, out[block * BLOCK :][:BLOCK])
    return out


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(
    key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Those that come with the authors' library, Random123."""
    assert tuple(map(int, threefry(*map(np.uint32, (*key, *counter))))) == expected
    x, y = words(key, np.array([counter[0]], np.uint32), counter[1])
    assert (x.item(), y.item()) == expected


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (7, 1), (2**64 - 1, 2**32 - 1)])
def test_same_as_in_numpy(seed: int, step: int) -> None:
    """Up to the rounding of float32, which counts most where the radius is small."""
    found = draw(seed, step, 200 * BLOCK)
    np.testing.assert_allclose(found, plain(seed, step, found.size), rtol=1e-5, atol=1e-4)


def test_blocks_do_not_depend_on_each_other() -> None:
    out = np.empty(BLOCK, np.float32)
    gaussian(Draw.of(3, 5), 17, out)
    np.testing.assert_array_equal(out, draw(3, 5, 20 * BLOCK)[17 * BLOCK : 18 * BLOCK])


@pytest.mark.parametrize("seed", [0, 1, 1 << 40])
def test_moments(seed: int) -> None:
    """Within 4.5 standard deviations of their estimates."""
    x = draw(seed, 2).astype(np.float64)
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)]:
        assert abs((x**power).mean() - moment) < 4.5 * np.sqrt(variance / N), power


def normal_cdf(x: F64) -> F64:
    result: F64 = torch.special.ndtr(torch.from_numpy(x)).numpy()
    return result


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_distribution(step: int) -> None:
    """Kolmogorov and Smirnov: a larger distance has a probability below 0.001."""
    x = np.sort(draw(11, step)).astype(np.float64)
    expected = normal_cdf(x)
    index = np.arange(N)
    distance = max((expected - index / N).max(), ((index + 1) / N - expected).max())
    assert distance < 1.95 / np.sqrt(N)


def test_tails() -> None:
    x = np.abs(draw(5, 0))
    for bound in (2.0, 3.0, 4.0, 5.0):
        expected = 2 * N * normal_cdf(np.array([-bound])).item()
        assert abs(int((x > bound).sum()) - expected) < 4.5 * np.sqrt(expected)
    assert x.max() < 6.7


def assert_independent(a: F32, b: F32) -> None:
    for x, y in [(a, b), (a**2 - 1, b**2 - 1), (a, b**2 - 1)]:
        products = x.astype(np.float64) * y
        assert abs(products.mean()) < 4.5 * products.std() / np.sqrt(a.size)


@pytest.mark.parametrize("distance", [1, 2, BLOCK // 2, BLOCK])
def test_neighbours_are_independent(distance: int) -> None:
    """At half a block, those that come from the same 64 bits."""
    x = draw(1, 0)
    assert_independent(x[:-distance], x[distance:])


@pytest.mark.parametrize(("seed", "step"), [(1, 1), (2, 0), (1 + 2**32, 0), (0, 1)])
def test_seeds_and_steps_are_independent(seed: int, step: int) -> None:
    assert_independent(draw(1, 0), draw(seed, step))
