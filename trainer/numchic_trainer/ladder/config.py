# SPDX-License-Identifier: BSD-3-Clause
"""Settings of the training of a ladder, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from numchic_trainer.config import PRESETS, SEED, Preset
from numchic_trainer.settings import check_settings, choice, documented, number, setting, several


@documented
@dataclass(frozen=True, kw_only=True)
class LadderConfig:
    """Settings of the training of a ladder; each is checked when they are made."""

    presets: tuple[Preset, ...] = setting(
        tuple(PRESETS),
        several(choice(*PRESETS), None, "NAME,...", ","),
        "Decoder networks of these presets are trained: the first one's together with the ladder; "
        "in the last fifth of the time the other ones' are fitted to its latents, taking turns.",
    )
    minutes: float = setting(
        60.0,
        number(float, 1e-6, 1e7),
        "The training takes this time, first networks included, interruptions not counted.",
    )
    steps: int | None = setting(
        None,
        number(int, 1, 1_000_000_000),
        "The training takes a number of steps instead of a time; it can then be reproduced.",
        words={"none": None},
    )
    kappa: float = setting(
        0.1,
        number(float, 0, 1e6),
        "The KL divergence has this weight beside the rate of the decoder.",
    )
    seed: int = setting(0, SEED, "Parameters, crops and noise follow from the seed.")

    def __post_init__(self) -> None:
        check_settings(self)
