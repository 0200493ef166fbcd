# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion optimised quantisation of the network parameters (training, section 9).

Instead of visiting every integer with evaluations of its own, all parameters of ARM and IFCE, then
all of the synthesis, are moved together. Near the present integers the loss is taken for a
quadratic function, with the slope at this point and second derivatives from a small sample. The
integers that minimise it together with their code lengths are found without any evaluation, and
since it knows how parameters interact, one makes up for what another has been rounded by. The
proposal is kept if the loss falls, and another is made from there; otherwise second derivatives are
raised, so that the next one stays nearer. The upsampling is left as it is: its few integers gain
next to nothing (0.04 % of the loss).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F64, I64
from numchic_trainer.kernels.integers import descend
from numchic_trainer.model.encoder import KINDS, CoolChicEncoder
from numchic_trainer.quantisation.curvature import rate_curvature, synthesis_curvature
from numchic_trainer.quantisation.sample import HalfLosses, RateSample
from numchic_trainer.quantisation.stepsearch import best_order, one_thread, whole_loss
from numchic_trainer.training.target import Target

_N_SAMPLES = 400_000  # symbols, and pixels, that proposals are judged on
_N_ROUNDS = 8
_N_ORDERS = 3  # times that integers and exp-Golomb orders are fitted to each other
_LEAST_GAIN = 2e-5  # of a half of the loss: less is not worth another round

# One symbol or pixel in so many is looked at for second derivatives, within these limits: with too
# few, integers seem free to move that are not.
_PERIOD = 10
_N_SYMBOLS = (4000, 12000)
_N_PIXELS = (1600, 4000)

_DAMPING = 0.3  # what is added to second derivatives first, relative to their diagonal
_MORE, _LESS = 4.0, 0.5  # change of the damping when a proposal fails or succeeds


@one_thread()
def optimise_integers(
    model: CoolChicEncoder, target: Target, seed: int = 0, before: float | None = None
) -> float:
    """Improve the integers of a quantised model in place.

    Parameters
    ----------
    model : CoolChicEncoder
        Model that :func:`~numchic_trainer.quantisation.stepsearch.quantise_networks` has seen.
    target : Target
    seed : int
        Seed of the random signs with which second derivatives are estimated.
    before : float, optional
        Loss of the whole picture now, if it is known.

    Returns
    -------
    float
        Loss of the whole picture, with the bits of the networks; never above what it was.
    """
    before = whole_loss(model, target) if before is None else before
    state = model.get_param()
    orders = {module: dict(of_kind) for module, of_kind in model.nn_expgol_cnt.items()}
    losses = HalfLosses(model, target, _N_SAMPLES)
    price = target.rate_weight()
    n_pixels = target.n_pixels // _PERIOD

    contexts = RateSample(model, int(np.clip(n_pixels, *_N_SYMBOLS)))
    networks = ["arm"] if model.ifce is None else ["arm", "ifce"]
    curvature = price * rate_curvature(model, contexts)
    _optimise(_Integers(model, networks), losses.half("ifce"), curvature, price)

    with torch.no_grad():
        dense = losses.picture.dense()
    n_pixels = int(np.clip(n_pixels, *_N_PIXELS))
    generator = torch.Generator().manual_seed(seed)
    curvature = synthesis_curvature(model, dense, n_pixels, generator, target.gains)
    _optimise(_Integers(model, ["synthesis"]), losses.half("synthesis"), curvature, price)

    after = whole_loss(model, target)
    if after < before:
        return after
    model.set_param(state)
    model.nn_expgol_cnt = orders
    return before


