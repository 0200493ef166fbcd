# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation of the networks: steps and exp-Golomb orders (training, section 8).

For every module, weights and biases get a power-of-two step each. Parameters of ARM and IFCE change
only the rate, those of synthesis and upsampling only the picture, so a candidate costs half an
evaluation at most; and since the two steps of a module hardly interact, they are searched one after
the other instead of in pairs: 66 half evaluations instead of 644 whole ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numchic_bitstream.v5.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_trainer.model.encoder import KINDS, CoolChicEncoder
from numchic_trainer.training.target import Target

MAX_INTEGER = 65535
SEARCH_ORDER = ("arm", "ifce", "synthesis", "upsampling")


def best_order(integers: NDArray[np.int64]) -> tuple[int, int]:
    """Exp-Golomb order with the fewest bits, and that number of bits.

    Examples
    --------
    >>> best_order(np.array([0, 0, 1, 0]))
    (0, 6)
    """
    mapped = np.where(integers > 0, 2 * integers - 1, -2 * integers)
    bits = []
    for order in range(MAX_EXPGOL_CNT + 1):
        length = np.frexp((mapped >> order).astype(np.float64) + 1.0)[1] - 1
        bits.append(int((2 * length + 1 + order).sum()))
    order = int(np.argmin(bits))
    return order, bits[order]


class HalfLosses:
    """The two halves of the loss of a model whose latents are fixed.

    What a module is fed does not change while that module is worked on, so the functions that
    :meth:`half` gives compute it once.
    """

    def __init__(self, model: CoolChicEncoder, target: Target) -> None:
        self.model = model
        self.target = target
        self.grids = model.quantised_latents()

    def rate(self) -> Tensor:
        """Weighted bits of the latents."""
        return self.target.rate_weight() * self.model.latent_rate(self.grids)

    def picture(self, rounded: bool = True) -> Tensor:
        """Distortion of the picture."""
        dense = self.model.dense(self.grids)
        return self.target.distortion(self.model.render(dense), rounded=rounded)

    def half(self, module: str) -> Callable[[bool], Tensor]:
        """Function for the half that a module changes, the other modules being fixed.

        Its argument says whether samples are rounded, which makes it exact but without gradient.
        """
        model, target = self.model, self.target
        if module == "arm":
            contexts, weight = model.contexts(self.grids), target.rate_weight()
            return lambda _: weight * model.latent_rate(self.grids, contexts)
        if module == "ifce":
            return lambda _: self.rate()
        if module == "synthesis":
            dense = model.dense(self.grids)
            return lambda rounded: target.distortion(model.render(dense), rounded=rounded)
        return self.picture

    def total(self) -> float:
        """Whole loss, with the bits of the networks quantised so far."""
        bits = self.model.get_network_rate()[1]
        return self.target.loss(float(self.rate() + self.picture()), bits)


def quantise_networks(model: CoolChicEncoder, target: Target) -> float:
    """Quantise all networks in place.

    Returns
    -------
    float
        Loss with the bits of the networks.
    """
    model.eval()
    with torch.no_grad():
        losses = HalfLosses(model, target)
        weight = target.rate_weight()
        for module in SEARCH_ORDER:
            if module == "ifce" and model.ifce is None:
                continue
            loss = losses.half(module)
            for kind in KINDS:
                _search(model, module, kind, loss, weight)
        return losses.total()


def _search(
    model: CoolChicEncoder,
    module: str,
    kind: str,
    loss: Callable[[bool], Tensor],
    weight: float,
) -> None:
    """Find the step of one tensor group, everything else as it is."""
    parameters = model.network_parameters(module, kind)  # type: ignore[arg-type]
    originals = [p.detach().clone() for p in parameters]
    flat = torch.cat([o.flatten() for o in originals]) if originals else torch.zeros(0)
    maximum = getattr(MAX_Q_STEP, f"{module}_{kind}")
    best: tuple[float, int, int, list[Tensor]] | None = None
    for exponent in range(maximum + 1):
        step = 2.0**-exponent
        integers = torch.round(flat / step)
        if integers.numel() and float(integers.abs().max()) > MAX_INTEGER:
            continue
        for p, o in zip(parameters, originals, strict=True):
            p.copy_(torch.round(o / step) * step)
        order, bits = best_order(integers.to(torch.int64).numpy())
        value = float(loss(True)) + weight * bits
        if best is None or value < best[0]:
            best = (value, exponent, order, [p.detach().clone() for p in parameters])
    assert best is not None
    _, exponent, order, values = best
    for p, v in zip(parameters, values, strict=True):
        p.copy_(v)
    model.nn_q_step[module][kind] = 2.0**-exponent
    model.nn_expgol_cnt[module][kind] = order
