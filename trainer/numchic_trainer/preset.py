# SPDX-License-Identifier: BSD-3-Clause
"""Choice of the preset: larger networks predict better and cost more bits themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic.picture import Picture
from numchic_trainer.config import EFFORTS, Effort, Preset, TrainConfig


class _Trait(NamedTuple):
    """Loss without the bits of the networks relative to lop's, and the bytes of the networks.

    Measured on seven crops of 256 x 256 after iterations that took the same time.
    """

    preset: Preset
    relative_loss: float
    network_bytes: int


# Large networks take time to pay. vhop was not found better than hop at usual sizes.
_TRAITS: dict[Effort, tuple[_Trait, ...]] = {
    "fast": (_Trait("lop", 1.0, 470),),
    "medium": (_Trait("lop", 1.0, 470), _Trait("mop", 0.97, 750), _Trait("hop", 0.935, 1300)),
    "slow": (_Trait("lop", 1.0, 470), _Trait("mop", 0.96, 750), _Trait("hop", 0.90, 1300)),
}

# Loss of lop at lambda 1e-3 divided by the mean absolute difference of neighbours, and its growth.
_LOSS_PER_DETAIL = 0.031
_LOSS_EXPONENT = 0.6


def choose_preset(picture: Picture, config: TrainConfig) -> Preset:
    """Preset of the settings, or for "auto" the one with the lowest loss to be expected.

    The loss is estimated from the detail in the picture, from lambda and from the share that the
    networks have of a picture of this size.
    """
    if config.preset != "auto":
        return config.preset
    loss = _LOSS_PER_DETAIL * _detail(picture) * (config.lmbda / 1e-3) ** _LOSS_EXPONENT
    price = 8 * config.lmbda / (picture.height * picture.width)
    traits = _TRAITS.get(_effort(config), _TRAITS["slow"])
    best = min(traits, key=lambda t: t.relative_loss * loss + price * t.network_bytes)
    return best.preset


def _effort(config: TrainConfig) -> Effort:
    """Effort of the settings, or the largest that has no more iterations of hop than they say."""
    if config.iterations is None:
        return config.effort
    below: list[Effort] = [name for name, n in EFFORTS.items() if n <= config.iterations]
    return below[-1] if below else "fast"


def _detail(picture: Picture) -> float:
    """Mean absolute difference of neighbours in the first plane, in [0, 1] units."""
    plane = picture.planes[0].astype(np.float64) / ((1 << picture.bitdepth) - 1)
    differences = [np.abs(np.diff(plane, axis=axis)) for axis in (0, 1)]
    return float(np.mean([d.mean() for d in differences if d.size] or [0.0]))
