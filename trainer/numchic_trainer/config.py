# SPDX-License-Identifier: BSD-3-Clause
"""Settings of one encode: frozen, with a reason for every number (training, sections 2 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.training.schedule import encoder_gain

Preset = Literal["lop", "mop", "hop", "vhop"]

# Spatial contexts, IFCE features, hidden channels, number of 3 x 3 layers (training, 2.1).
_PRESETS: dict[str, tuple[int, int, int, int]] = {
    "lop": (6, 2, 8, 1),
    "mop": (10, 4, 16, 2),
    "hop": (14, 6, 48, 2),
    "vhop": (20, 6, 64, 2),
}


def highest_resolution(img_size: tuple[int, int]) -> int:
    """Coarsest latent by the automatic rule of section 2.2."""
    n_pixels = img_size[0] * img_size[1]
    if n_pixels < 1_000_000:
        return 6
    return 7 if n_pixels < 3_000_000 else 8


def architecture(
    preset: Preset, img_size: tuple[int, int], lmbda: float, common_randomness: bool = False
) -> CoolChicEncoderParameter:
    """Architecture of a preset for a still picture."""
    contexts, features, hidden, n_spatial = _PRESETS[preset]
    layers = [f"{hidden}-1-linear-relu", "3-1-linear-none"]
    layers += ["3-3-residual-relu"] * (n_spatial - 1) + ["3-3-residual-none"]
    highest = highest_resolution(img_size)
    return CoolChicEncoderParameter(
        layers_synthesis=layers,
        output_feature_ifce=features,
        spatial_context_arm=contexts,
        latent_resolution=(0, highest),
        hyper_latent_resolution=(4, highest),
        flag_common_randomness=common_randomness,
        img_size=img_size,
        encoder_gain=encoder_gain(lmbda),
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one encode.

    Parameters
    ----------
    lmbda : float
        Weight of the rate in bits per pixel against the mean squared error in [0, 1] units.
    preset : {"lop", "mop", "hop", "vhop"}
    iterations : int
        All training iterations, those of every candidate of the warm-up included.
    seed : int
        Of parameters and noise; the same seed gives the same stream on one machine.
    learning_rate : float
        Of networks and latents at the start (1e-2 is near the best for both).
    latent_betas : (float, float)
        Of the latents in the main phase. 0.8 / 0.98 forget the large first gradients within a short
        run and lower the loss by 5 to 10 % at 300 iterations.
    n_candidates, n_finalists : int
        Random initialisations in the first and second stage of the warm-up.
    warm_up_share : float
        Iterations of one stage of one candidate, as a share of all.
    threads : int
        torch's threads; more than one pays only on idle cores and large pictures.
    """

    lmbda: float = 1e-3
    preset: Preset = "hop"
    iterations: int = 1000
    seed: int = 0
    learning_rate: float = 1e-2
    latent_betas: tuple[float, float] = (0.8, 0.98)
    n_candidates: int = 5
    n_finalists: int = 2
    warm_up_share: float = 1 / 40
    threads: int = 1
