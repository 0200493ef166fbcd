# SPDX-License-Identifier: BSD-3-Clause
"""Models that grow out of linear ones give the same at first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numchic_trainer.model.inter import InterEncoder, set_alpha
from numchic_trainer.video.config import INTER_PRESETS, InterPreset
from numchic_trainer.video.growth import grow
from numchic_trainer.video.models import inter_architecture

SIZE = (24, 32)


def model(preset: InterPreset, seed: int) -> InterEncoder:
    generator = torch.Generator().manual_seed(seed)
    references = [np.zeros((*SIZE, 4), np.float32)] * 2
    return InterEncoder(*inter_architecture(preset, 2, SIZE), references, 8, generator)


def outputs(model: InterEncoder) -> list[torch.Tensor]:
    return [part.render(part.dense(part.quantised_latents())) for part in model.parts]


@torch.no_grad()
@pytest.mark.parametrize("preset", INTER_PRESETS[2:])
def test_a_larger_model_begins_where_a_linear_one_is(preset: InterPreset) -> None:
    linear = model("linear", 1)
    generator = torch.Generator().manual_seed(2)
    for part in linear.parts:
        part.eval()
        for parameter in part.synthesis.trunk.parameters():
            parameter.uniform_(-0.2, 0.2, generator=generator)
        for latent in part.latent_grids:
            latent.copy_(torch.randint(-3, 4, latent.shape, generator=generator))
    set_alpha(linear, 0.8)
    large = model(preset, 3)
    grow(large, linear)
    for ours, theirs in zip(outputs(large), outputs(linear), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
