# SPDX-License-Identifier: BSD-3-Clause
"""What a user should know of a picture before it is encoded."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from numchic.picture import Picture
from numchic_trainer.config import SPHERE, TrainConfig


def remark(path: Path, picture: Picture, config: TrainConfig) -> None:
    """Say on standard error what the stream will not hold, and what is odd."""
    metadata = picture.metadata
    if metadata is not None and metadata.icc is not None and not config.metadata:
        _say(path, "the colour profile is left out; --metadata keeps it")
    first, *others = picture.planes
    if picture.data_type == "rgb" and all(np.array_equal(first, plane) for plane in others):
        _say(path, "the picture is grey; what is decoded may have a trace of colour")
    if config.weights == SPHERE and picture.width != 2 * picture.height:
        _say(path, "a whole sphere is twice as wide as high, which the picture is not")


def _say(path: Path, text: str) -> None:
    click.echo(f"numchic: {path.name}: {text}", err=True)
