# SPDX-License-Identifier: BSD-3-Clause
"""Differentiable estimate of the bits of the networks (training, section 14)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.model.inter import FrameModel

# Steps that the search usually finds.
_STEPS = {"arm": 2.0**-5, "ifce": 2.0**-4, "upsampling": 2.0**-6, "synthesis": 2.0**-7}


def network_bits(model: FrameModel) -> Tensor:
    """Bits of all trained weights, 2 log2(1 + |w| / step) each: the slope of an exp-Golomb code."""
    total = torch.zeros((), device=model.latent_grids[0].device)
    for module, step in _STEPS.items():
        weights = [
            p.flatten() for p in model.network_parameters(module, "weight") if p.requires_grad
        ]
        if weights:
            total = total + 2.0 * torch.log2(1.0 + torch.cat(weights).abs() / step).sum()
    return total


def steps_of(model: FrameModel, parameters: Sequence[Tensor]) -> F32:
    """Step of every element of parameters that follow each other; 0 for what is not a weight."""
    known = {
        id(p): step
        for module, step in _STEPS.items()
        for p in model.network_parameters(module, "weight")
    }
    return np.concatenate(
        [np.full(p.numel(), known.get(id(p), 0.0), np.float32) for p in parameters]
    )
