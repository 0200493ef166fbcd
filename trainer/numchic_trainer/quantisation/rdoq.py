# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion optimised quantisation of the network parameters (training, section 9).

Every integer parameter is visited once, in random order, and moved down or up as long as the loss
falls. A move is judged by the half of the loss that it changes, from what that module is fed, which
is computed once; and it is only tried where the gradient, together with the change of its code
length, promises a gain. Afterwards the exp-Golomb orders are chosen again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from numchic_trainer.model.encoder import KINDS, CoolChicEncoder
from numchic_trainer.quantisation.stepsearch import SEARCH_ORDER, HalfLosses, best_order
from numchic_trainer.training.target import Target

_MAX_SHIFT = 15
_REFRESH = 24  # moves after which slopes are computed again
_LEAST_GAIN = 1e-6  # of the half loss: less is not worth an evaluation


def code_length(q: int, order: int) -> int:
    """Bits of one exp-Golomb code.

    Examples
    --------
    >>> [code_length(q, 0) for q in (0, 1, -1, 2)]
    [1, 3, 3, 5]
    """
    mapped = 2 * q - 1 if q > 0 else -2 * q
    return 2 * ((mapped >> order) + 1).bit_length() - 1 + order


def optimise_integers(model: CoolChicEncoder, target: Target, seed: int = 0) -> float:
    """Improve the integers of a quantised model in place.

    Parameters
    ----------
    model : CoolChicEncoder
        Model that :func:`~numchic_trainer.quantisation.stepsearch.quantise_networks` has seen.
    target : Target
    seed : int
        Seed of the order of visits.

    Returns
    -------
    float
        Loss with the bits of the networks.
    """
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    with torch.no_grad():
        losses = HalfLosses(model, target)
        for module in SEARCH_ORDER:
            if module == "ifce" and model.ifce is None:
                continue
            for kind in KINDS:
                if (module, kind) != ("upsampling", "bias"):  # sent, but never used
                    _descend(model, module, kind, losses, generator)
        return losses.total()


class _Group:
    """Weights or biases of one module, as one vector of integers.

    Attributes
    ----------
    slopes : list of float
        Derivatives of the half loss by the integers; NaN for parameters that are not trained.
    """

    def __init__(
        self, model: CoolChicEncoder, module: str, kind: str, loss: Callable[[bool], Tensor]
    ) -> None:
        self.step: float = model.nn_q_step[module][kind]
        self.order: int = model.nn_expgol_cnt[module][kind]
        self.tensors = model.network_parameters(module, kind)  # type: ignore[arg-type]
        self.places = [(t.view(-1), i) for t in self.tensors for i in range(t.numel())]
        self.loss = loss
        self.slopes: list[float] = []

    def integers(self) -> list[int]:
        return [round(float(flat[i]) / self.step) for flat, i in self.places]

    def differentiate(self) -> None:
        """Find the slopes at the present integers."""
        trained = [t for t in self.tensors if t.requires_grad]
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                self.loss(False), trained, allow_unused=True, materialize_grads=True
            )
        found = iter(gradients)
        self.slopes = []
        for t in self.tensors:
            slope = next(found) if t.requires_grad else torch.full_like(t, torch.nan)
            self.slopes += (self.step * slope).flatten().tolist()


def _descend(
    model: CoolChicEncoder,
    module: str,
    kind: str,
    losses: HalfLosses,
    generator: torch.Generator,
) -> None:
    """Visit the integers of one tensor group."""
    group = _Group(model, module, kind, losses.half(module))
    if not group.places:
        return
    weight = losses.target.rate_weight()
    best = float(group.loss(True))
    n_moved = _REFRESH
    for n in torch.randperm(len(group.places), generator=generator).tolist():
        if n_moved >= _REFRESH:
            group.differentiate()
            n_moved = 0
        before = best
        best = _move(group, n, best, weight)
        n_moved += best != before
    model.nn_expgol_cnt[module][kind] = best_order(np.array(group.integers(), np.int64))[0]


def _move(group: _Group, n: int, best: float, weight: float) -> float:
    """Move one integer as far as the loss falls; return the half loss afterwards."""
    flat, i = group.places[n]
    start = round(float(flat[i]) / group.step)
    start_bits = code_length(start, group.order)
    best_q, best_half = start, best
    best_cost = best + weight * start_bits
    for direction in (-1, 1):
        for shift in range(1, _MAX_SHIFT + 1):
            q = start + direction * shift
            bits = code_length(q, group.order)
            # The loss is nearly convex: it changes by no less than its slope says.
            if group.slopes[n] * (q - start) + weight * (bits - start_bits) > -_LEAST_GAIN * best:
                break
            flat[i] = q * group.step
            half = float(group.loss(True))
            cost = half + weight * bits
            if cost >= best_cost:
                break
            best_q, best_half, best_cost = q, half, cost
    flat[i] = best_q * group.step
    return best_half
