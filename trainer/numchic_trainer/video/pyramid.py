# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of half the size, and again (video-training, sections 7.3 and 9.1). Float."""

from __future__ import annotations

from scipy.ndimage import gaussian_filter

from numchic_bitstream.arrays import F32


def halved(picture: F32) -> F32:
    """Every other sample of a blurred picture, float32[ceil(H / 2), ceil(W / 2)]."""
    blurred: F32 = gaussian_filter(picture, 1.0, mode="nearest")
    return blurred[::2, ::2].copy()
