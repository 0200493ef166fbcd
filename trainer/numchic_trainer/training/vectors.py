# SPDX-License-Identifier: BSD-3-Clause
"""A field of vectors for a motion model to start with (video-training, section 8).

What an error of a vector costs follows from the frame: to second order, the squared error of the
prediction is a quadratic form in it, with the products of the frame's slopes. So vectors are free
where nothing is to be seen, and bits have the price that they have in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from numchic_trainer.training.target import Evaluation, Target


@dataclass(frozen=True, eq=False)
class VectorTarget(Target):
    """Vectors that a motion model should give.

    Parameters
    ----------
    planes : tuple of Tensors, shape (h, w)
        Horizontal and vertical components for every reference, in pixels.
    lmbda : float
        Price of bits.
    costs : Tensor, shape (3, h, w)
        Of an error (x, y): c[0] x^2 + 2 c[1] x y + c[2] y^2, for a single reference.
    n_pixels_of_frame : int
        The rate is per pixel of the frame, which has more pixels than vectors.
    """

    planes: tuple[Tensor, ...]  # type: ignore[assignment]
    costs: Tensor = field(default_factory=lambda: torch.tensor([1.0, 0.0, 1.0])[:, None, None])
    n_pixels_of_frame: int = 1

    @property
    def n_pixels(self) -> int:
        """Number of pixels of the frame."""
        return self.n_pixels_of_frame

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:  # noqa: ARG002
        """Mean cost of the errors of an output, shape (1, C, h, w)."""
        errors = raw[0] - torch.stack(self.planes).to(raw)
        x, y = errors[::2], errors[1::2]
        c = self.costs.to(raw)
        # Of two references each makes half of the prediction.
        return (c[0] * x * x + 2.0 * c[1] * x * y + c[2] * y * y).mean() / len(x)

    def judge(self, raw: Tensor, bits: float) -> Evaluation:
        """Judge an output and the bits that it takes."""
        distortion = float(self.distortion(raw, rounded=True))
        return self.evaluation(distortion, distortion, bits)
