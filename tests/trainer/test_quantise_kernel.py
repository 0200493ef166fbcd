# SPDX-License-Identifier: BSD-3-Clause
"""Soft quantisation and Adam of the latents against plain torch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs torch")

import torch

from numchic_bitstream.arrays import F32, F64
from numchic_trainer.kernels.adam import adam
from numchic_trainer.kernels.quantise import soft_quantise
from numchic_trainer.kernels.random import BLOCK, Draw, gaussian
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.quantise import soft_round
from numchic_trainer.training.soap import Soap

SEED = (5 << 32) + 3
SIZES = [1, 2, 255, 511, 512, 513, 8450, 100_000]  # the last one has several parts


def draw(n: int, scale: float = 1.0, seed: int = 0) -> F32:
    return (scale * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


def noise(n: int, step: int) -> F32:
    out = np.empty(-(-n // BLOCK) * BLOCK, np.float32)
    for block in range(out.size // BLOCK):
        gaussian(Draw.of(SEED, step), block, out[block * BLOCK :][:BLOCK])
    return out[:n]


def run(
    x: F32, gain: float, temperature: float, strength: float, step: int = 4, n_threads: int = 1
) -> tuple[F32, F32]:
    symbols, slopes = np.full_like(x, 9), np.full_like(x, 9)
    with Workers(n_threads) as workers:
        soft_quantise(x, gain, temperature, strength, SEED, step, symbols, slopes, workers)
    return symbols, slopes


def reference(
    x: F32, gain: float, temperature: float, strength: float, step: int = 4
) -> tuple[F64, F64]:
    latents = torch.from_numpy(x).double().requires_grad_()
    added = strength * torch.from_numpy(noise(x.size, step)).double()
    once = soft_round(latents * gain, torch.tensor(temperature).double())
    symbols = soft_round(once + added, torch.tensor(temperature).double())
    (slopes,) = torch.autograd.grad(symbols.sum(), latents)
    return symbols.detach().numpy(), slopes.numpy()


@pytest.mark.parametrize("temperature", [0.02, 0.08, 0.3, 1.0, 20.0])
@pytest.mark.parametrize("n", SIZES)
def test_same_as_in_torch(n: int, temperature: float) -> None:
    x = draw(n, 0.2)
    symbols, slopes = run(x, 16.0, temperature, 0.2)
    expected, derivatives = reference(x, 16.0, temperature, 0.2)
    # What the first rounding leaves of the rest is multiplied by the slope of the second.
    atol = 1e-6 * max(1.0, 1.0 / temperature)
    np.testing.assert_allclose(symbols, expected, rtol=1e-6, atol=atol)
    largest = 16.0 * max(1.0, 0.25 / temperature**2)
    np.testing.assert_allclose(slopes, derivatives, rtol=1e-3, atol=1e-5 * largest)


def test_slopes_are_those_of_differences() -> None:
    x, h = draw(5000, 0.1), 2.0**-12
    up, down = (reference(x + np.float32(d), 16.0, 0.3, 0.2)[0] for d in (h, -h))
    np.testing.assert_allclose(
        run(x, 16.0, 0.3, 0.2)[1], (up - down) / (2 * h), rtol=0.02, atol=0.1
    )


def test_at_integers_and_halves() -> None:
    """Integers stay, so do halves; the slope is that of both sides."""
    x = np.arange(-4, 4.5, 0.5, dtype=np.float32)
    symbols, slopes = run(x, 1.0, 0.25, 0.0)
    np.testing.assert_allclose(symbols, x, atol=1e-6)
    np.testing.assert_allclose(slopes[::2], slopes[0], rtol=1e-5)
    np.testing.assert_allclose(slopes[1::2], slopes[1], rtol=1e-5)
    assert slopes[0] < 1 < slopes[1]


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 0.08, 1e3])
def test_extremes_are_finite(temperature: float) -> None:
    far = np.array([0, -0.0, 1e-40, 0.5, -0.5, 1e7, -1e7, 2e9], np.float32)
    x = np.concatenate([draw(500, 1e4), far])
    symbols, slopes = run(x, 1.0, temperature, 0.2)
    assert np.isfinite(slopes).all()
    assert (slopes >= 0).all()
    assert np.abs(symbols - x).max() < 3.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_visible(value: float) -> None:
    x = draw(600)
    x[[3, 599]] = value
    for result in run(x, 16.0, 0.3, 0.2):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(result)), [3, 599])


def test_noise_depends_on_step_and_index_alone() -> None:
    x = np.zeros(100_000, np.float32)
    symbols, _ = run(x, 1.0, 0.3, 0.5)
    np.testing.assert_array_equal(run(x[:700], 1.0, 0.3, 0.5)[0], symbols[:700])
    assert not np.any(run(x, 1.0, 0.3, 0.5, step=5)[0] == symbols)


def test_any_number_of_threads() -> None:
    x = draw(200_001)
    for one, three in zip(run(x, 9.0, 0.2, 0.3), run(x, 9.0, 0.2, 0.3, n_threads=3), strict=True):
        np.testing.assert_array_equal(one, three)


class Latents:
    """Latents and what Adam knows of them."""

    def __init__(self, n: int) -> None:
        self.x = draw(n, 1.0, 1)
        self.first, self.second = (np.zeros(n, np.float32) for _ in range(2))

    def step(self, g: F32, slopes: F32, t: int, options: dict[str, Any], n_threads: int) -> None:
        with Workers(n_threads) as workers:
            adam(
                self.x, g, slopes, self.first, self.second, options["lr"], options["betas"],
                options["eps"], t, workers,
            )  # fmt: skip


@pytest.mark.parametrize("betas", [(0.725, 0.97), (0.9, 0.999)])
@pytest.mark.parametrize("n", SIZES)
def test_adam_is_that_of_the_optimiser_in_torch(n: int, betas: tuple[float, float]) -> None:
    options: dict[str, Any] = {"lr": 1e-2, "betas": betas, "eps": 1e-8}
    latents = Latents(n)
    wide = torch.from_numpy(latents.x).double().requires_grad_()
    optimiser = Soap([wide], precondition=False, **options)
    for t in range(20):
        g, slopes = draw(n, 1e-6 * 10.0 ** (t % 3 - 1), t), np.abs(draw(n, 5.0, 99 + t))
        wide.grad = torch.from_numpy(g).double() * torch.from_numpy(slopes).double()
        optimiser.step()
        if t:  # the first step of the optimiser moves nothing
            latents.step(g, slopes, t, options, 1)
        np.testing.assert_allclose(latents.x, wide.detach().numpy(), rtol=0, atol=3e-6)


def test_adam_with_any_number_of_threads() -> None:
    options: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8}
    one, three = Latents(100_000), Latents(100_000)
    for t in range(1, 4):
        g, slopes = draw(100_000, 1e-3, t), draw(100_000, 1.0, -t % 50)
        one.step(g, slopes, t, options, 1)
        three.step(g, slopes, t, options, 3)
    for name in ("x", "first", "second"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_adam_without_gradient_moves_nothing() -> None:
    options: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8}
    latents, nothing = Latents(600), np.zeros(600, np.float32)
    latents.step(nothing, nothing, 1, options, 1)
    np.testing.assert_array_equal(latents.x, Latents(600).x)
