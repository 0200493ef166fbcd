# SPDX-License-Identifier: BSD-3-Clause
"""The optimiser is the text of training, section 5, and Adam where that says so."""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the trainer needs torch")

import torch
from torch import Tensor

from numchic_trainer.training.soap import Soap

Array = NDArray[np.float64]


class Literal:
    """Training, section 5, one tensor, word by word and slowly."""

    def __init__(
        self,
        x: Array,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precondition_frequency: int = 10,
        max_precondition_dim: int = 256,
    ) -> None:
        self.x, self.lr, self.betas, self.eps = x.copy(), lr, betas, eps
        self.weight_decay, self.period = weight_decay, precondition_frequency
        self.dims = [j for j, n in enumerate(x.shape) if x.ndim > 1 and n <= max_precondition_dim]
        self.m, self.v = np.zeros_like(x), np.zeros_like(x)
        self.outer: dict[int, Array] = {}
        self.bases: dict[int, Array] = {}
        self.t = -1

    def turn(self, x: Array, back: bool = False) -> Array:
        for j in self.dims:
            q = self.bases[j].T if back else self.bases[j]
            x = np.moveaxis(np.tensordot(x, q, (j, 0)), -1, j)
        return x

    def unfolded(self, g: Array, j: int) -> Array:
        return np.moveaxis(g, j, 0).reshape(g.shape[j], -1)

    def step(self, g: Array) -> None:
        self.t += 1
        beta1, beta2 = self.betas
        squares = {j: self.unfolded(g, j) @ self.unfolded(g, j).T for j in self.dims}
        if self.t == 0:
            self.outer = {j: (1 - beta2) * squares[j] for j in self.dims}
            self.bases = {j: np.linalg.eigh(self.outer[j])[1][:, ::-1] for j in self.dims}
            return
        turned = self.turn(g)
        self.m = beta1 * self.m + (1 - beta1) * turned
        self.v = beta2 * self.v + (1 - beta2) * turned**2
        step = self.lr * np.sqrt(1 - beta2**self.t) / (1 - beta1**self.t)
        self.x = self.x - step * self.turn(self.m / (np.sqrt(self.v) + self.eps), back=True)
        self.x = self.x * (1 - self.lr * self.weight_decay)
        for j in self.dims:
            self.outer[j] = beta2 * self.outer[j] + (1 - beta2) * squares[j]
        if self.t % self.period == 0:
            self.refresh()

    def refresh(self) -> None:
        plain = self.turn(self.m, back=True)
        for j in self.dims:
            q, outer = self.bases[j], self.outer[j]
            order = np.argsort(-np.diag(q.T @ outer @ q), kind="stable")
            self.v = np.take(self.v, order, j)
            self.bases[j] = np.linalg.qr(outer @ q[:, order])[0]
        self.m = self.turn(plain)


def gradients(shape: tuple[int, ...], n: int, seed: int = 0) -> list[Array]:
    """Random gradients whose directions have very different sizes, in no basis of the axes."""
    rng = np.random.default_rng(seed)
    mixers = [rng.normal(size=(n_j, n_j)) * 1.5 ** -rng.permutation(n_j) for n_j in shape]
    result = []
    for _ in range(n):
        g = rng.normal(size=shape) + 0.3
        for j, mixer in enumerate(mixers):
            g = np.moveaxis(np.tensordot(g, mixer, (j, 1)), -1, j)
        result.append(0.1 * g)
    return result


def run(optimiser: torch.optim.Optimizer, x: Tensor, sequence: list[Array]) -> None:
    for g in sequence:
        x.grad = torch.tensor(g, dtype=x.dtype)
        optimiser.step()


def parameter(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 5) -> Tensor:
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
    return values.to(dtype).requires_grad_()


def detached(x: Tensor) -> Array:
    return x.detach().double().numpy().copy()


