# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion optimised quantisation of the network parameters (training, section 9).

Every integer parameter is visited once, in random order, and moved down or up as long as the loss
falls. A move is judged by the half of the loss that it changes, from what that module is fed, which
is computed once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from numchic_trainer.model.encoder import KINDS, CoolChicEncoder
from numchic_trainer.networks.stepsearch import SEARCH_ORDER, HalfLosses
from numchic_trainer.training.train import Target

_MAX_SHIFT = 15


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
        After :func:`numchic_trainer.networks.stepsearch.quantise_networks`.
    target : Target
    seed : int
        Of the order of visits.

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


def _descend(
    model: CoolChicEncoder,
    module: str,
    kind: str,
    losses: HalfLosses,
    generator: torch.Generator,
) -> None:
    """Visit the integers of one tensor group."""
    step, order = model.nn_q_step[module][kind], model.nn_expgol_cnt[module][kind]
    tensors = model.network_parameters(module, kind)  # type: ignore[arg-type]
    places = [(t.view(-1), i) for t in tensors for i in range(t.numel())]
    loss, weight = losses.half(module), losses.target.rate_weight()

    def bits(q: int) -> float:
        return weight * code_length(q, order)

    best = loss()
    for n in torch.randperm(len(places), generator=generator).tolist():
        flat, i = places[n]
        best = _move(flat, i, step, best, loss, bits)


def _move(
    flat: Tensor,
    i: int,
    step: float,
    best: float,
    loss: Callable[[], float],
    bits: Callable[[int], float],
) -> float:
    """Move one integer as far as the loss falls; return the half loss afterwards."""
    start = round(float(flat[i]) / step)
    best_q, best_half = start, best
    best_cost = best + bits(start)
    for direction in (-1, 1):
        for shift in range(1, _MAX_SHIFT + 1):
            q = start + direction * shift
            flat[i] = q * step
            half = loss()
            cost = half + bits(q)
            if cost >= best_cost:
                break
            best_q, best_half, best_cost = q, half, cost
    flat[i] = best_q * step
    return best_half
