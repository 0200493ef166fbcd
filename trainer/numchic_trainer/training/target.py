# SPDX-License-Identifier: BSD-3-Clause
"""What the picture should become, and how far from it an output is (training, sections 3.4, 4)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from numchic.picture import Picture, Samples
from numchic_trainer.model.inter import FrameModel
from numchic_trainer.training.distortion import Measure, Planes, SquaredError

Value = TypeVar("Value", float, Tensor)

_SQUARED_ERROR = SquaredError()


class Evaluation(NamedTuple):
    """A model or a stream judged with rounded latents and samples.

    Attributes
    ----------
    loss : float
        distortion + lambda * bpp.
    distortion : float
    mse : float
        Mean squared error without weights, in [0, 1] units.
    bpp : float
    measure : str
        Name of what the distortion is measured by.
    """

    loss: float
    distortion: float
    mse: float
    bpp: float
    measure: str


def planes_of(picture: Picture, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Planes:
    """Planes of a picture as distortions take them."""

    def plane_of(samples: Samples) -> Tensor:
        plane = torch.empty(samples.shape, dtype=dtype)
        array = plane.numpy()
        np.divide(samples, (1 << picture.bitdepth) - 1, out=array, dtype=array.dtype)
        return plane.to(device)

    y, u, v = map(plane_of, picture.planes)
    return y, u, v


@dataclass(frozen=True, eq=False)
class Target:
    """A picture to overfit and the price of bits.

    Parameters
    ----------
    planes : tuple of three Tensors of shape (H, W)
        In [0, 1]; chroma of 4:2:0 is (H // 2, W // 2).
    lmbda : float
    maximum : int
        Largest sample, for rounding in evaluations.
    measure : Measure
        How far from the planes an output is.
    """

    planes: Planes
    lmbda: float
    maximum: int = 255
    measure: Measure = field(default_factory=SquaredError)

    @classmethod
    def of_picture(cls, picture: Picture, lmbda: float, device: str = "cpu") -> Target:
        """Target with the samples of a picture and mean squared error."""
        return cls(planes_of(picture, device), lmbda, (1 << picture.bitdepth) - 1)

    @property
    def gains(self) -> Tensor | None:
        """Square roots of what squared changes of every output of the networks add to the error.

        None if the outputs are the picture.
        """
        return None

    @property
    def has_windows(self) -> bool:
        """Whether the distortion is a mean over the picture; else :meth:`window` means nothing."""
        return isinstance(self.measure, SquaredError)

    @property
    def n_pixels(self) -> int:
        """Number of luma samples."""
        return self.planes[0].numel()

    def plain(self) -> Target:
        """Return the same target with squared error as its distortion, weighted if it was."""
        if isinstance(self.measure, SquaredError):
            return self
        return dataclasses.replace(self, measure=_SQUARED_ERROR)

    def to(self, device: str) -> Self:
        """Return the same target on a device; its distortion has nothing on one."""
        y, u, v = (plane.to(device) for plane in self.planes)
        return dataclasses.replace(self, planes=(y, u, v))

    def at(self, lmbda: float) -> Target:
        """Return the same target with another price of bits."""
        return dataclasses.replace(self, lmbda=lmbda)

    def window(self, rows: slice, columns: slice) -> Self:
        """Return the same target for a window of the picture.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop, which are even in 4:2:0 (the end of a picture may be odd).
        """

        def cut(plane: Tensor) -> Tensor:
            part = 1 if plane.shape == self.planes[0].shape else 2
            inside = plane[rows.start // part : rows.stop // part]
            return inside[:, columns.start // part : columns.stop // part]

        y, u, v = map(cut, self.planes)
        measure = self.measure.window(rows, columns)
        return dataclasses.replace(self, planes=(y, u, v), measure=measure)

    def rate_weight(self) -> float:
        """Weight of one bit in the loss."""
        return self.lmbda / self.n_pixels

    def loss(self, distortion: Value, bits: Any) -> Value:
        """Put the loss together: the distortion and the price of the bits.

        Here it is for training, evaluation and what is said of a stream; quantisation works with
        one half of it at a time (:class:`numchic_trainer.quantisation.stepsearch.HalfLosses`).
        """
        loss: Value = distortion + self.rate_weight() * bits
        return loss

    def decoded(self, raw: Tensor, *, rounded: bool) -> Planes:
        """Planes of an output (1, 3, H, W) that is not clamped yet, rounded to samples or not.

        The decoder rounds chroma of 4:2:0 twice, before and after its means, and clamps the means
        (coolchic-5, section 12.3).
        """
        y, u, v = self._rounded(raw[0]) if rounded else raw[0]
        shape = self.planes[1].shape
        if not shape.numel():
            u, v = u.new_zeros(shape), v.new_zeros(shape)
        elif shape != y.shape:
            u, v = F.avg_pool2d(torch.stack((u, v)), 2)
        planes = (torch.clamp(plane, 0.0, 1.0) for plane in (y, u, v))
        y, u, v = (self._rounded(plane) if rounded else plane for plane in planes)
        return y, u, v

    def _rounded(self, samples: Tensor) -> Tensor:
        return torch.round(samples * self.maximum) / self.maximum

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Distortion of an output that is not clamped yet, rounded to samples or not."""
        return self.measure(self.decoded(raw, rounded=rounded), self.planes)

    def evaluation(self, distortion: float, mse: float, bits: float) -> Evaluation:
        """Put together what was found of a model or a stream."""
        loss = self.loss(distortion, bits)
        return Evaluation(loss, distortion, mse, bits / self.n_pixels, self.measure.name)

    def judge(self, raw: Tensor, bits: float) -> Evaluation:
        """Judge an output that is not clamped yet and the bits that it takes."""
        planes = self.decoded(raw, rounded=True)
        distortion = float(self.measure(planes, self.planes))
        return self.evaluation(distortion, float(_SQUARED_ERROR(planes, self.planes)), bits)

    def evaluate(self, model: FrameModel, network_bits: int = 0) -> Evaluation:
        """Judge a model; the bits of its networks count if they are given."""
        raw, bits = model.evaluate()
        with torch.no_grad():
            return self.judge(raw, bits + network_bits)
