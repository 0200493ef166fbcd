# SPDX-License-Identifier: BSD-3-Clause
"""Quantisers and schedules."""

from __future__ import annotations

import pytest
import torch

from numchic_trainer.model.quantise import quantise, sample_noise, soft_round
from numchic_trainer.training.schedule import (
    cosine_learning_rate,
    encoder_gain,
    linear,
    warm_up_noise,
)

X = torch.linspace(-3.21, 3.28, 131)


def test_soft_rounding_lies_between_rounding_and_the_identity() -> None:
    assert torch.allclose(soft_round(X, 1e-3), torch.floor(X + 0.5), atol=1e-4)
    assert torch.allclose(soft_round(X, 10.0), X, atol=2e-3)


def test_hard_rounding_is_half_to_even() -> None:
    halves = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantise(halves, "hardround").tolist() == [-2, 0, 0, 2, 2]


def test_straight_through_rounds_with_the_gradient_of_soft_rounding() -> None:
    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    hard, soft = (
        quantise(x, "ste", temperature=0.3),
        quantise(y, "softround_alone", temperature=0.3),
    )
    hard.sum().backward()  # type: ignore[no-untyped-call]
    soft.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(hard, torch.round(X), atol=1e-6)
    assert x.grad is not None
    assert y.grad is not None
    assert torch.equal(x.grad, y.grad)


def test_noise_is_repeatable_and_has_its_spread() -> None:
    large = torch.zeros(100_000)
    first, second = (
        sample_noise(large, "gaussian", 0.2, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert float(first.std()) == pytest.approx(0.2, rel=0.02)
    uniform = sample_noise(large, "kumaraswamy", 1.0, torch.Generator().manual_seed(3))
    assert float(uniform.std()) == pytest.approx(12**-0.5, rel=0.02)
    assert float(uniform.abs().max()) <= 0.5
    peaked = sample_noise(large, "kumaraswamy", 2.0, torch.Generator().manual_seed(3))
    assert float(peaked.std()) < float(uniform.std())
    assert not sample_noise(large, "none", 1.0).any()


def test_softround_with_noise_needs_a_known_type() -> None:
    assert torch.equal(quantise(X, "none", "none"), X)
    assert quantise(X, "softround", "gaussian").shape == X.shape
    with pytest.raises(ValueError, match="unknown"):
        quantise(X, "hard")  # type: ignore[arg-type]


def test_schedules() -> None:
    assert linear(0.35, 0.08, 0, 10) == 0.35
    assert linear(0.35, 0.08, 10, 10) == pytest.approx(0.08)
    assert cosine_learning_rate(1e-2, 0, 10) == pytest.approx(1e-2)
    assert cosine_learning_rate(1e-2, 10, 10) == pytest.approx(1e-5)
    noise = [warm_up_noise(lmbda) for lmbda in (1e-3, 1e-4, 2e-2)]
    assert noise == pytest.approx([0.204, 0.248, 0.148], abs=6e-4)
    assert [encoder_gain(lmbda) for lmbda in (1e-4, 2e-4, 5e-4)] == [24, 20, 16]
