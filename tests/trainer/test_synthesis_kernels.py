# SPDX-License-Identifier: BSD-3-Clause
"""The kernels of the synthesis as a function of tensors, against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from numchic_trainer import Synthesis, SynthesisConv2d

LAYERS = ["8-1-linear-relu", "3-1-linear-none", "3-3-residual-relu", "3-3-residual-none"]
OTHERS = ["8-1-linear-relu", "3-1-linear-none", "3-3-residual-relu", "3-5-residual-none"]


@pytest.mark.parametrize(
    ("layers", "stabiliser", "noise"),
    [
        (LAYERS, True, False),
        (LAYERS, False, False),
        (LAYERS, True, True),
        (LAYERS, False, True),
        (["48-1-linear-relu", "3-1-linear-none", "3-3-residual-none"], True, False),
        (OTHERS, True, True),
        (["16-1-linear-relu", "5-1-linear-none", "5-3-residual-none"], True, False),
        (["8-1-linear-relu", "2-1-linear-none"], True, True),
        (["8-1-linear-relu", "4-1-linear-none"], False, False),
        (["4-1-linear-none"], True, True),
        (["5-1-linear-none"], False, False),
        (["8-1-linear-relu", "4-1-linear-none", "3-3-linear-none"], True, False),
        (["8-3-linear-relu", "3-1-linear-none"], True, False),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (11, 13), (65, 130)])
def test_synthesis_is_that_of_its_layers(
    layers: list[str], stabiliser: bool, noise: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(3)
    synthesis = Synthesis(6, layers, stabiliser, noise)
    with torch.no_grad():
        for parameter in synthesis.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(1, 6, *size, requires_grad=True)
    y = x
    for layer, form in zip(synthesis.trunk, synthesis.layer_forms, strict=True):
        assert isinstance(layer, SynthesisConv2d)
        reach = layer.weight.shape[-1] // 2
        z = F.conv2d(F.pad(y, (reach,) * 4, mode="replicate"), layer.weight, layer.bias)
        z = z + y if form.mode == "residual" else z
        y = torch.relu(z) if form.non_linearity == "relu" else z
    if synthesis.stabiliser is not None:
        y = y + synthesis.stabiliser(x[:, : synthesis.n_latents])
    expected = synthesis.output_transform(y)
    assert torch.allclose(synthesis(x), expected, atol=1e-5)
    for leaf in (x, *(p for p in synthesis.parameters() if p.requires_grad)):
        weights = torch.randn(expected.shape)
        (theirs,) = torch.autograd.grad((expected * weights).sum(), leaf, retain_graph=True)
        (ours,) = torch.autograd.grad((synthesis(x) * weights).sum(), leaf)
        scale = max(1.0, float(theirs.abs().max()))
        assert torch.allclose(ours, theirs, atol=2e-5 * scale)


def test_batches_and_double_precision_take_the_plain_way() -> None:
    synthesis = Synthesis(6, LAYERS)
    x = torch.randn(2, 6, 5, 7)
    both = synthesis(x)
    assert torch.allclose(both[:1], synthesis(x[:1]), atol=1e-5)
    assert torch.allclose(synthesis.double()(x.double()).float(), both, atol=1e-5)


def test_the_identity_is_not_multiplied_with() -> None:
    synthesis = Synthesis(6, LAYERS)
    assert isinstance(synthesis.output_transform, SynthesisConv2d)
    x = torch.randn(1, 6, 5, 7)
    before = synthesis(x)
    with torch.no_grad():
        synthesis.output_transform.weight[0, 0] = 2.0
    assert torch.allclose(synthesis(x)[:, 0], 2 * before[:, 0])