# Shapes whose first gradient has full rank along every dimension: the eigenvectors of a zero
# eigenvalue are arbitrary, two libraries need not agree on them.
FULL = [(5, 5), (8, 8), (2, 2), (3, 2, 2), (3, 3, 3, 3), (4, 3, 3, 2), (4, 1, 4, 1)]


@pytest.mark.parametrize("frequency", [1, 3, 10])
@pytest.mark.parametrize("shape", FULL)
def test_literal(shape: tuple[int, ...], frequency: int) -> None:
    x = parameter(shape, torch.float64)
    options: dict[str, Any] = {"weight_decay": 0.1, "precondition_frequency": frequency}
    slow = Literal(detached(x), **options)
    fast = Soap([x], **options)
    for g in gradients(shape, 40):
        slow.step(g)
        run(fast, x, [g])
        np.testing.assert_allclose(detached(x), slow.x, rtol=0, atol=1e-7)
    assert np.abs(detached(x) - detached(parameter(shape, torch.float64))).max() > 1e-2


@pytest.mark.parametrize("shape", [(4, 4), (3, 3, 3, 3)])
def test_literal_in_single_precision(shape: tuple[int, ...]) -> None:
    x = parameter(shape)
    slow, fast = Literal(detached(x)), Soap([x])
    for g in gradients(shape, 30):
        slow.step(g)
        run(fast, x, [g])
    np.testing.assert_allclose(detached(x), slow.x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 20), (48, 7, 1, 1), (3, 17, 1, 1), (6, 9), (1, 6)])
def test_literal_with_the_same_first_basis(shape: tuple[int, ...]) -> None:
    """Gradients of low rank: the first bases are any eigenvectors, take those of the optimiser."""
    x = parameter(shape, torch.float64)
    sequence = [0.1 * np.random.default_rng(k).normal(size=shape) for k in range(25)]
    slow, fast = Literal(detached(x)), Soap([x])
    slow.step(sequence[0])
    run(fast, x, sequence[:1])
    for j, q in enumerate(fast.state[x]["bases"]):
        if q is None:
            continue
        basis = q.numpy().copy()
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-12)
        diagonal = basis.T @ slow.outer[j] @ basis
        np.testing.assert_allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-12)
        assert np.all(np.diff(np.diag(diagonal)) < 1e-12)
        slow.bases[j] = basis
    for g in sequence[1:]:
        slow.step(g)
        run(fast, x, [g])
    np.testing.assert_allclose(detached(x), slow.x, rtol=0, atol=1e-5)


