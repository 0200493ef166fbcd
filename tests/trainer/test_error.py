# SPDX-License-Identifier: BSD-3-Clause
"""The kernel of the squared error against plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numchic_trainer.kernels.error import SquaredErrorSweep
from numchic_trainer.kernels.workers import Workers

SIZES = [1, 511, 512, 70_000]


def plain(raw: torch.Tensor, case: Case, maximum: int = 0, weighted: bool = True) -> torch.Tensor:
    matrix, offset = torch.from_numpy(case.matrix), torch.from_numpy(case.offset)
    y = torch.clamp(matrix.double() @ raw + offset.double()[:, None], 0.0, 1.0)
    if maximum:
        y = torch.round(y * maximum) / maximum
    squares = (y - torch.from_numpy(case.original).double()) ** 2
    if weighted and case.weights is not None:
        squares = squares * torch.from_numpy(case.weights).double()
    return squares.mean()


class Case:
    def __init__(self, n: int, weighted: bool, identity: bool) -> None:
        random = np.random.default_rng(n)
        self.raw = random.uniform(-0.2, 1.2, (3, n)).astype(np.float32)
        self.original = random.uniform(0, 1, (3, n)).astype(np.float32)
        self.weights = random.uniform(0, 2, n).astype(np.float32) if weighted else None
        self.matrix = np.eye(3, dtype=np.float32)
        self.offset = np.zeros(3, np.float32)
        if not identity:
            self.matrix = random.normal(0, 0.5, (3, 3)).astype(np.float32)
            self.offset = random.normal(0, 0.1, 3).astype(np.float32)

    def sweep(self, workers: Workers) -> SquaredErrorSweep:
        return SquaredErrorSweep(
            tuple(self.original), self.weights, self.matrix, self.offset, 255, workers
        )


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("identity", [False, True])
def test_value_and_derivative(n: int, weighted: bool, identity: bool) -> None:
    case = Case(n, weighted, identity)
    leaf = torch.from_numpy(case.raw).double().requires_grad_()
    expected = plain(leaf, case)
    expected.backward()  # type: ignore[no-untyped-call]
    d_raw = np.full_like(case.raw, np.nan)
    found = case.sweep(Workers()).differentiate(case.raw, d_raw)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    assert leaf.grad is not None
    np.testing.assert_allclose(d_raw, leaf.grad.numpy(), rtol=1e-4, atol=1e-6 / n)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_samples_are_rounded_in_evaluations(n: int, weighted: bool) -> None:
    case = Case(n, weighted, identity=True)
    distortion, mse = case.sweep(Workers()).evaluate(case.raw)
    raw = torch.from_numpy(case.raw).double()
    assert distortion == pytest.approx(plain(raw, case, 255).item(), rel=1e-4)
    assert mse == pytest.approx(plain(raw, case, 255, weighted=False).item(), rel=1e-4)


def test_nan_is_not_clamped_away() -> None:
    case = Case(600, weighted=False, identity=True)
    case.raw[1, 577] = np.nan
    assert np.isnan(case.sweep(Workers()).differentiate(case.raw, np.empty_like(case.raw)))


def test_threads_change_nothing() -> None:
    case = Case(200_001, weighted=True, identity=False)
    results = []
    for n_threads in (1, 2, 4):
        d_raw = np.empty_like(case.raw)
        with Workers(n_threads) as workers:
            results.append((case.sweep(workers).differentiate(case.raw, d_raw), d_raw.tobytes()))
    assert results[0] == results[1] == results[2]
