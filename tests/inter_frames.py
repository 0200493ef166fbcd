# SPDX-License-Identifier: BSD-3-Clause
"""Small P and B frames to train, and models in the middle of their training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from numchic import Picture
from numchic.references import shifted_reference
from numchic_bitstream.structure import FrameDataType
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.training.target import Target
from numchic_trainer.video.config import InterPreset
from numchic_trainer.video.models import inter_architecture

LAMBDA = 1e-3


def waves(
    t: float, size: tuple[int, int], data_type: FrameDataType = "yuv420", bitdepth: int = 8
) -> Picture:
    """Smooth waves seen t pixels to the right."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    x += t
    signals = [
        np.sin(x / 5) + np.cos(y / 4) + np.sin((x + y) / 3),
        np.sin(x / 7 + 1) + np.cos(y / 5) + np.cos((x - y) / 9),
        np.cos(x / 6) + np.sin(y / 6 + 2) + np.cos((x + y) / 8),
    ]
    maximum = (1 << bitdepth) - 1
    step = 2 if data_type == "yuv420" else 1
    planes = [
        np.rint((0.5 + signal[::n, ::n] / 8) * maximum).astype(
            np.uint8 if bitdepth == 8 else np.uint16
        )
        for signal, n in zip(signals, (1, step, step), strict=True)
    ]
    return Picture((planes[0], planes[1], planes[2]), data_type, bitdepth)


class InterCase(NamedTuple):
    """A P frame (one reference) or B frame (two of them) of waves."""

    preset: InterPreset = "lop"
    n_references: int = 1
    data_type: FrameDataType = "yuv420"
    size: tuple[int, int] = (40, 52)
    warp_size: int = 8
    bitdepth: int = 8

    def picture(self, t: float = 0.0) -> Picture:
        """The frame, or one that is t pixels away from it."""
        return waves(t, self.size, self.data_type, self.bitdepth)

    def references(self) -> tuple[Picture, ...]:
        """What the frame is predicted from."""
        return tuple(self.picture(t) for t in (-1.6, 2.3)[: self.n_references])

    def target(self) -> Target:
        """What training is to come near to."""
        return Target.of_picture(self.picture(), LAMBDA)

    def model(self) -> InterEncoder:
        """Model before its training."""
        residue, motion = inter_architecture(self.preset, self.n_references, self.size)
        references = [shifted_reference(reference, (0, 0)) for reference in self.references()]
        generator = torch.Generator().manual_seed(1)
        return InterEncoder(residue, motion, references, self.warp_size, generator)

    def trained(self) -> InterEncoder:
        """Model whose latents and networks are anything but zero; vectors are a few pixels."""
        model, generator = self.model(), torch.Generator().manual_seed(2)
        with torch.no_grad():
            for part, weight in zip(model.parts, (0.02, 0.3), strict=True):
                for p in part.parameters():
                    if p.requires_grad:
                        p.add_(torch.randn(p.shape, generator=generator), alpha=0.02)
                for layer in part.synthesis.trunk:
                    for p in layer.parameters():
                        p.add_(torch.randn(p.shape, generator=generator), alpha=weight)
                part.arm.output.bias[1] += 3.5  # scales for latents like these
                for grid in part.latent_grids:
                    grid.copy_(torch.randn(grid.shape, generator=generator) * 0.2)
        return model
