# SPDX-License-Identifier: BSD-3-Clause
"""The fused layers of the synthesis against plain torch: values and all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from numchic_trainer import Synthesis, SynthesisConv2d
from numchic_trainer.model.pointwise import pointwise
from numchic_trainer.model.spatial import spatial


def close(found: Tensor, expected: Tensor) -> bool:
    scale = max(1.0, float(expected.detach().abs().max()))
    return torch.allclose(found.double(), expected, rtol=0, atol=2e-5 * scale)


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "n"),
    [(7, 8, 3, 5000), (7, 48, 3, 512), (14, 16, 3, 513), (1, 1, 1, 1), (9, 5, 4, 600)],
)
def test_pointwise(inputs: int, hidden: int, outputs: int, n: int) -> None:
    torch.manual_seed(n)
    shapes = [(inputs, n), (hidden, inputs), (hidden,), (outputs, hidden), (outputs,)]
    tensors = [torch.randn(shape) for shape in [*shapes, (outputs, inputs), (outputs,)]]
    incoming = torch.randn(2, outputs, n)
    ours, theirs = leaves(*tensors), leaves(*(t.double() for t in tensors))
    x, w1, b1, w2, b2, ws, bs = theirs
    expected = (
        w2 @ torch.relu(w1 @ x + b1[:, None]) + b2[:, None],
        ws @ x + bs[:, None],
    )
    found = pointwise(*ours)
    torch.autograd.backward(found, incoming.unbind())
    torch.autograd.backward(expected, incoming.double().unbind())
    for a, b in zip(found, expected, strict=True):
        assert close(a, b)
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert close(a.grad, b.grad)
    with torch.no_grad():
        assert torch.equal(pointwise(*ours)[0], found[0])


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 700), (37, 23)])
def test_spatial(size: int, height: int, width: int) -> None:
    torch.manual_seed(size)
    tensors = [torch.randn(3, height, width), torch.randn(4, 3, size, size), torch.randn(4)]
    incoming = torch.randn(4, height, width)
    ours, theirs = leaves(*tensors), leaves(*(t.double() for t in tensors))
    x, weight, bias = theirs
    expected = F.conv2d(F.pad(x[None], (size // 2,) * 4, mode="replicate"), weight, bias)[0]
    found = spatial(*ours)
    torch.autograd.backward(found, incoming)
    torch.autograd.backward(expected, incoming.double())
    assert close(found, expected)
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert close(a.grad, b.grad)


LAYERS = ["8-1-linear-relu", "3-1-linear-none", "3-3-residual-relu", "3-5-residual-none"]


@pytest.mark.parametrize(
    ("layers", "stabiliser", "noise"),
    [
        (LAYERS, True, False),
        (LAYERS, False, False),
        (LAYERS, True, True),
        (["8-1-linear-relu", "4-1-linear-none", "3-3-linear-none"], True, False),
        (["8-3-linear-relu", "3-1-linear-none"], True, False),
    ],
)
def test_synthesis_is_that_of_its_layers(layers: list[str], stabiliser: bool, noise: bool) -> None:
    torch.manual_seed(3)
    synthesis = Synthesis(6, layers, stabiliser, noise)
    with torch.no_grad():
        for parameter in synthesis.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(1, 6, 11, 13, requires_grad=True)
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
        weights = torch.randn(1, 3, 11, 13)
        (theirs,) = torch.autograd.grad((expected * weights).sum(), leaf, retain_graph=True)
        (ours,) = torch.autograd.grad((synthesis(x) * weights).sum(), leaf)
        assert torch.allclose(ours, theirs, atol=2e-4)


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
