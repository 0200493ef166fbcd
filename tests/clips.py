# SPDX-License-Identifier: BSD-3-Clause
"""Clips to look at motion in; they are in ``data/video`` beside the conformance vectors."""

from __future__ import annotations

import numpy as np
import pytest

from numchic_bitstream.arrays import F32
from vectors import shared_folder

CARPHONE = ("carphone_176x144_30p_yuv420_8b.yuv", 144, 176)
BUNNY = ("bunny_208x120_25p_yuv420_8b.yuv", 120, 208)


def luma(clip: tuple[str, int, int]) -> F32:
    """All frames of a clip, float32[n, H, W] in [0, 1]; a test without it is skipped."""
    name, height, width = clip
    shared = shared_folder()
    path = None if shared is None else shared / "data" / "video" / name
    if path is None or not path.is_file():
        pytest.skip(f"no clip {name}: set NUMCHIC_SHARED or put it into ../shared")
    frames = np.fromfile(path, np.uint8).reshape(-1, height * width * 3 // 2)
    samples = frames[:, : height * width].reshape(-1, height, width)
    return samples.astype(np.float32) / np.float32(255)
