# SPDX-License-Identifier: BSD-3-Clause
"""Small pictures drawn from formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic import Picture
from numchic_bitstream.structure import FrameDataType


def picture(height: int, width: int, maximum: int = 255) -> NDArray[Any]:
    """Two ramps and a fine pattern."""
    y, x = np.mgrid[:height, :width]
    channels = [x / max(width - 1, 1), y / max(height - 1, 1), (x + y) % 7 / 7]
    dtype = np.uint8 if maximum == 255 else np.uint16
    samples: NDArray[Any] = np.rint(maximum * np.stack(channels, -1)).astype(dtype)
    return samples


def yuv_picture(height: int, width: int, data_type: FrameDataType, bitdepth: int = 8) -> Picture:
    """Planes of the same."""
    planes = np.moveaxis(picture(height, width, (1 << bitdepth) - 1), -1, 0)
    luma, first, second = planes
    if data_type == "yuv420":
        rows, columns = height // 2 * 2, width // 2 * 2
        first, second = (plane[:rows:2, :columns:2] for plane in (first, second))
    return Picture((luma, first, second), data_type, bitdepth)
