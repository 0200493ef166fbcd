# SPDX-License-Identifier: BSD-3-Clause
"""What one model of a P or B frame should become, the other one being fixed (video-training, 11).

A part target is to a model what a :class:`~numchic_trainer.training.target.Target` is to that of a
still picture. What the fixed model gives is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.prediction import PredictionSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import as_array
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.target import Evaluation, Target

Differentiate = Callable[[F32, F32], float]
"""Distortion of an output float32[C, h, w]; the second argument becomes its derivative."""


class _Distortion(torch.autograd.Function):
    """A distortion whose derivative is computed along with it."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, differentiate: Differentiate) -> Tensor:
        output = as_array(raw[0])
        derivative = np.empty_like(output)
        distortion = differentiate(output, derivative)
        ctx.save_for_backward(torch.from_numpy(derivative)[None])
        return raw.new_tensor(distortion)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (derivative,) = ctx.saved_tensors
        return derivative * gradients[0], None


class PartTarget:
    """Base of the targets of both models.

    Parameters
    ----------
    target : Target
        That of the frame, whose distortion is squared error.
    other_bits : float
        What the other model takes.
    """

    gains: Tensor
    """Square roots of what squared changes of every output add to the mean squared error."""

    def __init__(self, target: Target, other_bits: float) -> None:
        self.target, self._other_bits = target, other_bits
        self.measure, self.n_pixels = target.measure, target.n_pixels

    def rate_weight(self) -> float:
        """Weight of one bit in the loss."""
        return self.target.rate_weight()

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Distortion of the frame with an output (1, C, h, w) of the model."""
        if rounded:
            return raw.new_tensor(self._evaluate(as_array(raw[0].detach())))
        found: Tensor = _Distortion.apply(raw, self._differentiate)  # type: ignore[no-untyped-call]
        return found

    def evaluate(self, model: CoolChicEncoder, network_bits: int = 0) -> Evaluation:
        """Judge the frame with a model."""
        raw, bits = model.evaluate()
        mse = self._evaluate(as_array(raw[0]))
        return self.target.evaluation(mse, mse, bits + network_bits + self._other_bits)

    def _evaluate(self, raw: F32) -> float:
        raise NotImplementedError

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        raise NotImplementedError


class ResidueTarget(PartTarget):
    """What the residue should become.

    Parameters
    ----------
    target : Target
    warped : sequence of float32[3, H, W]
        References along the motion.
    other_bits : float
    """

    def __init__(self, target: Target, warped: Sequence[F32], other_bits: float = 0.0) -> None:
        super().__init__(target, other_bits)
        self._warped = warped
        self._sweep = _sweep_of(target)
        squares = [float(np.mean(reference**2)) for reference in warped]
        gains = [1 / 3, 1 / 3, 1 / 3, sum(squares) / len(squares)]
        if len(warped) == 2:
            gains.append(float(np.mean((warped[0] - warped[1]) ** 2)))
        self.gains = torch.tensor(gains).sqrt()

    def window(self, rows: slice, columns: slice) -> ResidueTarget:
        """Return the same target for a window of the picture; see :meth:`Target.window`."""
        warped = [np.ascontiguousarray(plane[:, rows, columns]) for plane in self._warped]
        return ResidueTarget(self.target.window(rows, columns), warped, self._other_bits)

    def _evaluate(self, raw: F32) -> float:
        return self._sweep.evaluate(raw, self._warped)

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        unused = [np.empty_like(reference) for reference in self._warped]
        return self._sweep.differentiate(raw, self._warped, d_raw, unused)


class MotionTarget(PartTarget):
    """What the motion should become.

    Parameters
    ----------
    target : Target
    residue : float32[3 or 4 + 1, H, W]
        Output of the residue.
    comparison : InterComparison
    references : sequence of float32[H, W, 4]
    other_bits : float
    """

    def __init__(
        self,
        target: Target,
        residue: F32,
        comparison: InterComparison,
        references: Sequence[F32],
        other_bits: float = 0.0,
    ) -> None:
        super().__init__(target, other_bits)
        self._residue, self._comparison = residue, comparison
        squares = []
        for reference in references:
            for axis in (1, 0):
                slopes = np.diff(reference[..., :3], axis=axis)
                squares.append(float(np.mean(slopes**2)) if slopes.size else 0.0)
        self.gains = torch.tensor(squares).sqrt() / len(references)

    def _evaluate(self, raw: F32) -> float:
        mse, _ = self._comparison.evaluate([self._residue, raw])
        return mse

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        unused = np.empty_like(self._residue)
        return self._comparison.differentiate([self._residue, raw], [unused, d_raw])


def part_targets(
    model: InterEncoder, target: Target, workers: Workers
) -> list[tuple[CoolChicEncoder, Callable[[], PartTarget]]]:
    """Models of a frame, each with what makes its target of how the other one is then."""
    comparison = InterComparison(model, target, workers)

    def bits_of(part: CoolChicEncoder, bits: float) -> float:
        return bits + part.get_network_rate()[1]

    def residue_target() -> PartTarget:
        motion, bits = model.motion.evaluate()
        warped = [reference.copy() for reference in comparison.warp(as_array(motion[0]))]
        return ResidueTarget(target, warped, bits_of(model.motion, bits))

    def motion_target() -> PartTarget:
        residue, bits = model.residue.evaluate()
        raw = as_array(residue[0]).copy()
        return MotionTarget(
            target, raw, comparison, model.references, bits_of(model.residue, bits)
        )

    return [(model.motion, motion_target), (model.residue, residue_target)]


def _sweep_of(target: Target) -> PredictionSweep:
    y, u, v = (np.ascontiguousarray(plane.numpy()) for plane in target.planes)
    return PredictionSweep((y, u, v), target.maximum, Workers())
