# SPDX-License-Identifier: BSD-3-Clause
"""Pictures in the forms that streams can have, for the scripts that train vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic.picture import Picture
from numchic_bitstream import Metadata

F64 = NDArray[np.float64]


def in_form(rgb: F64, data_type: Any, bitdepth: int, metadata: Metadata | None = None) -> Picture:
    """Picture in one of the forms; YUV is BT.601 of full range.

    Parameters
    ----------
    rgb : float64[H, W, 3]
        In 0 .. 1.
    data_type : {"rgb", "yuv420", "yuv444"}
    bitdepth : int
        8 .. 16.
    metadata : Metadata, optional
    """
    maximum = (1 << bitdepth) - 1
    red, green, blue = np.moveaxis(rgb, 2, 0)
    planes = [red, green, blue]
    if data_type != "rgb":
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        planes = [luma, 0.5 + (blue - luma) / 1.772, 0.5 + (red - luma) / 1.402]
    if data_type == "yuv420":
        planes[1:] = [_halved(plane) for plane in planes[1:]]
    kind = np.uint8 if bitdepth == 8 else np.uint16
    first, second, third = (np.rint(np.clip(c, 0, 1) * maximum).astype(kind) for c in planes)
    return Picture((first, second, third), data_type, bitdepth, metadata)


def _halved(plane: F64) -> F64:
    """Means of blocks of 2 x 2; an odd last row or column is dropped."""
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    means: F64 = plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
    return means
