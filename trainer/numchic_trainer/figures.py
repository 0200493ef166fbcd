# SPDX-License-Identifier: BSD-3-Clause
"""What all figures have in common."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from numchic.picture import Picture
from numchic_bitstream.arrays import F64

_DPI = 110
_LARGEST = 1000  # rows or columns of what is drawn; no panel has so many dots


def png(figure: Figure) -> bytes:
    """Contents of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def block_side(shape: tuple[int, ...]) -> int:
    """Rows and columns of the blocks that figures show the means of; 1 for small pictures."""
    return -(-max(shape) // _LARGEST)


def block_means(rows: Callable[[slice], NDArray[Any]], shape: tuple[int, ...]) -> F64:
    """Means of square blocks, so that no side is larger than any panel.

    Parameters
    ----------
    rows : callable
        Gives some rows of what is to be shown, shape (n, w); the whole of it may be large.
    shape : (int, int)
        Size of the whole.
    """
    side, (height, width) = block_side(shape), shape
    starts = np.arange(0, width, side)
    columns = np.minimum(starts + side, width) - starts
    sums = [
        np.add.reduceat(rows(slice(y, min(y + side, height))).mean(0, dtype=np.float64), starts)
        for y in range(0, height, side)
    ]
    means: F64 = np.stack(sums) / columns
    return means


def reduced(picture: Picture) -> Picture:
    """Picture with the means of blocks for samples, rounded."""
    y, u, v = (
        block_means(plane.__getitem__, plane.shape).round().astype(plane.dtype)
        if plane.size
        else plane
        for plane in picture.planes
    )
    return Picture((y, u, v), picture.data_type, picture.bitdepth)


def to_rgb(picture: Picture) -> F64:
    """RGB in [0, 1]; YUV by BT.709, full range, chroma repeated."""
    maximum = (1 << picture.bitdepth) - 1
    if picture.data_type == "rgb":
        rgb: F64 = picture.to_rgb().astype(np.float64) / maximum
        return rgb
    height, width = picture.height, picture.width
    planes = []
    for plane in picture.planes:
        rows = np.minimum(np.arange(height) * plane.shape[0] // height, plane.shape[0] - 1)
        columns = np.minimum(np.arange(width) * plane.shape[1] // width, plane.shape[1] - 1)
        planes.append(plane[rows][:, columns] / maximum)
    y, u, v = planes[0], planes[1] - 0.5, planes[2] - 0.5
    stacked: F64 = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], -1)
    return np.clip(stacked, 0.0, 1.0)


def show(axes: Axes, image: F64, title: str, **options: Any) -> Any:
    """Draw an image without ticks."""
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(image, interpolation="nearest", **options)
