# SPDX-License-Identifier: BSD-3-Clause
"""Structural similarity against that of torchmetrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from numchic_trainer.training.distortion import Planes
from numchic_trainer.training.ssim import Similarity, ms_ssim, ssim


def planes(*sizes: tuple[int, int], seed: int = 0) -> Planes:
    torch.manual_seed(seed)
    y, u, v = (
        F.avg_pool2d(torch.rand(1, h + 2, w + 2, dtype=torch.float64), 3, 1)[0] for h, w in sizes
    )
    return y, u, v


def near(original: Planes, seed: int = 1) -> Planes:
    torch.manual_seed(seed)
    y, u, v = ((p + 0.05 * torch.randn_like(p)).clamp(0, 1).requires_grad_() for p in original)
    return y, u, v


def batch(some: Planes) -> Tensor:
    return torch.stack(some)[None]


def index(measure: Similarity, decoded: Planes, original: Planes) -> Tensor:
    return 1.0 - measure(decoded, original) / measure.gain


@pytest.mark.parametrize("size", [(6, 9), (11, 11), (65, 130)])
def test_ssim_of_the_library(size: tuple[int, int]) -> None:
    original = planes(size, size, size)
    decoded = near(original)
    ours = index(ssim(), decoded, original)
    theirs = structural_similarity_index_measure(batch(decoded), batch(original), data_range=1.0)
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(ours, theirs)
    found, expected = (torch.autograd.grad(value, decoded) for value in (ours, theirs))
    torch.testing.assert_close(found, expected)


def of_parts(x: Tensor, y: Tensor, weights: list[float]) -> Tensor:
    """Index at several scales of what the library finds at each, here for one plane."""
    index = x.new_ones(1)
    for k, weight in enumerate(weights):
        x, y = (F.avg_pool2d(z, 2) if k else z for z in (x, y))
        whole = structural_similarity_index_measure(x, y, data_range=1.0)
        # The library leaves the border out of this term: here one that has been added.
        x_padded, y_padded = (F.pad(z, (5, 5, 5, 5), mode="reflect") for z in (x, y))
        _, contrast = structural_similarity_index_measure(
            x_padded, y_padded, data_range=1.0, return_contrast_sensitivity=True
        )
        assert isinstance(whole, Tensor)
        index = index * (whole if k == len(weights) - 1 else contrast) ** weight
    return index[0]


WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


@pytest.mark.parametrize(("size", "n"), [((181, 176), 5), ((175, 181), 4), ((50, 90), 3)])
def test_ms_ssim_of_the_library(size: tuple[int, int], n: int) -> None:
    """Small pictures have fewer scales."""
    original = planes(size, size, size)
    decoded = near(original)
    pairs = [(x[None, None], y[None, None]) for x, y in zip(decoded, original, strict=True)]
    ours = index(ms_ssim(), decoded, original)
    weights = [weight / sum(WEIGHTS[:n]) for weight in WEIGHTS[:n]]
    theirs = torch.stack([of_parts(x, y, weights) for x, y in pairs]).mean()
    torch.testing.assert_close(ours, theirs)
    found, expected = (torch.autograd.grad(value, decoded) for value in (ours, theirs))
    torch.testing.assert_close(found, expected)
    if n == 5:
        whole = [
            multiscale_structural_similarity_index_measure(x, y, data_range=1.0) for x, y in pairs
        ]
        torch.testing.assert_close(ours, torch.stack(whole).mean(), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("make", [ssim, ms_ssim])
@pytest.mark.parametrize(
    "sizes",
    [
        ((1, 1),) * 3,
        ((1, 40),) * 3,
        ((3, 2), (1, 1), (1, 1)),
        ((1, 9), (0, 4), (0, 4)),
        ((65, 130), (32, 65), (32, 65)),
    ],
    ids=str,
)
def test_any_size(make: Callable[[], Similarity], sizes: tuple[tuple[int, int], ...]) -> None:
    torch.manual_seed(2)
    y, u, v = (torch.rand(size, dtype=torch.float64) for size in sizes)
    original, measure = (y, u, v), make()
    assert float(measure(original, original)) == pytest.approx(0.0, abs=1e-9)
    decoded = near(original)
    value = measure(decoded, original)
    assert value.item() > 0.0
    gradients = torch.autograd.grad(value, decoded, materialize_grads=True, allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("make", [ssim, ms_ssim])
def test_gradient(make: Callable[[], Similarity]) -> None:
    original = planes((22, 23), (11, 5), (11, 5))
    measure = make()
    decoded = near(original)
    assert torch.autograd.gradcheck(lambda *some: measure(some, original), decoded, fast_mode=True)


def test_all_planes_count_by_their_samples() -> None:
    y, u, v = planes((24, 32), (12, 16), (12, 16))
    other = near((y, u, v))
    whole = index(ssim(), other, (y, u, v))
    luma, first, second = (
        index(ssim(), (ours,) * 3, (theirs,) * 3)
        for ours, theirs in zip(other, (y, u, v), strict=True)
    )
    torch.testing.assert_close(whole, (4 * luma + first + second) / 6)


def test_opposite_pictures_have_a_finite_gradient() -> None:
    original = planes((64, 64), (64, 64), (64, 64))
    y, u, v = ((1 - plane).requires_grad_() for plane in original)
    gradients = torch.autograd.grad(ms_ssim()((y, u, v), original), (y, u, v))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
