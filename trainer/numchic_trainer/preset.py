# SPDX-License-Identifier: BSD-3-Clause
"""Choice of the preset: larger networks predict better and cost more bits themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic.picture import Picture
from numchic_trainer.config import Preset, TrainConfig


class _Trait(NamedTuple):
    """Loss without the bits of the networks relative to lop's, and the bytes of the networks.

    Measured on crops of 192 x 128 and 256 x 256 after 1000 iterations.
    """

    preset: Preset
    relative_loss: float
    network_bytes: int


# vhop has half as many multiplications again as hop, and was not found better at usual sizes.
_TRAITS = (_Trait("lop", 1.0, 470), _Trait("mop", 0.93, 750), _Trait("hop", 0.84, 1300))

_FEWEST_FOR_LARGE = 200  # iterations

# Loss of lop at lambda 1e-3 divided by the mean absolute difference of neighbours, and its growth.
_LOSS_PER_DETAIL = 0.031
_LOSS_EXPONENT = 0.6


def choose_preset(picture: Picture, config: TrainConfig) -> Preset:
    """Preset of the settings, or for "auto" the one with the lowest loss to be expected.

    The loss is estimated from the detail in the picture, from lambda and from the share that the
    networks have of a picture of this size. Large networks need more than a few iterations.
    """
    if config.preset != "auto":
        return config.preset
    if config.iterations < _FEWEST_FOR_LARGE:
        return "lop"
    loss = _LOSS_PER_DETAIL * _detail(picture) * (config.lmbda / 1e-3) ** _LOSS_EXPONENT
    price = 8 * config.lmbda / (picture.height * picture.width)
    best = min(_TRAITS, key=lambda t: t.relative_loss * loss + price * t.network_bytes)
    return best.preset


def _detail(picture: Picture) -> float:
    """Mean absolute difference of neighbours in the first plane, in [0, 1] units."""
    plane = picture.planes[0].astype(np.float64) / ((1 << picture.bitdepth) - 1)
    differences = [np.abs(np.diff(plane, axis=axis)) for axis in (0, 1)]
    return float(np.mean([d.mean() for d in differences if d.size] or [0.0]))
