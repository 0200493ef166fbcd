# SPDX-License-Identifier: BSD-3-Clause
"""Choice of the preset."""

from __future__ import annotations

from typing import cast

from numchic.picture import Picture
from numchic_trainer.config import Preset, TrainConfig


def choose_preset(picture: Picture, config: TrainConfig) -> Preset:
    """Preset of the settings, or for "auto" the one that pays for its bits."""
    if config.preset != "auto":
        return config.preset
    n_pixels = picture.height * picture.width
    return cast("Preset", "lop" if n_pixels < 40_000 else "hop")
