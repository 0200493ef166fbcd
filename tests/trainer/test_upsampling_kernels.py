# SPDX-License-Identifier: BSD-3-Clause
"""The kernels of upsampling against the plain torch modules."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from numchic_trainer import Upsampling


def gradients(output: Tensor, weights: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad((output * weights).sum(), leaves, materialize_grads=True)
    return list(found)


def same(found: Tensor, expected: Tensor) -> bool:
    scale = max(1.0, float(expected.detach().abs().max()))
    return torch.allclose(found.double(), expected, rtol=0, atol=3e-5 * scale)


@pytest.mark.parametrize(("x2_size", "pre_size"), [(8, 7), (4, 1), (6, 3), (10, 5)])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (37, 23), (40, 64), (65, 130)])
def test_upsampling(x2_size: int, pre_size: int, size: tuple[int, int]) -> None:
    torch.manual_seed(x2_size)
    upsampling = Upsampling(x2_size, pre_size, 3, 2)
    with torch.no_grad():
        for parameter in upsampling.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    shapes = [(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(5)]
    latents = [torch.randn(1, 1, *shape, requires_grad=True) for shape in shapes]
    trained = [p for p in upsampling.parameters() if p.requires_grad]
    found = upsampling(latents)
    weights = torch.randn(found.shape)
    ours = gradients(found, weights, [*latents, *trained])
    with torch.no_grad():
        assert torch.equal(upsampling(latents), found)
    upsampling.double()  # the plain way
    wide = [latent.detach().double().requires_grad_() for latent in latents]
    expected = upsampling(wide)
    trained = [p for p in upsampling.parameters() if p.requires_grad]
    assert same(found, expected)
    for a, b in zip(ours, gradients(expected, weights.double(), [*wide, *trained]), strict=True):
        assert same(a, b)
