# SPDX-License-Identifier: BSD-3-Clause
"""Scene cuts of a video (video-training, section 3.2). Float."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from scipy.ndimage import uniform_filter

from numchic_bitstream.arrays import F32
from numchic_trainer.video.flow import MAX_SEARCHED, bilinear_warp, block_matching_flow
from numchic_trainer.video.pyramid import halved

CUT_RATIO: Final = 0.8
_MEAN = 16  # side of the squares whose mean is what a frame could be told with otherwise
_FAINT = 8 / 255  # what deviates less may be noise, which no motion explains in any scene


def scene_cuts(frames: Iterable[F32]) -> list[int]:
    """Find the frames that begin a new scene.

    A frame does where motion from the frame before explains little: the mean absolute difference
    that block matching leaves is more than 0.8 of the mean absolute deviation of the frame from
    its local mean. This deviation counts as 8/255 at least, else every frame of a noisy wall would
    begin a scene.

    Parameters
    ----------
    frames : iterable of float32[H, W]
        Luma, [0, 1], in the order of display. Two of them are held at a time, and looked at in
        half the size, or a quarter and so on, if they are large.

    Returns
    -------
    list of int
        Positions in ``frames``, from 1 on.
    """
    cuts = []
    before: F32 | None = None
    for index, frame in enumerate(frames):
        small = frame
        while small.size > MAX_SEARCHED:
            small = halved(small)
        if before is not None and change(small, before) > CUT_RATIO:
            cuts.append(index)
        before = small
    return cuts


def change(frame: F32, before: F32) -> float:
    """Difference after block matching, over the deviation from the local mean."""
    matched = bilinear_warp(before, block_matching_flow(frame, before))
    deviation = np.abs(frame - uniform_filter(frame, _MEAN, mode="nearest")).mean()
    return float(np.abs(frame - matched).mean() / max(deviation, _FAINT))
