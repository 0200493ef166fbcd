# SPDX-License-Identifier: BSD-3-Clause
"""What the decoder's Pillow plugin saves pictures with."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from numchic.picture import Picture
from numchic_bitstream import UsageError


def encode_still(picture: Picture, settings: dict[str, Any]) -> bytes:
    """Encode a picture with an ``effort`` and settings of :class:`numchic_trainer.TrainConfig`.

    Raises
    ------
    UsageError
        There is no such setting, or a value is illegal.
    ModuleNotFoundError
        Torch is not installed.
    """
    from numchic_trainer import TrainConfig, encode

    known = {field.name for field in dataclasses.fields(TrainConfig)}
    unknown = sorted(settings.keys() - known)
    if unknown:
        names, allowed = ", ".join(unknown), ", ".join(sorted(known))
        raise UsageError("the encoder has no such setting", names, None, None, allowed)
    result = encode(picture, TrainConfig(**settings))
    if not result.goal_met:
        warnings.warn("the target was not reached", stacklevel=2)
    return result.stream
