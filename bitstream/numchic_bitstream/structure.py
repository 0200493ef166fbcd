# SPDX-License-Identifier: BSD-3-Clause
"""What frames of all generations have: a type, a kind of samples, a place among the others."""

from __future__ import annotations

from typing import Literal, NamedTuple

FrameType = Literal["I", "P", "B"]
FrameDataType = Literal["rgb", "yuv420", "yuv444"]


class CodedFrame(NamedTuple):
    """Place of one frame; lists of these are in coding order."""

    display_index: int
    frame_type: FrameType
    references: tuple[int, ...]
