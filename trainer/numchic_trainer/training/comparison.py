# SPDX-License-Identifier: BSD-3-Clause
"""From what the networks give to the distortion, and back (video-training, sections 5.4 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.error import SquaredErrorSweep
from numchic_trainer.kernels.prediction import PredictionSweep
from numchic_trainer.kernels.warp import WarpSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.inter import FrameModel, InterEncoder
from numchic_trainer.training.distortion import SquaredError
from numchic_trainer.training.target import Target
from numchic_trainer.training.vectors import VectorTarget


class Comparison(Protocol):
    """How far outputs are from a target; they are those of the layers of every synthesis."""

    def differentiate(self, raws: Sequence[F32], d_raws: Sequence[F32]) -> float:
        """Distortion before rounding; ``d_raws`` become its derivatives. Both float32[C, h, w]."""
        ...

    def evaluate(self, raws: Sequence[F32]) -> tuple[float, float]:
        """Distortion and mean squared error of rounded samples."""
        ...


def compare(model: FrameModel, target: Target, workers: Workers) -> Comparison:
    """How the outputs of a model are compared with a target."""
    if isinstance(model, InterEncoder):
        return InterComparison(model, target, workers)
    if isinstance(target, VectorTarget):
        return _Vectors(target)
    size = target.planes[0].shape
    is_whole = target.planes[1].shape == size and model.grids[0].shape == tuple(size)
    if isinstance(target.measure, SquaredError) and is_whole:
        return _SquaredErrors(model, target, workers)
    return _AnyDistortion(model, target)


class _SquaredErrors:
    """Squared error of a still picture whose planes have equal sizes."""

    def __init__(self, model: CoolChicEncoder, target: Target, workers: Workers) -> None:
        weights = cast("SquaredError", target.measure).weights
        y, u, v = (plane.numpy().reshape(-1) for plane in target.planes)
        transform = model.synthesis.output_transform
        self._sweep = SquaredErrorSweep(
            (y, u, v), None if weights is None else weights.numpy().reshape(-1),
            transform.weight.detach().numpy()[:, :, 0, 0], transform.bias.detach().numpy(),
            target.maximum, workers,
        )  # fmt: skip

    def differentiate(self, raws: Sequence[F32], d_raws: Sequence[F32]) -> float:
        return self._sweep.differentiate(_flat(raws[0]), _flat(d_raws[0]))

    def evaluate(self, raws: Sequence[F32]) -> tuple[float, float]:
        return self._sweep.evaluate(_flat(raws[0]))


class _AnyDistortion:
    """Any distortion of a still picture, differentiated by torch."""

    def __init__(self, model: CoolChicEncoder, target: Target) -> None:
        self._model, self._target = model, target

    def differentiate(self, raws: Sequence[F32], d_raws: Sequence[F32]) -> float:
        leaf = torch.from_numpy(raws[0])[None].requires_grad_()
        distortion = self._target.distortion(self._model.finish(leaf), rounded=False)
        distortion.backward()  # type: ignore[no-untyped-call]
        gradient = cast("Tensor", leaf.grad)
        d_raws[0][...] = gradient[0].numpy()
        return distortion.item()

    def evaluate(self, raws: Sequence[F32]) -> tuple[float, float]:
        with torch.no_grad():
            found = self._target.judge(self._model.finish(torch.from_numpy(raws[0])[None]), 0.0)
        return found.distortion, found.mse


class _Vectors:
    """Cost of the errors of a field of vectors."""

    def __init__(self, target: VectorTarget) -> None:
        self._wanted: F32 = torch.stack(target.planes).numpy()
        n_references, n_vectors = len(target.planes) // 2, target.planes[0].numel()
        scale = np.float32(1 / (n_references**2 * n_vectors))
        self._costs: F32 = np.multiply(target.costs.numpy(), scale, dtype=np.float32)

    def _slopes(self, raw: F32) -> tuple[F32, F32]:
        """Errors and half the derivatives of their cost by them."""
        errors = raw - self._wanted
        c, slopes = self._costs, np.empty_like(errors)
        slopes[::2] = c[0] * errors[::2] + c[1] * errors[1::2]
        slopes[1::2] = c[1] * errors[::2] + c[2] * errors[1::2]
        return errors, slopes

    def differentiate(self, raws: Sequence[F32], d_raws: Sequence[F32]) -> float:
        errors, slopes = self._slopes(raws[0])
        np.multiply(slopes, np.float32(2), out=d_raws[0])
        return self._cost(errors, slopes)

    def evaluate(self, raws: Sequence[F32]) -> tuple[float, float]:
        cost = self._cost(*self._slopes(raws[0]))
        return cost, cost

    def _cost(self, errors: F32, slopes: F32) -> float:
        return float(np.sum(errors * slopes, dtype=np.float64))


class InterComparison:
    """Squared error of a P or B frame (coolchic-5, sections 12 and 13).

    Parameters
    ----------
    model : InterEncoder
    target : Target
    workers : Workers
    """

    def __init__(self, model: InterEncoder, target: Target, workers: Workers) -> None:
        y, u, v = (plane.numpy() for plane in target.planes)
        field = model.motion.grids[0].shape
        self._warps = [
            WarpSweep(reference, model.warp_size, field, workers) for reference in model.references
        ]
        self._prediction = PredictionSweep((y, u, v), target.maximum, workers)
        self._d_warped = [np.empty((3, *y.shape), np.float32) for _ in self._warps]

    def warp(self, motion: F32) -> list[F32]:
        """References seen along a field of vectors: buffers that are used again."""
        pairs = zip(self._warps, _pairs(motion), strict=True)
        return [warp.warp(vectors) for warp, vectors in pairs]

    def differentiate(self, raws: Sequence[F32], d_raws: Sequence[F32]) -> float:
        """Squared error before rounding; NaN, like all derivatives, if a vector is not finite.

        Derivatives by the residue are not computed if ``NOTHING`` is given for them.
        """
        (residue, motion), (d_residue, d_motion) = raws, d_raws
        if not np.isfinite(motion).all():
            d_residue.fill(np.nan)
            d_motion.fill(np.nan)
            return np.nan
        d_warped = self._d_warped
        distortion = self._prediction.differentiate(residue, self.warp(motion), d_residue, d_warped)
        for warp, d_out, d_vectors in zip(self._warps, d_warped, _pairs(d_motion), strict=True):
            warp.differentiate(d_out, d_vectors)
        return distortion

    def evaluate(self, raws: Sequence[F32]) -> tuple[float, float]:
        """Squared error of rounded samples, twice."""
        residue, motion = raws
        if not np.isfinite(motion).all():
            return np.nan, np.nan
        mse = self._prediction.evaluate(residue, self.warp(motion))
        return mse, mse


def _pairs(motion: F32) -> list[F32]:
    """Views of the vectors of every reference."""
    return [motion[i : i + 2] for i in range(0, len(motion), 2)]


def _flat(planes: F32) -> F32:
    return planes.reshape(len(planes), -1)
