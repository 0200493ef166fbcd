# SPDX-License-Identifier: BSD-3-Clause
"""Rate of the latents against plain autograd in float64 (training, sections 2.4 and 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from numchic_trainer.model.functions import arm_rate

Layer = tuple[Tensor, Tensor]

BLOCK = 512
FLOOR = 2.0**-16


class Arguments(NamedTuple):
    """Arguments of ``arm_rate``."""

    context: Tensor
    symbols: Tensor
    hidden: list[Layer]
    output: Layer
    stabiliser: Layer | None
    fold_output_identity: bool = False

    def tensors(self) -> list[Tensor]:
        layers = [*self.hidden, self.output]
        if self.stabiliser is not None:
            layers.append(self.stabiliser)
        return [self.context, self.symbols, *(tensor for layer in layers for tensor in layer)]

    def map(self, function: Callable[[Tensor], Tensor]) -> Arguments:
        """Arguments with every tensor replaced."""

        def layer(pair: Layer) -> Layer:
            return function(pair[0]), function(pair[1])

        return Arguments(
            function(self.context),
            function(self.symbols),
            [layer(pair) for pair in self.hidden],
            layer(self.output),
            None if self.stabiliser is None else layer(self.stabiliser),
            self.fold_output_identity,
        )


def draw(
    width: int, n: int, n_hidden: int, stabiliser: bool = True, fold: bool = False, seed: int = 0
) -> Arguments:
    """Random arguments whose scales reach both clamps and whose symbols reach the floor."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    root = width**0.5
    return Arguments(
        2.0 * normal(width, n),
        3.0 * normal(n),
        [(0.4 / root * normal(width, width), 0.2 * normal(width)) for _ in range(n_hidden)],
        (
            torch.tensor([[0.3], [1.5]]) / root * normal(2, width),
            torch.tensor([0.0, 3.5]) + 0.1 * normal(2),
        ),
        (torch.tensor([[0.1], [0.5]]) * normal(2, width), 0.1 * normal(2)) if stabiliser else None,
        fold,
    )


def distribution(arguments: Arguments) -> tuple[Tensor, Tensor]:
    """Mu and scale, in plain torch."""
    context, _, hidden, output, stabiliser, fold = arguments
    x = context
    for weight, bias in hidden:
        x = torch.relu(weight @ x + bias[:, None] + x)
    y = output[0] @ x + output[1][:, None]
    if fold and context.shape[0] == 2:
        y = y + x
    if stabiliser is not None:
        y = y + stabiliser[0] @ context + stabiliser[1][:, None]
    return y[0], torch.exp(torch.clamp(y[1] - 4.0, -5.0, 5.0))


def reference_bits(arguments: Arguments) -> Tensor:
    """Bits from a difference of two CDF values, good enough in float64 only."""
    mu, scale = distribution(arguments)

    def cdf(value: Tensor) -> Tensor:
        z = (value - mu) / scale
        half = torch.exp(-z.abs()) / 2.0
        return torch.where(z < 0.0, half, 1.0 - half)

    p = cdf(arguments.symbols + 0.5) - cdf(arguments.symbols - 0.5)
    return -torch.log2(torch.clamp(p, min=FLOOR))


def bits_of_each(arguments: Arguments) -> Tensor:
    """Bits of every symbol, each on its own."""
    columns = zip(
        torch.split(arguments.context, 1, 1), torch.split(arguments.symbols, 1), strict=True
    )
    with torch.no_grad():
        bits = [arm_rate(*arguments._replace(context=c, symbols=s)) for c, s in columns]
    return torch.stack(bits)


def gradients(total: Tensor, arguments: Arguments) -> list[Tensor]:
    return list(torch.autograd.grad(total, arguments.tensors()))


def leaves(arguments: Arguments, dtype: torch.dtype = torch.float32) -> Arguments:
    return arguments.map(lambda tensor: tensor.detach().clone().to(dtype).requires_grad_())


def assert_equal_to_reference(arguments: Arguments) -> None:
    own, wide = leaves(arguments), leaves(arguments, torch.float64)
    total, expected = arm_rate(*own), reference_bits(wide).sum()
    assert total.dtype == torch.float32
    assert total.shape == ()
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    pairs = zip(gradients(total, own), gradients(expected, wide), strict=True)
    for i, (gradient, truth) in enumerate(pairs):
        assert gradient.shape == truth.shape
        error = (gradient.double() - truth).abs().max()
        assert error <= 1e-4 * truth.abs().max(), f"tensor {i}"


@pytest.mark.parametrize("stabiliser", [False, True])
@pytest.mark.parametrize("n_hidden", [0, 1, 2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 8, 14, 20])
def test_equals_autograd(width: int, n_hidden: int, stabiliser: bool) -> None:
    assert_equal_to_reference(draw(width, 2 * BLOCK + 77, n_hidden, stabiliser))


@pytest.mark.parametrize("n", [1, 3, BLOCK - 1, BLOCK, BLOCK + 1])
def test_any_number_of_symbols(n: int) -> None:
    assert_equal_to_reference(draw(8, n, 2, seed=n))


