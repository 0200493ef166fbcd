# SPDX-License-Identifier: BSD-3-Clause
"""SOAP: Adam in the eigenbasis of the gradient's second moments (training, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

_Matrices = Sequence[Tensor | None]  # one per dimension of a tensor, None for the identity


class Soap(torch.optim.Optimizer):
    """Optimiser of networks and latents (training, section 5).

    A tensor with two dimensions or more is rotated into the eigenbasis of the second moments of
    its gradient, dimension by dimension, and Adam runs there; any other tensor gets plain Adam.
    The first step of a tensor only looks at its gradient and moves nothing.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Contiguous tensors of type float32 or float64, or parameter groups. All other arguments
        are defaults of options that a group can set for itself.
    lr : float
        Learning rate.
    betas : tuple of float
        Decay of the first and of the second moments, the second also that of the preconditioner.
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        Decoupled: after its update, a tensor is multiplied by 1 - lr * weight_decay.
    precondition_frequency : int
        Steps from one refresh of the bases to the next.
    max_precondition_dim : int
        Larger dimensions are not rotated.
    precondition : bool
        False for plain Adam.

    Raises
    ------
    ValueError
        An option is out of range, or a tensor is of the wrong type or not contiguous.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precondition_frequency: int = 10,
        max_precondition_dim: int = 256,
        precondition: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "precondition_frequency": precondition_frequency,
            "max_precondition_dim": max_precondition_dim,
            "precondition": precondition,
        }
        _check_options(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options that it does not set have their defaults."""
        _check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            _check_tensors(self.param_groups[-1]["params"])
        except ValueError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; unlike in the base class, nothing is shared with ``state_dict``."""
        super().load_state_dict(deepcopy(state_dict))

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all tensors that have a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients and returns the loss, which the step returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        for (rotated, t, _, _), tensors in self._advance(group).items():
            states = [self.state[x] for x in tensors]
            gradients = [_gradient(x) for x in tensors]
            if rotated:
                _move_rotated(tensors, gradients, states, t, group)
            else:
                _adam(tensors, gradients, states, t, group)
            if group["weight_decay"]:
                torch._foreach_mul_(tensors, 1.0 - group["lr"] * group["weight_decay"])
            if rotated:
                _accumulate(gradients, states, group["betas"][1])
                if t % group["precondition_frequency"] == 0:
                    _refresh(states)

    def _advance(
        self, group: dict[str, Any]
    ) -> dict[tuple[bool, int, torch.dtype, torch.device], list[Tensor]]:
        """Start new tensors, count the step of the others, sort these into uniform lists."""
        lists: dict[tuple[bool, int, torch.dtype, torch.device], list[Tensor]] = {}
        for x in group["params"]:
            if x.grad is None:
                continue
            state = self.state[x]
            if not state:
                state.update(_initial_state(x, _gradient(x), group))
                continue
            state["step"] += 1
            key = ("bases" in state, state["step"], x.dtype, x.device)
            lists.setdefault(key, []).append(x)
        return lists


def _check_options(group: Mapping[str, Any]) -> None:
    if not (0.0 <= group["lr"] < math.inf):
        raise ValueError(f"lr must be finite and not negative, is {group['lr']}")
    if len(group["betas"]) != 2 or not all(0.0 <= beta < 1.0 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), are {group['betas']}")
    if not (0.0 < group["eps"] < math.inf):  # zero would be 0 / 0 where there is no gradient
        raise ValueError(f"eps must be finite and positive, is {group['eps']}")
    if not (0.0 <= group["weight_decay"] < math.inf):
        raise ValueError(f"weight_decay must not be negative, is {group['weight_decay']}")
    for name, least in (("precondition_frequency", 1), ("max_precondition_dim", 0)):
        value = group[name]
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, is {value}")


def _check_tensors(tensors: Sequence[Tensor]) -> None:
    for x in tensors:
        if x.dtype not in {torch.float32, torch.float64}:
            raise ValueError(f"parameters must be float32 or float64, not {x.dtype}")
        if not x.is_contiguous():  # the fused kernel walks through memory
            raise ValueError(f"parameters must be contiguous, not of strides {x.stride()}")


def _gradient(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad.contiguous()


def _initial_state(x: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
    """State after the first call: zero moments, and the bases unless the tensor has plain Adam."""
    state: dict[str, Any] = {
        "step": 0,
        "exp_avg": torch.zeros_like(x),
        "exp_avg_sq": torch.zeros_like(x),
    }
    turned = [1 < n <= group["max_precondition_dim"] for n in x.shape]
    if group["precondition"] and x.dim() > 1 and x.numel() and any(turned):
        # a list per tensor, with one square matrix per dimension: GG_j and Q_j
        state["outer"] = [
            x.new_zeros(n, n) if yes else None for n, yes in zip(x.shape, turned, strict=True)
        ]
        _accumulate([gradient], [state], group["betas"][1])
        state["bases"] = [None if gg is None else _eigenvectors(gg) for gg in state["outer"]]
    return state


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Eigenvectors (n, n) of a symmetric matrix in columns, by descending eigenvalue."""
    # in double precision, as the iteration may fail to converge in single for tiny values
    vectors: Tensor = torch.linalg.eigh(matrix.double()).eigenvectors
    return vectors.flip(-1).to(matrix.dtype, memory_format=torch.contiguous_format)


def _rotate(x: Tensor, matrices: _Matrices) -> Tensor:
    """Contract every dimension j of a tensor with the rows of ``matrices[j]``, shape (n_j, n_j)."""
    y = x
    for n, matrix in zip(x.shape, matrices, strict=True):
        if n > 1:
            y = y.reshape(n, -1).t()  # the first goes last: after all dimensions, order is restored
            if matrix is not None:
                y = y.mm(matrix)
    return y.reshape(x.shape).contiguous()


def _adam(
    tensors: list[Tensor],
    gradients: list[Tensor],
    states: Sequence[Mapping[str, Any]],
    t: int,
    group: Mapping[str, Any],
) -> None:
    """Adam's step t of all tensors, in place."""
    beta1, beta2 = group["betas"]
    # One call for all: ten times faster on small tensors than a call per operation. The kernel
    # adds its eps to the corrected root, sqrt(v) / sqrt(1 - beta2^t), ours belongs to sqrt(v).
    torch._fused_adam_(
        tensors,
        gradients,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        [torch.tensor(float(t), device=tensors[0].device)] * len(tensors),
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=group["eps"] / math.sqrt(1.0 - beta2**t),
        amsgrad=False,
        maximize=False,
    )


def _move_rotated(
    tensors: list[Tensor],
    gradients: list[Tensor],
    states: Sequence[Mapping[str, Any]],
    t: int,
    group: Mapping[str, Any],
) -> None:
    """Adam's step t in the bases of the tensors, in place."""
    rotated = [_rotate(g, state["bases"]) for g, state in zip(gradients, states, strict=True)]
    changes = [torch.zeros_like(g) for g in rotated]  # Adam from zero yields the change alone
    _adam(changes, rotated, states, t, group)
    back = [
        _rotate(change, [None if q is None else q.t() for q in state["bases"]])
        for change, state in zip(changes, states, strict=True)
    ]
    torch._foreach_add_(tensors, back)


def _accumulate(
    gradients: Sequence[Tensor], states: Sequence[Mapping[str, Any]], beta2: float
) -> None:
    """GG_j <- beta2 GG_j + (1 - beta2) (gradient unfolded along j) (same)^T, in place."""
    for gradient, state in zip(gradients, states, strict=True):
        x = gradient
        for n, outer in zip(gradient.shape, state["outer"], strict=True):
            if n > 1:
                x = x.reshape(n, -1)
                turned = x.t()
                if outer is not None:
                    outer.addmm_(x, turned, beta=beta2, alpha=1.0 - beta2)
                x = turned


def _refresh(states: Sequence[dict[str, Any]]) -> None:
    """Improve all bases, and take the moments into the new ones."""
    turns: list[list[Tensor | None]] = [[None] * len(state["bases"]) for state in states]
    for places in _places_by_size(states):
        bases = [states[i]["bases"][j] for i, j in places]
        old = torch.stack(bases)
        new, order = _power_iteration(torch.stack([states[i]["outer"][j] for i, j in places]), old)
        torch._foreach_copy_(bases, new.unbind())
        matrices = old.mT @ new  # out of the old basis and into the new one
        for (i, j), matrix, columns in zip(places, matrices.unbind(), order.unbind(), strict=True):
            turns[i][j] = matrix
            states[i]["exp_avg_sq"] = states[i]["exp_avg_sq"].index_select(j, columns)
    for state, turn in zip(states, turns, strict=True):
        state["exp_avg"] = _rotate(state["exp_avg"], turn)


def _places_by_size(states: Sequence[Mapping[str, Any]]) -> list[list[tuple[int, int]]]:
    """Pairs (tensor, dimension) that have a basis; those of equal size share a list, a batch."""
    places: dict[int, list[tuple[int, int]]] = {}
    for i, state in enumerate(states):
        for j, basis in enumerate(state["bases"]):
            if basis is not None:
                places.setdefault(basis.shape[0], []).append((i, j))
    return list(places.values())


def _power_iteration(outer: Tensor, bases: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the power method with a QR decomposition.

    Parameters
    ----------
    outer : Tensor, shape (B, n, n)
        Symmetric matrices GG.
    bases : Tensor, shape (B, n, n)
        Approximate eigenvectors Q in columns.

    Returns
    -------
    bases : Tensor, shape (B, n, n)
        Better ones.
    order : Tensor of int, shape (B, n)
        Old column of every new one: descending order of the diagonal of Q^T GG Q.
    """
    product = outer @ bases
    order = torch.argsort((bases * product).sum(-2), descending=True, stable=True)
    return torch.linalg.qr(product.take_along_dim(order[:, None], -1))[0], order
