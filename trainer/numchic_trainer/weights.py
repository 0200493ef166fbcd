# SPDX-License-Identifier: BSD-3-Clause
"""How much the squared error of every pixel counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_bitstream.arrays import F32, F64
from numchic_trainer.config import SPHERE
from numchic_trainer.pictures import read_picture
from numchic_trainer.settings import shown

_NAME = "weights"


def pixel_weights(weights: str | ArrayLike, picture: Picture) -> F32:
    """Weights of the pixels of a picture, with a mean of 1.

    Parameters
    ----------
    weights : str or array of shape (H, W)
        "sphere", a grey picture's path, or numbers of any kind.
    picture : Picture

    Returns
    -------
    array of float32, shape (H, W)

    Raises
    ------
    UsageError
        They are not those of such a picture: of another size, not grey, negative or not finite, or
        all of them are zero.
    OSError
        The file cannot be read.
    """
    size = (picture.height, picture.width)
    if isinstance(weights, str):
        values = _latitudes(size) if weights == SPHERE else _grey(Path(weights))
    else:
        values = _numbers(weights)
    if values.shape != size:
        found, allowed = (" x ".join(map(str, shape[::-1])) for shape in (values.shape, size))
        raise UsageError("the weights have another size", _NAME, None, found, allowed)
    largest = values.max()
    if not largest > 0.0:
        raise UsageError("all weights are zero", _NAME, None, 0, "a positive one")
    values = values / largest
    normalised: F32 = (values / values.mean()).astype(np.float32)
    return normalised


def _latitudes(size: tuple[int, int]) -> F64:
    """Area of a pixel on the sphere of which the picture is the equirectangular projection."""
    height = size[0]
    latitudes = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    return np.broadcast_to(np.cos(latitudes)[:, None], size)


def _grey(path: Path) -> F64:
    found = read_picture(path)
    first, *others = found.planes
    if found.data_type != "rgb" or any(not np.array_equal(first, plane) for plane in others):
        raise UsageError(
            "weights are a grey picture", _NAME, None, f"colours in {path.name}", "grey"
        )
    return first.astype(np.float64)


def _numbers(weights: ArrayLike) -> F64:
    allowed = "an array (H, W) of numbers, none of them negative"
    try:
        found = np.asarray(weights)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors of other devices
        raise UsageError("not weights", _NAME, None, shown(weights), allowed) from None
    if found.ndim != 2 or found.dtype.kind not in "biuf":
        kind = f"{found.dtype} of shape {found.shape}"
        raise UsageError("not weights", _NAME, None, kind, allowed)
    values = found.astype(np.float64)
    for wrong in (~np.isfinite(values), values < 0.0):
        if wrong.any():
            raise UsageError("not a weight", _NAME, None, float(values[wrong][0]), allowed)
    return values
