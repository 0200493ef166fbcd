# SPDX-License-Identifier: BSD-3-Clause
"""Crops of pictures side by side, at about equal size of the streams."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from numchic_bitstream import UsageError
from numchic_trainer.study.point import Point

_SIDE = 160  # pixels of the picture
_SHOWN = 320  # dots that they are enlarged to, if that is a whole factor
_STEP = 8  # a finer search shows nothing else

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """A picture of which a part is shown, as it was and as some streams give it.

    Attributes
    ----------
    picture : str
    source : array of uint8, shape (H, W, 3)
    decoded : list of (Point, array of uint8, shape (H, W, 3))
        They should be of about equal size.
    """

    picture: str
    source: RGB
    decoded: list[tuple[Point, RGB]]


def detailed_region(source: RGB, side: int = _SIDE) -> tuple[slice, slice]:
    """Rows and columns of the square with most detail; all of them if there are no more.

    Detail is the sum of the absolute differences of neighbours.
    """
    grey = source.mean(axis=2)
    detail = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1))
    inner = detail[1:, 1:]
    inner[1:] += np.abs(np.diff(grey, axis=0))
    inner[:, 1:] += np.abs(np.diff(grey, axis=1))
    sums = detail.cumsum(0).cumsum(1)
    height, width = min(side, grey.shape[0]), min(side, grey.shape[1])
    corners = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    corners = (corners + sums[:-height, :-width])[::_STEP, ::_STEP]
    y, x = np.unravel_index(int(np.argmax(corners)), corners.shape)
    top, left = int(y) * _STEP, int(x) * _STEP
    return slice(top, top + height), slice(left, left + width)


def crops(sample: Sample) -> list[bytes]:
    """PNG files of the same part of the source and of all decoded pictures.

    They are enlarged by a whole factor, every pixel as a square.
    """
    for point, decoded in sample.decoded:
        if decoded.shape != sample.source.shape:
            raise UsageError(
                f"{sample.picture}, decoded from {point.curve}, has another size",
                "sample", None, decoded.shape, sample.source.shape,
            )  # fmt: skip
    region = detailed_region(sample.source)
    return [_png(image[region]) for image in (sample.source, *(d for _, d in sample.decoded))]


def _png(image: RGB) -> bytes:
    factor = max(1, _SHOWN // max(image.shape))
    file = io.BytesIO()
    Image.fromarray(image.repeat(factor, 0).repeat(factor, 1)).save(file, "PNG", optimize=True)
    return file.getvalue()
