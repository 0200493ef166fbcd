# SPDX-License-Identifier: BSD-3-Clause
"""Architecture that the settings and the size of a picture ask for (training, section 2)."""

from __future__ import annotations

from numchic_trainer.config import PRESETS, Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.training.schedule import encoder_gain

_LOWEST_HYPER = 4


def highest_resolution(img_size: tuple[int, int]) -> int:
    """Coarsest latent by the automatic rule of section 2.2."""
    n_pixels = img_size[0] * img_size[1]
    if n_pixels < 1_000_000:
        return 6
    return 7 if n_pixels < 3_000_000 else 8


def architecture(
    config: TrainConfig, preset: Preset, img_size: tuple[int, int]
) -> CoolChicEncoderParameter:
    """Architecture for a still picture."""
    sizes = PRESETS[preset]
    layers = [f"{sizes.hidden_channels}-1-linear-relu", "3-1-linear-none"]
    layers += ["3-3-residual-relu"] * (sizes.n_spatial_layers - 1) + ["3-3-residual-none"]
    latent = config.latent_resolution or (0, highest_resolution(img_size))
    hyper = config.hyperlatent_resolution
    if hyper == "auto":
        hyper = (max(_LOWEST_HYPER, latent[0]), latent[1]) if latent[1] >= _LOWEST_HYPER else None
    noise = config.common_randomness
    return CoolChicEncoderParameter(
        layers_synthesis=layers,
        ifce_resolution=config.ifce_resolution,
        output_feature_ifce=sizes.ifce_features,
        spatial_context_arm=sizes.spatial_contexts,
        latent_resolution=latent,
        hyper_latent_resolution=hyper,
        flag_common_randomness=config.tune == "wasserstein" if noise is None else noise,
        img_size=img_size,
        encoder_gain=encoder_gain(config.lmbda),
        final_upsampling_type=config.final_upsampling_type,
    )
