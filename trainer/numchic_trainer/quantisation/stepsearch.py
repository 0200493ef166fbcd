# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation of the networks: steps and exp-Golomb orders (training, section 8).

For every module, weights and biases get a power-of-two step each. Parameters of ARM and IFCE change
only the rate, those of synthesis and upsampling only the picture, so a candidate costs half an
evaluation at most, and that on a sample of a large picture. The two steps of a module hardly
interact, so they are searched one after the other. The loss has one minimum but for small waves:
too coarse a step harms the prediction, and every finer one costs two bits per parameter. So the
search goes from a usual step to finer and to coarser ones as long as that pays.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import I64
from numchic_bitstream.v5.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_trainer.kernels.integers import MAX_INTEGER, add_code_lengths
from numchic_trainer.model.encoder import KINDS, CoolChicEncoder
from numchic_trainer.quantisation.sample import HalfLosses
from numchic_trainer.training.target import Target

_N_SAMPLES = 65536  # symbols, and pixels, that candidates are judged on
_PATIENCE = {1: 2, -1: 3}  # finer and coarser steps in a row that are no better: then it is enough

# Exponents of the steps that the search usually finds, for weights and for biases.
_USUAL = {"arm": (5, 5), "ifce": (4, 4), "synthesis": (8, 9), "upsampling": (8, 0)}


def best_order(integers: I64) -> tuple[int, int]:
    """Exp-Golomb order with the fewest bits, and that number of bits.

    Examples
    --------
    >>> best_order(np.array([0, 0, 1, 0]))
    (0, 6)
    """
    bits = np.zeros(MAX_EXPGOL_CNT + 1, np.int64)
    add_code_lengths(integers, bits)
    order = int(np.argmin(bits))
    return order, int(bits[order])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums and matrix products of torch depend on their number."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def whole_loss(model: CoolChicEncoder, target: Target) -> float:
    """Loss of a quantised model on the whole picture, with the bits of the networks."""
    return target.evaluate(model, model.get_network_rate()[1]).loss


@one_thread()
def quantise_networks(model: CoolChicEncoder, target: Target) -> float:
    """Quantise all networks in place.

    Returns
    -------
    float
        Loss of the whole picture, with the bits of the networks.
    """
    with torch.no_grad():
        losses = HalfLosses(model, target, _N_SAMPLES)
        for module in ("arm", "ifce", "synthesis", "upsampling"):
            if module == "ifce" and model.ifce is None:
                continue
            loss = losses.half(module)
            for kind, usual in zip(KINDS, _USUAL[module], strict=True):
                _Search(model, module, kind, loss, target.rate_weight()).run(usual)
    return whole_loss(model, target)


class _Search:
    """Search for the step of one tensor group, everything else as it is."""

    def __init__(
        self,
        model: CoolChicEncoder,
        module: str,
        kind: str,
        loss: Callable[[bool], Tensor],
        weight: float,
    ) -> None:
        self.model, self.module, self.kind = model, module, kind
        self.loss, self.weight = loss, weight
        self.parameters = model.network_parameters(module, kind)  # type: ignore[arg-type]
        self.originals = [p.detach().clone() for p in self.parameters]
        flat = [o.flatten() for o in self.originals]
        self.flat = torch.cat(flat) if flat else torch.zeros(0)
        self._losses: dict[bytes, float] = {}  # by the values that gave them
        self.finest: int = getattr(MAX_Q_STEP, f"{module}_{kind}")
        peak = float(self.flat.abs().max()) if len(self.flat) else 0.0
        while self.finest and round(peak * 2.0**self.finest) > MAX_INTEGER:
            self.finest -= 1

    def run(self, usual: int) -> None:
        """Set the best step, and the best order with it."""
        best = start = min(usual, self.finest)
        least = self._value(best) if self.finest else 0.0  # there may be nothing to choose
        for direction, patience in _PATIENCE.items():
            exponent, left = start + direction, patience
            while left and 0 <= exponent <= self.finest:
                value = self._value(exponent)
                left -= 1
                if value < least:
                    best, least, left = exponent, value, patience
                exponent += direction
        order, _ = self._quantise(best)
        self.model.nn_q_step[self.module][self.kind] = 2.0**-best
        self.model.nn_expgol_cnt[self.module][self.kind] = order

    def _value(self, exponent: int) -> float:
        """Half loss, with the bits of the group."""
        _, bits = self._quantise(exponent)
        rounded = b"".join(p.numpy().tobytes() for p in self.parameters)
        if rounded not in self._losses:
            self._losses[rounded] = float(self.loss(True))
        value = self._losses[rounded] + self.weight * bits
        return value if math.isfinite(value) else math.inf

    def _quantise(self, exponent: int) -> tuple[int, int]:
        """Round to multiples of a step; return the best order and the bits with it."""
        scale = 2.0**exponent
        for p, o in zip(self.parameters, self.originals, strict=True):
            p.copy_(torch.round(o * scale) / scale)
        return best_order(torch.round(self.flat * scale).to(torch.int64).numpy())
