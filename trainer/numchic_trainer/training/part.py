# SPDX-License-Identifier: BSD-3-Clause
"""What one model of a P or B frame should become, the other one being fixed (video-training, 11).

To a model such a target is what that of a still picture is to the model of this. What the fixed
model gives is computed once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.prediction import NOTHING, PredictionSweep
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


@dataclass(frozen=True, eq=False)
class PartTarget(Target):
    """Base of the targets of both models.

    Parameters
    ----------
    other_bits : float
        What the other model takes.
    """

    other_bits: float = 0.0

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Distortion of the frame with an output (1, C, h, w) of the model."""
        if rounded:
            return raw.new_tensor(self._evaluate(as_array(raw[0])))
        found: Tensor = _Distortion.apply(raw, self._differentiate)  # type: ignore[no-untyped-call]
        return found

    def judge(self, raw: Tensor, bits: float) -> Evaluation:
        """Judge the frame with an output of the model and the bits that this takes."""
        mse = self._evaluate(as_array(raw[0]))
        return self.evaluation(mse, mse, bits + self.other_bits)

    @cached_property
    def _shares(self) -> list[float]:
        """Share of every plane in all samples."""
        sizes = [plane.numel() for plane in self.planes]
        return [size / sum(sizes) for size in sizes]

    def _square(self, signal: F32) -> float:
        """What a change of the frame, float32[3, H, W], adds to the error."""
        if not signal.size:
            return 0.0
        squares = [float(np.mean(plane**2, dtype=np.float64)) for plane in signal]
        return float(np.dot(squares, self._shares))

    def _evaluate(self, raw: F32) -> float:
        raise NotImplementedError

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ResidueTarget(PartTarget):
    """What the residue should become.

    Parameters
    ----------
    warped : tuple of float32[3, H, W]
        References along the motion.
    """

    warped: tuple[F32, ...] = ()

    @property
    def gains(self) -> Tensor:
        """See :attr:`Target.gains`."""
        gains = [*self._shares, np.mean([self._square(plane) for plane in self.warped])]
        if len(self.warped) == 2:
            gains.append(self._square(self.warped[0] - self.warped[1]))
        return torch.tensor(gains, dtype=torch.float32).sqrt()

    def window(self, rows: slice, columns: slice) -> ResidueTarget:
        """Return the same target for a window of the picture; see :meth:`Target.window`."""
        warped = tuple(np.ascontiguousarray(plane[:, rows, columns]) for plane in self.warped)
        return dataclasses.replace(super().window(rows, columns), warped=warped)

    @cached_property
    def _sweep(self) -> PredictionSweep:
        y, u, v = (np.ascontiguousarray(plane.numpy()) for plane in self.planes)
        return PredictionSweep((y, u, v), self.maximum, Workers())

    def _evaluate(self, raw: F32) -> float:
        return self._sweep.evaluate(raw, self.warped)

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        unwanted = [NOTHING] * len(self.warped)
        return self._sweep.differentiate(raw, self.warped, d_raw, unwanted)


@dataclass(frozen=True, eq=False, kw_only=True)
class MotionTarget(PartTarget):
    """What the motion should become.

    Parameters
    ----------
    residue : float32[3 + n, H, W]
        Output of the residue.
    comparison : InterComparison
    references : sequence of float32[H, W, 4]
    """

    residue: F32
    comparison: InterComparison
    references: Sequence[F32]

    @property
    def has_windows(self) -> bool:
        """False: vectors look beyond every window."""
        return False

    @property
    def gains(self) -> Tensor:
        """See :attr:`Target.gains`."""
        squares = [
            self._square(np.diff(reference[..., :3], axis=axis).transpose(2, 0, 1))
            for reference in self.references
            for axis in (1, 0)
        ]
        return torch.tensor(squares, dtype=torch.float32).sqrt() / len(self.references)

    def _evaluate(self, raw: F32) -> float:
        mse, _ = self.comparison.evaluate([self.residue, raw])
        return mse

    def _differentiate(self, raw: F32, d_raw: F32) -> float:
        return self.comparison.differentiate([self.residue, raw], [NOTHING, d_raw])


def motion_target(model: InterEncoder, target: Target, comparison: InterComparison) -> MotionTarget:
    """Target of the motion of a frame, whose residue is as it is now."""
    residue, bits = model.residue.evaluate()
    return MotionTarget(
        **_common(target, model.residue, bits),
        residue=as_array(residue[0]).copy(),
        comparison=comparison,
        references=model.references,
    )


def residue_target(
    model: InterEncoder, target: Target, comparison: InterComparison
) -> ResidueTarget:
    """Target of the residue of a frame, whose motion is as it is now."""
    motion, bits = model.motion.evaluate()
    warped = tuple(plane.copy() for plane in comparison.warp(as_array(motion[0])))
    return ResidueTarget(**_common(target, model.motion, bits), warped=warped)


def _common(target: Target, other: CoolChicEncoder, bits: float) -> dict[str, Any]:
    fields = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}
    return fields | {"other_bits": bits + other.get_network_rate()[1]}
