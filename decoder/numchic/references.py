# SPDX-License-Identifier: BSD-3-Clause
"""Pictures that others are predicted from, as signals. Float.

The samples of a reference are divided by the largest one, in float32 (coolchic-5, 12.4 and 13.2;
coolchic-4.2, 13.5).
"""

from __future__ import annotations

import numpy as np

from numchic.picture import Picture
from numchic_bitstream.arrays import F32


def shifted_reference(picture: Picture, flow: tuple[int, int]) -> F32:
    """Reference as a 4:4:4 signal, seen along its global flow (12.4, 13.2).

    Parameters
    ----------
    picture : Picture
    flow : (horizontal, vertical)
        In samples.

    Returns
    -------
    float32[H, W, 4]
        The three channels of the picture and one of zeros.
    """
    height, width = picture.height, picture.width
    columns = np.clip(np.arange(width) + flow[0], 0, width - 1)
    rows = np.clip(np.arange(height) + flow[1], 0, height - 1)
    maximum = np.float32((1 << picture.bitdepth) - 1)
    signal = np.zeros((height, width, 4), np.float32)
    for channel, plane in enumerate(picture.planes):
        halved = int(plane.shape != (height, width))
        samples = plane[np.ix_(rows >> halved, columns >> halved)]
        np.divide(samples, maximum, out=signal[:, :, channel])
    return signal