@pytest.mark.parametrize("n_hidden", [0, 2])
def test_widest(n_hidden: int) -> None:
    assert_equal_to_reference(draw(71, 600, n_hidden))


@pytest.mark.parametrize("n_hidden", [0, 2])
@pytest.mark.parametrize("width", [2, 3])
def test_folded_identity(width: int, n_hidden: int) -> None:
    arguments = draw(width, 700, n_hidden, fold=True)
    assert_equal_to_reference(arguments)
    same = arm_rate(*arguments) == arm_rate(*arguments._replace(fold_output_identity=False))
    assert bool(same) == (width != 2)


def test_random_arguments_reach_the_limits() -> None:
    arguments = draw(8, 5000, 2)
    bits, (_, scale) = bits_of_each(arguments), distribution(arguments)
    assert (bits == 16.0).any()
    assert (bits < 0.1).any()
    assert (scale.log() <= -4.999).any()
    assert (scale.log() >= 4.999).any()


def test_no_symbols() -> None:
    arguments = leaves(draw(8, 0, 2))
    total = arm_rate(*arguments)
    assert total.item() == 0.0
    assert all(not gradient.any() for gradient in gradients(total, arguments))


def constant(mu: float, log_scale: float, symbols: Tensor) -> Arguments:
    """Every symbol has the same distribution."""
    output = torch.zeros(2, 1), torch.tensor([mu, log_scale + 4.0])
    return Arguments(torch.zeros(1, symbols.numel()), symbols, [], output, None)


@pytest.mark.parametrize("log_scale", [-4.5, -1.0, 0.0, 2.0, 4.9])
def test_every_distance(log_scale: float) -> None:
    symbols = torch.linspace(-40.0, 40.0, 3203)  # 0 and +-1/2 are not among them
    symbols = symbols[(symbols.abs() - 0.5).abs() > 1e-3]
    arguments = constant(0.0, log_scale, symbols)
    wide = leaves(arguments, torch.float64)
    own = leaves(arguments)
    bits, expected = bits_of_each(own), reference_bits(wide)
    close = (bits.double() - expected).abs() <= 1e-6 + 2e-6 * expected
    assert close.all()
    gradient = torch.autograd.grad(arm_rate(*own), own.symbols)[0].double()
    truth = torch.autograd.grad(expected.sum(), wide.symbols)[0]
    near_floor = (expected - 16.0).abs() < 1e-4
    assert ((gradient - truth).abs() <= 1e-4 * truth.abs() + 1e-7)[~near_floor].all()


@pytest.mark.parametrize("log_scale", [-5.0, -2.0, 0.0, 5.0])
def test_no_distance(log_scale: float) -> None:
    arguments = leaves(constant(3.0, log_scale, torch.full((5,), 3.0)))
    total = arm_rate(*arguments)
    p = 1.0 - math.exp(-0.5 * math.exp(-log_scale))
    assert total.item() == pytest.approx(-5.0 * math.log2(p), rel=1e-6, abs=1e-6)
    assert not torch.autograd.grad(total, arguments.symbols)[0].any()


@pytest.mark.parametrize("log_scale", [-3.0, 0.0, 4.0])
def test_seam_of_the_closed_form(log_scale: float) -> None:
    """At d = 1/2 both branches meet."""
    symbols = torch.tensor([0.5, math.nextafter(0.5, 0.0), -0.5], dtype=torch.float32)
    arguments = leaves(constant(0.0, log_scale, symbols))
    gradient = torch.autograd.grad(arm_rate(*arguments), arguments.symbols)[0]
    truth = math.exp(-log_scale) / math.log(2.0)
    torch.testing.assert_close(gradient, truth * torch.tensor([1.0, 1.0, -1.0]))


def test_floor_gives_no_gradient() -> None:
    arguments = leaves(constant(0.0, 0.0, torch.tensor([30.0, -30.0, 1e6])))
    total = arm_rate(*arguments)
    assert total.item() == 48.0
    assert all(not gradient.any() for gradient in gradients(total, arguments))


@pytest.mark.parametrize("log_scale", [-6.0, 6.0])
def test_clamped_scale_gives_no_gradient(log_scale: float) -> None:
    arguments = leaves(constant(0.0, log_scale, torch.tensor([0.51])))
    total = arm_rate(*arguments)
    by_mean, by_scale = torch.autograd.grad(total, arguments.output[1])[0]
    assert by_mean != 0.0
    assert by_scale == 0.0


@pytest.mark.parametrize("magnitude", [1e3, 1e10, 1e30])
def test_extreme_inputs_stay_finite(magnitude: float) -> None:
    arguments = draw(8, 600, 2)
    signs = torch.sign(arguments.symbols)
    for extreme in (
        arguments._replace(context=arguments.context * magnitude),
        arguments._replace(symbols=signs * magnitude),
        arguments._replace(symbols=signs * 3e38),
        arguments._replace(output=(arguments.output[0], torch.tensor([magnitude, magnitude]))),
        arguments._replace(output=(arguments.output[0], torch.tensor([0.0, -magnitude]))),
    ):
        own = leaves(extreme)
        total = arm_rate(*own)
        assert torch.isfinite(total)
        assert total.item() <= 16.0 * 600
        assert all(torch.isfinite(gradient).all() for gradient in gradients(total, own))


