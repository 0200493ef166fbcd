# SPDX-License-Identifier: BSD-3-Clause
"""SOAP in a kernel against the optimiser in torch, and what else is done to the gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the trainer needs torch")

import torch
from torch import Tensor

from numchic_bitstream.arrays import F32, F64
from numchic_trainer.architecture import architecture
from numchic_trainer.config import PRESETS, TrainConfig
from numchic_trainer.kernels.gradients import add_network_rate, clip
from numchic_trainer.kernels.soap import SoapKernel
from numchic_trainer.model.encoder import MODULES, CoolChicEncoder
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.training.soap import Soap

Shape = tuple[int, ...]


def draw(shapes: list[Shape], n: int, scale: float = 1e-2, seed: int = 0) -> list[F32]:
    """Random gradients whose directions have very different sizes, in no basis of the axes."""
    rng = np.random.default_rng(seed)
    mixers = [
        [rng.normal(size=(n_j, n_j)) * 1.5 ** -rng.permutation(n_j) for n_j in shape]
        for shape in shapes
    ]
    result = []
    for _ in range(n):
        parts = []
        for shape, mixer in zip(shapes, mixers, strict=True):
            g = rng.normal(size=shape) + 0.3
            for j, matrix in enumerate(mixer):
                g = np.moveaxis(np.tensordot(g, matrix, (j, 1)), -1, j)
            parts.append(np.ravel(scale * g))
        result.append(np.concatenate(parts).astype(np.float32))
    return result


def split(x: NDArray[Any], shapes: list[Shape]) -> list[NDArray[Any]]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(x, ends), shapes, strict=True)]


def flat(tensors: list[Tensor]) -> F64:
    return np.concatenate([x.detach().double().numpy().ravel() for x in tensors])


def start(shapes: list[Shape], seed: int = 5) -> F32:
    n = sum(math.prod(shape) for shape in shapes)
    return np.random.default_rng(seed).normal(size=n).astype(np.float32)


class Reference:
    """The optimiser in torch, in double precision."""

    def __init__(self, x: F32, shapes: list[Shape], **options: Any) -> None:
        self.shapes = shapes
        self.tensors = [torch.tensor(part).double() for part in split(x, shapes)]
        self.optimiser = Soap([x.requires_grad_() for x in self.tensors], **options)

    def step(self, gradients: F32) -> F64:
        for x, part in zip(self.tensors, split(gradients, self.shapes), strict=True):
            x.grad = torch.tensor(part).double()
        self.optimiser.step()
        return flat(self.tensors)


# Gradients of full rank along every dimension: otherwise any basis of what is left is right.
FULL: list[Shape] = [(5, 5), (), (7,), (3, 3, 3, 3), (2, 2), (4, 1, 4, 1), (3, 2, 2), (1,)]


@pytest.mark.parametrize("frequency", [1, 3, 10])
def test_same_as_in_torch(frequency: int) -> None:
    x = start(FULL)
    options: dict[str, Any] = {"weight_decay": 0.1, "precondition_frequency": frequency}
    options["betas"] = (0.9, 0.97)
    slow, fast = Reference(x, FULL, lr=1e-2, **options), SoapKernel(FULL, **options)
    for g in draw(FULL, 40):
        fast.step(x, g, 1e-2)
        np.testing.assert_allclose(x, slow.step(g), rtol=0, atol=3e-6)
    assert np.abs(x - start(FULL)).max() > 1e-2


def test_large_dimensions_are_not_rotated() -> None:
    shapes: list[Shape] = [(5, 2, 3), (9, 9), (4, 4)]
    x = start(shapes)
    options: dict[str, Any] = {"max_precondition_dim": 4, "precondition_frequency": 2}
    slow, fast = Reference(x, shapes, lr=0.1, **options), SoapKernel(shapes, **options)
    for g in draw(shapes, 20):
        fast.step(x, g, 0.1)
        np.testing.assert_allclose(x, slow.step(g), rtol=0, atol=1e-5)


def test_plain_adam() -> None:
    shapes: list[Shape] = [(3, 4), (20,)]
    x, y = start(shapes), start(shapes)
    rotated = SoapKernel(shapes, max_precondition_dim=0)
    plain = SoapKernel([(32,)])
    for g in draw(shapes, 10):
        rotated.step(x, g, 0.01)
        plain.step(y, g, 0.01)
    np.testing.assert_array_equal(x, y)


def test_the_first_step_only_looks() -> None:
    x = start(FULL)
    SoapKernel(FULL, weight_decay=0.1).step(x, draw(FULL, 1)[0], 0.1)
    np.testing.assert_array_equal(x, start(FULL))


def matrix(optimiser: SoapKernel, name: str, size: int) -> F64:
    numbers: Any = optimiser.state()[name]
    array: F64 = numbers[: size * size].reshape(size, size)
    return array


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e30])
@pytest.mark.parametrize("shape", [(48, 7, 1, 1), (2, 64), (64, 64), (20, 20)])
def test_bases_are_orthonormal_whatever_the_gradients(shape: Shape, scale: float) -> None:
    optimiser, x = SoapKernel([shape], precondition_frequency=1), start([shape])
    for i, g in enumerate(draw([shape], 12)):
        alive = g.reshape(shape)
        alive[::2] = 0  # as of units that are dead
        if i > 8:
            alive[:] = 0
        optimiser.step(x, np.float32(scale) * alive.ravel(), 1e-2)
        basis = matrix(optimiser, "bases", shape[0])
        np.testing.assert_allclose(basis.T @ basis, np.eye(shape[0]), rtol=0, atol=1e-13)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("n", [2, 3, 20, 48])
def test_bases_become_eigenvectors(n: int) -> None:
    shapes: list[Shape] = [(n, n)]
    optimiser, x = SoapKernel(shapes, precondition_frequency=1), start(shapes)
    sequence = draw(shapes, 8)
    for k in range(2000):
        optimiser.step(x, sequence[k % 8], 1e-3)
    basis, outer = matrix(optimiser, "bases", n), matrix(optimiser, "outer", n)
    turned = basis.T @ outer @ basis
    assert np.all(np.diff(np.diag(turned)) <= 1e-3 * turned[0, 0])
    aside = np.linalg.norm(turned - np.diag(np.diag(turned)))
    assert aside < 0.1 * np.linalg.norm(turned)


def test_scale_of_the_gradients_does_not_matter() -> None:
    shapes: list[Shape] = [(4, 4), (6,)]
    x, y = start(shapes), start(shapes)
    small = SoapKernel(shapes, eps=1e-8 * 2.0**-60, precondition_frequency=1)
    usual = SoapKernel(shapes, eps=1e-8, precondition_frequency=1)
    for g in draw(shapes, 20):
        small.step(x, g * np.float32(2.0**-60), 1e-2)
        usual.step(y, g, 1e-2)
    np.testing.assert_array_equal(x, y)


def test_going_on_from_a_state() -> None:
    sequence = draw(FULL, 20)
    options: dict[str, Any] = {"weight_decay": 0.1, "precondition_frequency": 2}
    x, optimiser = start(FULL), SoapKernel(FULL, **options)
    for g in sequence[:9]:
        optimiser.step(x, g, 1e-2)
    state, y = optimiser.state(), x.copy()
    for g in sequence[9:]:
        optimiser.step(x, g, 1e-2)
    other = SoapKernel(FULL, **options)
    other.restore(state)
    for g in sequence[9:]:
        other.step(y, g, 1e-2)
    np.testing.assert_array_equal(x, y)
    assert state["steps"].item() == 8


def quadratic(precondition: bool) -> float:
    """Loss after 1000 steps on |A X B - C|^2, condition number 100 of A and of B."""
    rng = np.random.default_rng(3)
    a, b = (
        np.linalg.qr(rng.normal(size=(10, 10)))[0]
        @ np.diag(np.logspace(0, -2, 10))
        @ np.linalg.qr(rng.normal(size=(10, 10)))[0]
        for _ in range(2)
    )
    target = a @ rng.normal(size=(10, 10)) @ b
    x = np.zeros(100, np.float32)
    optimiser = SoapKernel(
        [(10, 10)], max_precondition_dim=256 if precondition else 0, precondition_frequency=5
    )
    for _ in range(1000):
        error = a @ x.reshape(10, 10) @ b - target
        optimiser.step(x, (2 * a.T @ error @ b.T).ravel().astype(np.float32), 1e-2)
    return float(np.square(error).sum())


def test_faster_than_adam_on_an_ill_conditioned_quadratic() -> None:
    assert quadratic(True) < 0.1 * quadratic(False)


def encoder(preset: Any) -> CoolChicEncoder:
    torch.manual_seed(2)
    return CoolChicEncoder(architecture(TrainConfig(), preset, (40, 24)))


def networks(model: CoolChicEncoder) -> list[Tensor]:
    named = model.named_parameters()
    return [x for name, x in named if x.requires_grad and "latent" not in name]


def train(preset: str, fast: bool, n: int) -> float:
    """Loss after n steps of the networks alone, for fixed latents and a fixed picture."""
    model = encoder(preset)
    generator = torch.Generator().manual_seed(3)
    for grid in model.latent_grids:
        grid.requires_grad_(False).copy_(0.1 * torch.randn(grid.shape, generator=generator))
    picture = torch.rand(1, 3, 40, 24, generator=generator)
    tensors = networks(model)
    shapes = [tuple(x.shape) for x in tensors]
    options: dict[str, Any] = {"weight_decay": 0.01, "precondition_frequency": 1}
    slow, quick = Soap(tensors, lr=1e-2, **options), SoapKernel(shapes, **options)
    x = flat(tensors).astype(np.float32)
    loss = math.inf
    for _ in range(n):
        output = model(quantizer_type="softround_alone")
        total = (output["raw_out"] - picture).square().mean() + 1e-3 * output["rate"] / 960
        loss = total.item()
        slow.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(tensors, 0.1)
        if not fast:
            slow.step()
            continue
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in tensors]
        quick.step(x, flat(gradients).astype(np.float32), 1e-2)
        with torch.no_grad():
            for tensor, part in zip(tensors, split(x, shapes), strict=True):
                tensor.copy_(torch.from_numpy(part))
    return loss


@pytest.mark.parametrize("preset", ["lop", "hop"])
def test_networks_learn_as_with_the_optimiser_in_torch(preset: str) -> None:
    first, slow, fast = train(preset, True, 1), train(preset, False, 60), train(preset, True, 60)
    assert slow < 0.9 * first
    assert fast == pytest.approx(slow, rel=0.02)


@pytest.mark.parametrize("preset", PRESETS)
def test_network_rate(preset: str) -> None:
    model = encoder(preset)
    tensors = networks(model)
    with torch.no_grad():
        for x in tensors:
            x.add_(0.1 * torch.randn(x.shape))
            x.flatten()[0] = 0.0  # where there is no slope
    bits = network_bits(model)
    derivatives = torch.autograd.grad(0.3 * bits, tensors, allow_unused=True)
    expected = [
        torch.zeros_like(x) if g is None else g for x, g in zip(tensors, derivatives, strict=True)
    ]
    steps = {"arm": 2.0**-5, "ifce": 2.0**-4, "upsampling": 2.0**-6, "synthesis": 2.0**-7}
    counts = {
        id(p): steps[module]
        for module in MODULES
        for p in model.network_parameters(module, "weight")
    }
    each = [torch.full(x.shape, counts.get(id(x), 0.0)) for x in tensors]
    gradients = np.ones(sum(x.numel() for x in tensors), np.float32)
    total = add_network_rate(
        flat(tensors).astype(np.float32), flat(each).astype(np.float32), 0.3, gradients
    )
    assert total == pytest.approx(bits.item(), rel=1e-6)
    np.testing.assert_allclose(gradients, 1.0 + flat(expected), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-4, 0.03, 10.0, math.nan])
def test_clip(scale: float) -> None:
    gradients = np.float32(scale) * start([(33,)])
    tensor = torch.zeros(33, requires_grad=True)
    tensor.grad = torch.from_numpy(gradients.copy())
    norm = torch.nn.utils.clip_grad_norm_([tensor], 0.1)
    assert clip(gradients, 0.1) == pytest.approx(norm.item(), rel=1e-6, nan_ok=True)
    np.testing.assert_allclose(gradients, tensor.grad.numpy(), rtol=1e-6)
