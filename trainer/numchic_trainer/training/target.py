# SPDX-License-Identifier: BSD-3-Clause
"""What the picture should become, and how far from it an output is (training, sections 3.4, 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from numchic.picture import Picture
from numchic_trainer.model.encoder import CoolChicEncoder

Value = TypeVar("Value", float, Tensor)


class Evaluation(NamedTuple):
    """A model or a stream judged with rounded latents and samples; ``mse`` is in [0, 1] units."""

    loss: float
    mse: float
    bpp: float


@dataclass(frozen=True, eq=False)
class Target:
    """A picture to overfit and the price of bits.

    Parameters
    ----------
    planes : tuple of Tensor, shapes (1, C, H, W) and (1, 2, H // 2, W // 2)
        In [0, 1]: all three channels; for 4:2:0 the luma plane (C = 1) and both chroma planes.
    lmbda : float
    maximum : int
        Largest sample, for rounding in evaluations.
    perceptual : callable, optional
        Distortion of a clamped output instead of its mean squared error.
    """

    planes: tuple[Tensor, ...]
    lmbda: float
    maximum: int = 255
    perceptual: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of_picture(cls, picture: Picture, lmbda: float, device: str = "cpu") -> Target:
        """Target with the samples of a picture and mean squared error."""
        maximum = (1 << picture.bitdepth) - 1
        planes = [
            torch.from_numpy(plane.astype(np.float32) / np.float32(maximum)).to(device)
            for plane in picture.planes
        ]
        if picture.data_type == "yuv420":
            return cls((planes[0][None, None], torch.stack(planes[1:])[None]), lmbda, maximum)
        return cls((torch.stack(planes)[None],), lmbda, maximum)

    @property
    def n_pixels(self) -> int:
        """Number of luma samples."""
        return self.planes[0].shape[-2] * self.planes[0].shape[-1]

    def plain(self) -> Target:
        """Return the same target with mean squared error as its distortion."""
        return dataclasses.replace(self, perceptual=None)

    def at(self, lmbda: float) -> Target:
        """Return the same target with another price of bits."""
        return dataclasses.replace(self, lmbda=lmbda)

    def window(self, rows: slice, columns: slice) -> Target:
        """Return the same target for a window of the picture, squared error only.

        Bounds are even for 4:2:0.
        """
        first = self.planes[0][..., rows, columns]
        halves = [
            plane[..., rows.start // 2 : rows.stop // 2, columns.start // 2 : columns.stop // 2]
            for plane in self.planes[1:]
        ]
        return dataclasses.replace(self, planes=(first, *halves))

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

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Distortion of an output that is not clamped yet, rounded to samples or not."""
        if self.perceptual is None:
            return self.squared_error(raw, rounded=rounded)
        return self.perceptual(self._samples(torch.clamp(raw, 0.0, 1.0), rounded))

    def squared_error(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Mean squared error over all samples of all planes."""
        output = torch.clamp(raw, 0.0, 1.0)
        if len(self.planes) == 1:
            return torch.mean((self._samples(output, rounded) - self.planes[0]) ** 2)
        luma, chroma = self.planes
        total = torch.sum((self._samples(output[:, :1], rounded) - luma) ** 2)
        if chroma.numel():
            pooled = F.avg_pool2d(output[:, 1:], 2)
            total = total + torch.sum((self._samples(pooled, rounded) - chroma) ** 2)
        return total / (luma.numel() + chroma.numel())

    def _samples(self, output: Tensor, rounded: bool) -> Tensor:
        return torch.round(output * self.maximum) / self.maximum if rounded else output

    def evaluate(self, model: CoolChicEncoder, network_bits: int = 0) -> Evaluation:
        """Judge a model; the bits of its networks count if they are given."""
        model.eval()
        with torch.no_grad():
            output = model()
            mse = self.squared_error(output["raw_out"], rounded=True)
            distortion = mse
            if self.perceptual is not None:
                distortion = self.distortion(output["raw_out"], rounded=True)
            bits = output["rate"] + network_bits
            loss = float(self.loss(distortion, bits))
        model.train()
        return Evaluation(loss, float(mse), float(bits) / self.n_pixels)