def test_nan_is_not_hidden() -> None:
    arguments = draw(8, 600, 2)
    symbols = arguments.symbols.clone()
    symbols[7] = math.nan
    assert torch.isnan(arm_rate(*arguments._replace(symbols=symbols)))
    bits = bits_of_each(arguments._replace(symbols=symbols))
    assert torch.isnan(bits).nonzero().tolist() == [[7]]
    bias = torch.tensor([0.0, math.nan])
    broken = arguments._replace(output=(arguments.output[0], bias))
    assert torch.isnan(bits_of_each(broken)).all()


@pytest.mark.parametrize(("width", "n_hidden"), [(3, 0), (5, 1), (8, 2)])
def test_finite_differences(width: int, n_hidden: int) -> None:
    arguments = draw(width, 40, n_hidden, stabiliser=False, seed=3)
    arguments.output[0].mul_(0.2)  # scales near 1, so that the function is smooth
    stabiliser = 0.1 * torch.ones(2, width), torch.zeros(2)
    arguments = arguments._replace(stabiliser=stabiliser)
    own = leaves(arguments)
    step = 1e-3
    for gradient, tensor in zip(gradients(arm_rate(*own), own), arguments.tensors(), strict=True):
        flat = tensor.view(-1)
        for index in range(0, flat.numel(), max(1, flat.numel() // 5)):
            before = flat[index].item()
            totals = []
            for moved in (before + step, before - step):
                flat[index] = moved
                totals.append(bits_of_each(arguments).double().sum().item())
            flat[index] = before
            slope = (totals[0] - totals[1]) / (2.0 * step)
            tolerance = 1e-2 * gradient.abs().max().item() + 1e-2
            assert slope == pytest.approx(gradient.view(-1)[index].item(), abs=tolerance)


def test_the_total_is_the_sum_of_all_symbols() -> None:
    arguments = draw(8, 1111, 2)
    bits = bits_of_each(arguments)
    truth = reference_bits(arguments.map(Tensor.double))
    torch.testing.assert_close(bits.double(), truth, rtol=2e-4, atol=2e-5)
    assert bits.double().sum().item() == pytest.approx(arm_rate(*arguments).item(), rel=1e-6)


def test_repeatable() -> None:
    arguments = leaves(draw(14, 3000, 2))
    first, second = arm_rate(*arguments), arm_rate(*arguments)
    assert torch.equal(first, second)
    pairs = zip(gradients(first, arguments), gradients(second, arguments), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with torch.no_grad():
        value = arm_rate(*arguments)
    assert not value.requires_grad
    assert torch.equal(value, first)


def test_incoming_gradient_scales() -> None:
    arguments = leaves(draw(8, 700, 2))
    plain = gradients(arm_rate(*arguments), arguments)
    scaled = gradients(-0.25 * arm_rate(*arguments), arguments)
    assert all(torch.equal(-0.25 * a, b) for a, b in zip(plain, scaled, strict=True))


def test_backward_twice_over_a_kept_graph() -> None:
    arguments = leaves(draw(8, 700, 1))
    total = arm_rate(*arguments)
    first = torch.autograd.grad(total, arguments.context, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(total, arguments.context)[0])


@pytest.mark.parametrize("n_hidden", [0, 2])
def test_subsets_of_gradients(n_hidden: int) -> None:
    arguments = draw(8, 700, n_hidden)
    everything = leaves(arguments)
    expected = gradients(arm_rate(*everything), everything)
    count = len(expected)
    for wanted in ([0], [1], [0, 1], [2], [count - 1], list(range(2, count)), [1, count - 2]):
        chosen = arguments.map(lambda tensor: tensor.detach().clone())
        tensors = chosen.tensors()
        for i in wanted:
            tensors[i].requires_grad_()
        found = torch.autograd.grad(arm_rate(*chosen), [tensors[i] for i in wanted])
        assert all(torch.equal(g, expected[i]) for g, i in zip(found, wanted, strict=True))


def test_strided_inputs() -> None:
    arguments = draw(8, 700, 2)
    strided = arguments.map(lambda tensor: torch.stack([tensor, tensor], -1)[..., 0])
    assert not strided.context.is_contiguous()
    assert torch.equal(arm_rate(*strided), arm_rate(*arguments))


def test_rejects_other_types_and_sizes() -> None:
    arguments = draw(8, 20, 1)
    with pytest.raises(TypeError, match="float32"):
        arm_rate(*arguments.map(lambda tensor: tensor.double()))
    with pytest.raises(ValueError, match="sizes"):
        arm_rate(*arguments._replace(symbols=torch.zeros(19)))
    with pytest.raises(ValueError, match="sizes"):
        arm_rate(*arguments._replace(context=torch.zeros(7, 20)))
