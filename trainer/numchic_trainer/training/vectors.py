# SPDX-License-Identifier: BSD-3-Clause
"""A field of vectors for a motion model to start with (video-training, section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numchic_trainer.training.target import Evaluation, Target


@dataclass(frozen=True, eq=False)
class VectorTarget(Target):
    """Vectors that a motion model should give; errors are relative to their range.

    Parameters
    ----------
    planes : tuple of Tensors, shape (h, w)
        Horizontal and vertical components for every reference, in pixels.
    lmbda : float
        Price of bits.
    n_pixels_of_frame : int
        The rate is per pixel of the frame, which has more pixels than vectors.
    """

    planes: tuple[Tensor, ...]  # type: ignore[assignment]
    n_pixels_of_frame: int = 1

    @property
    def n_pixels(self) -> int:
        """Number of pixels of the frame."""
        return self.n_pixels_of_frame

    @property
    def weight(self) -> float:
        """What a squared error in pixels counts: less if the vectors range over more than one."""
        vectors = torch.stack(self.planes)
        if float(vectors.abs().max()) <= 1.0:
            return 1.0
        # Equal vectors have no range: their errors count as those of small ones do.
        return max(float(vectors.max() - vectors.min()), 1.0) ** -2

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:  # noqa: ARG002
        """Weighted squared error of an output, shape (1, C, h, w)."""
        return ((raw[0] - torch.stack(self.planes).to(raw)) ** 2).mean() * self.weight

    def judge(self, raw: Tensor, bits: float) -> Evaluation:
        """Judge an output and the bits that it takes."""
        distortion = float(self.distortion(raw, rounded=True))
        return self.evaluation(distortion, distortion, bits)
