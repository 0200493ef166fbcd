# SPDX-License-Identifier: BSD-3-Clause
"""From the synthesis output to samples: specification, sections 12.1 to 12.3, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]


def _plane(x: NDArray[np.float32], m: np.float32) -> IntArray:
    rounded: NDArray[np.float32] = np.rint(m * x)
    return np.clip(rounded, np.float32(0), m).astype(np.int32)


def _chroma(x: NDArray[np.float32], m: np.float32) -> IntArray:
    h, w = x.shape[0] // 2, x.shape[1] // 2
    r = (np.rint(m * x) / m)[: 2 * h, : 2 * w]
    s = ((r[0::2, 0::2] + r[0::2, 1::2]) + r[1::2, 0::2]) + r[1::2, 1::2]
    v: NDArray[np.float32] = np.clip(s / np.float32(4), np.float32(0), np.float32(1))
    rounded: NDArray[np.float32] = np.rint(v * m)
    return rounded.astype(np.int32)


def to_samples(x: Any, data_type: str, bitdepth: int) -> list[IntArray]:
    """The three planes of x [3][H][W]; data_type is rgb, yuv444 or yuv420."""
    x = np.asarray(x, dtype=np.float32)
    m = np.float32(2**bitdepth - 1)
    if data_type == "yuv420":
        return [_plane(x[0], m), _chroma(x[1], m), _chroma(x[2], m)]
    return [_plane(x[0], m), _plane(x[1], m), _plane(x[2], m)]