class _Integers:
    """Trained parameters of some modules, as one vector of integers."""

    def __init__(self, model: CoolChicEncoder, modules: Sequence[str]) -> None:
        self.model = model
        self.groups = [_Group(model, module, kind) for module in modules for kind in KINDS]
        self.tensors = [p for group in self.groups for p in group.trained]
        self.steps = self._per_integer([group.step for group in self.groups])

    def _per_integer(self, values: Sequence[float]) -> F64:
        return np.repeat(np.array(values, np.float64), [group.size for group in self.groups])

    def read(self) -> I64:
        """Present integers."""
        flat = [p.detach().numpy().ravel() for p in self.tensors]
        return np.rint(np.concatenate(flat) / self.steps).astype(np.int64)

    def write(self, integers: I64) -> None:
        """Set all parameters."""
        values = torch.from_numpy((integers * self.steps).astype(np.float32))
        parts = torch.split(values, [p.numel() for p in self.tensors])
        with torch.no_grad():
            for p, part in zip(self.tensors, parts, strict=True):
                p.copy_(part.view_as(p))

    def choose_orders(self, integers: I64) -> tuple[I64, int]:
        """Order of every group with the fewest bits, and the sum of all bits."""
        ends = np.cumsum([group.size for group in self.groups])[:-1]
        found = [
            best_order(np.concatenate([group.others, part]))
            for group, part in zip(self.groups, np.split(integers, ends), strict=True)
        ]
        return np.array([order for order, _ in found]), sum(bits for _, bits in found)

    def order_of_each(self, orders: I64) -> I64:
        """Order of the group that an integer belongs to, for all integers."""
        return np.repeat(orders, [group.size for group in self.groups])

    def set_orders(self, orders: I64) -> None:
        """Tell the model the orders of its groups."""
        for group, order in zip(self.groups, orders.tolist(), strict=True):
            self.model.nn_expgol_cnt[group.module][group.kind] = order

    def slope(self, half: Callable[[bool], Tensor]) -> F64:
        """Derivatives of a half of the loss by all integers."""
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                half(False), self.tensors, allow_unused=True, materialize_grads=True
            )
        flat = np.concatenate([gradient.numpy().ravel() for gradient in gradients])
        return flat.astype(np.float64) * self.steps


class _Group:
    """Weights or biases of one module, which have a step and an order in common.

    Attributes
    ----------
    trained : list of Parameter
    others : int64[n]
        Integers that are not trained, but written.
    """

    def __init__(self, model: CoolChicEncoder, module: str, kind: str) -> None:
        self.module, self.kind = module, kind
        self.step: float = model.nn_q_step[module][kind]
        parameters = model.network_parameters(module, kind)  # type: ignore[arg-type]
        self.trained = [p for p in parameters if p.requires_grad]
        self.size = sum(p.numel() for p in self.trained)
        fixed = [p.numpy().ravel() / self.step for p in parameters if not p.requires_grad]
        self.others: I64 = np.rint(np.concatenate([np.zeros(0), *fixed])).astype(np.int64)


class _Point(NamedTuple):
    """Integers, the orders of their groups, and the half of the loss with their bits."""

    integers: I64
    orders: I64
    loss: float


def _optimise(
    network: _Integers, half: Callable[[bool], Tensor], curvature: Tensor, price: float
) -> None:
    """Make proposals and keep those that lower the loss."""
    steps = torch.from_numpy(network.steps.astype(np.float32))
    curved = (curvature * steps[:, None] * steps).numpy()
    diagonal = np.diag(curved).astype(np.float64)

    def judged(integers: I64) -> _Point:
        network.write(integers)
        orders, bits = network.choose_orders(integers)
        with torch.no_grad():
            return _Point(integers, orders, float(half(True)) + price * bits)

    best = judged(network.read())
    slope, damping = network.slope(half), _DAMPING
    for _ in range(_N_ROUNDS):
        integers, orders, left = best.integers.copy(), best.orders, slope.copy()
        for _ in range(_N_ORDERS):
            descend(
                integers, left, curved, damping * diagonal, network.order_of_each(orders), price
            )
            orders, _ = network.choose_orders(integers)
        found = judged(integers)
        if not found.loss < best.loss:
            damping *= _MORE
            continue
        is_done = best.loss - found.loss < _LEAST_GAIN * best.loss
        best = found
        if is_done:
            break
        slope, damping = network.slope(half), damping * _LESS
    network.write(best.integers)
    network.set_orders(best.orders)
