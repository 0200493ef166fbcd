# SPDX-License-Identifier: BSD-3-Clause
"""The model of a P or B frame: residue and motion, trained together (video-training, 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from numchic_bitstream.arrays import F32
from numchic_trainer.model.encoder import (
    CoolChicEncoder,
    CoolChicEncoderOutput,
    CoolChicEncoderParameter,
)
from numchic_trainer.model.module import ParameterModule
from numchic_trainer.model.synthesis import SynthesisConv2d
from numchic_trainer.model.warp import combine, warp

ALPHA_AT_START = 0.95
"""Share of the prediction that training starts with: 1 would be the edge of a clamp."""


class MotionEncoder(CoolChicEncoder):
    """Latents and networks of the motion, whose output keeps the size of the finest latent.

    The final resize repeats every vector for a block of pixels, which the warp does itself.
    """

    def _resize(self, raw: Tensor) -> Tensor:
        return raw


class InterEncoder(ParameterModule):
    """Latents and networks of a P or B frame, with the interface of the model of a picture.

    Parameters
    ----------
    residue, motion : CoolChicEncoderParameter
        Architectures: n + 3 outputs and 2 n outputs, for n references.
    references : sequence of float32[H, W, 4]
        Decoded pictures, seen along their global flows
        (:func:`numchic.references.shifted_reference`).
    warp_size : int
        Taps of the warp.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.

    Attributes
    ----------
    residue : CoolChicEncoder
    motion : MotionEncoder
    parts : tuple of both
    """

    def __init__(
        self,
        residue: CoolChicEncoderParameter,
        motion: CoolChicEncoderParameter,
        references: Sequence[F32],
        warp_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.residue = CoolChicEncoder(residue, generator)
        self.motion = MotionEncoder(motion, generator)
        self.references = tuple(references)
        self.warp_size = warp_size
        self._planes: list[Tensor] = []
        set_alpha(self, ALPHA_AT_START)

    @property
    def parts(self) -> tuple[CoolChicEncoder, ...]:
        """Residue, motion."""
        return self.residue, self.motion

    @property
    def latent_grids(self) -> list[nn.Parameter]:
        """Latents of the residue, then of the motion."""
        return [grid for part in self.parts for grid in part.latent_grids]

    def reinitialize_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew; the output is then nearly the shifted reference itself."""
        for part in self.parts:
            part.reinitialize_parameters(generator)
        set_alpha(self, ALPHA_AT_START)

    def forward(self, **arguments: Any) -> CoolChicEncoderOutput:
        """Signal of the frame and rate of all latents; arguments as for a still picture."""
        outputs = [part(**arguments) for part in self.parts]
        raw = self.join(*(output["raw_out"] for output in outputs))
        rate = outputs[0]["rate"] + outputs[1]["rate"]
        return {"raw_out": raw, "rate": rate, "additional_data": {}}

    def join(self, residue: Tensor, motion: Tensor) -> Tensor:
        """Signal of the frame (coolchic-5, 13.2) in plain torch.

        Parameters
        ----------
        residue : Tensor, shape (1, 3 + n, H, W)
        motion : Tensor, shape (1, 2 n, h, w)

        Returns
        -------
        Tensor, shape (1, 3, H, W)
            Not clamped.
        """
        vectors = nn.functional.interpolate(motion, list(residue.shape[-2:]), mode="nearest")[0]
        warped = [
            warp(reference, vectors[2 * i : 2 * i + 2], self.warp_size)
            for i, reference in enumerate(self._planes_like(residue))
        ]
        return combine(residue[0], warped)[None]

    def _planes_like(self, residue: Tensor) -> list[Tensor]:
        """References as float[3, H, W] where and as another tensor is."""
        if not self._planes or self._planes[0].device != residue.device:
            self._planes = [
                torch.from_numpy(reference)[..., :3].permute(2, 0, 1).to(residue)
                for reference in self.references
            ]
        return [planes.to(residue) for planes in self._planes]

    def evaluate(self) -> tuple[Tensor, float]:
        """Signal and bits with rounded latents, without gradient."""
        with torch.no_grad():
            (residue, bits), (motion, motion_bits) = (part.evaluate() for part in self.parts)
            return self.join(residue, motion), bits + motion_bits

    def forget_quantisation(self) -> None:
        """Forget steps and orders, as if there had been no quantisation."""
        for part in self.parts:
            part.forget_quantisation()

    def network_parameters(
        self, module: str, kind: Literal["weight", "bias"]
    ) -> list[nn.Parameter]:
        """Parameters of one module of the residue, then of the motion."""
        return list(chain.from_iterable(p.network_parameters(module, kind) for p in self.parts))


def set_alpha(model: InterEncoder, alpha: float) -> None:
    """Set the share of the prediction where all latents are zero."""
    with torch.no_grad():
        cast("SynthesisConv2d", model.residue.synthesis.trunk[-1]).bias[3] = alpha - 0.5


FrameModel = CoolChicEncoder | InterEncoder
"""Models of one picture of a video; ``parts`` are the Cool-chic encoders that it has."""
