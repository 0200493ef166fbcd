# SPDX-License-Identifier: BSD-3-Clause
"""What all generations have: frames with a type, samples and a place; levels. Exact."""

from __future__ import annotations

from typing import Literal, NamedTuple

FrameType = Literal["I", "P", "B"]
FrameDataType = Literal["rgb", "yuv420", "yuv444"]


class CodedFrame(NamedTuple):
    """Place of one frame; lists of these are in coding order."""

    display_index: int
    frame_type: FrameType
    references: tuple[int, ...]


def level_size(img_size: tuple[int, int], level: int) -> tuple[int, int]:
    """(height, width) at down-sampling 2**level."""
    height, width = img_size
    return -(-height >> level), -(-width >> level)