def test_large_dimension_is_not_rotated() -> None:
    x = parameter((3, 12), torch.float64)
    slow = Literal(detached(x), max_precondition_dim=11, precondition_frequency=1)
    fast = Soap([x], max_precondition_dim=11, precondition_frequency=1)
    for g in gradients((3, 12), 20):
        slow.step(g)
        run(fast, x, [g])
    assert [q is None for q in fast.state[x]["bases"]] == [False, True]
    np.testing.assert_allclose(detached(x), slow.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((30,), {}),
        ((), {}),
        ((1, 1), {}),
        ((2, 0), {}),
        ((5, 6), {"precondition": False}),
        ((3, 3, 3, 3), {"precondition": False, "betas": (0.9, 0.999)}),
        ((9, 5), {"max_precondition_dim": 4, "betas": (0.0, 0.9)}),
    ],
)
def test_plain_adam(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x, y = parameter(shape), parameter(shape)
    sequence = [0.1 * np.random.default_rng(k).normal(size=shape) for k in range(30)]
    # the definitions of eps differ
    run(Soap([x], eps=1e-15, **options), x, sequence)
    betas = options.get("betas", (0.95, 0.95))
    run(torch.optim.Adam([y], lr=1e-2, betas=betas, eps=1e-15), y, sequence[1:])
    torch.testing.assert_close(x, y, rtol=0, atol=1e-6)


def test_eps_is_added_to_the_uncorrected_root() -> None:
    x = parameter((6,), torch.float64)
    slow = Literal(detached(x), eps=0.1)
    fast = Soap([x], eps=0.1)
    for g in gradients((6,), 10):
        slow.step(g)
        run(fast, x, [g])
    np.testing.assert_allclose(detached(x), slow.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("precondition", [False, True])
def test_first_step_moves_nothing(precondition: bool) -> None:
    tensors = [parameter(shape) for shape in [(4,), (5, 6), (3, 3, 3, 3)]]
    before = [x.detach().clone() for x in tensors]
    optimiser = Soap(tensors, weight_decay=0.5, precondition=precondition)
    for x in tensors:
        x.grad = torch.ones_like(x)
    optimiser.step()
    assert all(torch.equal(x, y) for x, y in zip(tensors, before, strict=True))
    optimiser.step()
    assert not any(torch.equal(x, y) for x, y in zip(tensors, before, strict=True))


@pytest.mark.parametrize("shape", [(6,), (5, 4), (3, 3, 3, 3)])
@pytest.mark.parametrize("frequency", [1, 10])
def test_zero_gradient(shape: tuple[int, ...], frequency: int) -> None:
    x, y = parameter(shape), parameter(shape)
    zeros = [np.zeros(shape)] * 25
    run(Soap([x], precondition_frequency=frequency), x, zeros)
    assert torch.equal(x, parameter(shape))
    run(Soap([y], weight_decay=0.1, precondition_frequency=frequency), y, zeros)
    torch.testing.assert_close(y, parameter(shape) * (1 - 1e-3) ** 24)


@pytest.mark.parametrize("size", [1e-18, 1e-12, 1e12])
def test_extreme_gradients_stay_finite(size: float) -> None:
    x = parameter((6, 5))
    run(Soap([x], precondition_frequency=1), x, [size * g for g in gradients((6, 5), 20)])
    assert torch.isfinite(x).all()


def test_gradient_after_zeros() -> None:
    """A residual layer may see its first gradient late."""
    x = parameter((6, 6))
    run(Soap([x], precondition_frequency=2), x, [np.zeros((6, 6))] * 5 + gradients((6, 6), 20))
    assert torch.isfinite(x).all()
    assert not torch.equal(x, parameter((6, 6)))


def mixed() -> tuple[list[Tensor], Soap]:
    tensors = [parameter(s) for s in [(5, 5), (48, 7, 1, 1), (3, 3, 3, 3), (4,), (900,)]]
    groups = [
        {"params": tensors[:4], "weight_decay": 0.01, "precondition_frequency": 3},
        {"params": tensors[4:], "betas": (0.9, 0.999), "precondition": False},
    ]
    return tensors, Soap(groups)


def advance(tensors: list[Tensor], optimiser: Soap, first: int, last: int) -> None:
    for k in range(first, last):
        for i, x in enumerate(tensors):
            x.grad = torch.from_numpy(np.random.default_rng([k, i]).normal(size=x.shape)).float()
        optimiser.step()


@pytest.mark.parametrize("start", [0, 1, 2, 8])
def test_state_round_trip(start: int) -> None:
    tensors, optimiser = mixed()
    advance(tensors, optimiser, 0, start)
    file = io.BytesIO()
    torch.save(optimiser.state_dict(), file)
    values = [x.detach().clone() for x in tensors]
    advance(tensors, optimiser, start, start + 12)

    others, another = mixed()
    advance(others, another, 50, 55)
    with torch.no_grad():
        for x, value in zip(others, values, strict=True):
            x.copy_(value)
    file.seek(0)
    another.load_state_dict(torch.load(file))
    advance(others, another, start, start + 12)
    assert all(torch.equal(x, y) for x, y in zip(tensors, others, strict=True))


def test_loaded_state_is_a_copy() -> None:
    tensors, optimiser = mixed()
    advance(tensors, optimiser, 0, 3)
    state = deepcopy(optimiser.state_dict())
    kept = deepcopy(state)
    optimiser.load_state_dict(state)
    advance(tensors, optimiser, 3, 9)
    for i, values in kept["state"].items():
        assert torch.equal(values["exp_avg"], state["state"][i]["exp_avg"])
        for q, p in zip(values.get("bases", []), state["state"][i].get("bases", []), strict=True):
            assert p is q is None or torch.equal(p, q)


def test_two_runs_are_identical() -> None:
    (x, first), (y, second) = mixed(), mixed()
    advance(x, first, 0, 15)
    advance(y, second, 0, 15)
    assert all(torch.equal(a, b) for a, b in zip(x, y, strict=True))


def test_tensors_do_not_disturb_each_other() -> None:
    """Same numbers alone and with others, one of which starts late and one without gradient."""
    alone, together = parameter((4, 4), torch.float64), parameter((4, 4), torch.float64)
    late, late_alone = (parameter((4, 6), torch.float64, 1) for _ in range(2))
    never = parameter((4, 4))
    options: dict[str, Any] = {"precondition_frequency": 2, "weight_decay": 0.1}
    optimiser = Soap([together, late, never], **options)
    sequence, others = gradients((4, 4), 12), gradients((4, 6), 12)
    for k, g in enumerate(sequence):
        together.grad = torch.from_numpy(g)
        late.grad = torch.from_numpy(others[k]) if k > 2 else None
        optimiser.step()
    run(Soap([alone], **options), alone, sequence)
    run(Soap([late_alone], **options), late_alone, others[3:])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    torch.testing.assert_close(late, late_alone, rtol=0, atol=1e-10)
    assert torch.equal(never, parameter((4, 4)))


def test_gradient_of_other_layout() -> None:
    x, y = parameter((4, 5)), parameter((4, 5))
    options: dict[str, Any] = {"precondition": False}
    first, second = Soap([x], **options), Soap([y], **options)
    for g in gradients((4, 5), 5):
        x.grad = torch.tensor(g, dtype=torch.float32)
        y.grad = x.grad.t().contiguous().t()
        first.step()
        second.step()
    assert torch.equal(x, y)


def quadratic(name: str) -> float:
    """Loss after 1000 steps on sum((A X B - C)^2), condition number 100 of A and of B.

    Long enough for the distance to the solution, of which either travels 0.01 a step, not to count.
    """
    rng = np.random.default_rng(3)
    sides = [
        torch.from_numpy(
            np.linalg.qr(rng.normal(size=(10, 10)))[0]
            @ np.diag(np.logspace(0, -2, 10))
            @ np.linalg.qr(rng.normal(size=(10, 10)))[0]
        )
        for _ in range(2)
    ]
    target = sides[0] @ torch.from_numpy(rng.normal(size=(10, 10))) @ sides[1]
    x = torch.zeros(10, 10, dtype=torch.float64, requires_grad=True)
    optimiser = Soap([x], precondition=name == "soap", precondition_frequency=5)

    def closure() -> float:
        optimiser.zero_grad()
        loss = (sides[0] @ x @ sides[1] - target).square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    return [optimiser.step(closure) for _ in range(1000)][-1]


def test_faster_than_adam_on_an_ill_conditioned_quadratic() -> None:
    assert quadratic("soap") < 0.1 * quadratic("adam")


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"lr": float("nan")},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"betas": (0.9,)},
        {"eps": 0.0},
        {"weight_decay": -0.1},
        {"precondition_frequency": 0},
        {"precondition_frequency": 2.5},
        {"max_precondition_dim": -1},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    x = parameter((2, 2))
    with pytest.raises(ValueError, match=next(iter(options))):
        Soap([x], **options)
    with pytest.raises(ValueError, match=next(iter(options))):
        Soap([{"params": [x], **options}])


def test_bad_tensors() -> None:
    optimiser = Soap([parameter((2,))])
    with pytest.raises(ValueError, match="float32"):
        optimiser.add_param_group({"params": [parameter((3,), torch.float16)]})
    with pytest.raises(ValueError, match="contiguous"):
        optimiser.add_param_group({"params": [parameter((3, 4)).detach().t().requires_grad_()]})
    assert len(optimiser.param_groups) == 1
