# SPDX-License-Identifier: BSD-3-Clause
"""Reconstruction of a frame: signal -> integer samples (coolchic-5, section 12). Exact.

Rounding is exact given its float32 input: every operation is written in the order of the
specification, which decides the many ties of 4:2:0.
"""

from __future__ import annotations

import numpy as np

from numchic.picture import Picture, Samples
from numchic_bitstream.arrays import F32
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.structure import FrameDataType
from numchic_bitstream.v5.headers import FrameHeader


class FrameWriter:
    """Collects the samples of an intra frame, a band of rows at a time.

    Parameters
    ----------
    header : FrameHeader
    img_size : (H, W)
    offset : int
        Position of the network payload in the stream, for errors.
    """

    def __init__(self, header: FrameHeader, img_size: tuple[int, int], offset: int = 0) -> None:
        height, width = img_size
        chroma = (height // 2, width // 2) if header.frame_data_type == "yuv420" else img_size
        dtype = np.uint8 if header.bitdepth == 8 else np.uint16
        self._header = header
        self._offset = offset
        self._planes: tuple[Samples, Samples, Samples] = (
            np.empty(img_size, dtype),
            np.empty(chroma, dtype),
            np.empty(chroma, dtype),
        )

    def put(self, first: int, signal: F32) -> None:
        """Round rows first, first + 1, ... of the signal.

        Parameters
        ----------
        first : int
            Even.
        signal : float32[3, n_rows, W]
            n_rows is even, except for the last band.

        Raises
        ------
        CorruptError
            The signal is not finite.
        """
        data_type, bitdepth = self._header.frame_data_type, self._header.bitdepth
        bands = to_samples(signal, data_type, bitdepth, self._offset)
        for plane, band in zip(self._planes, bands, strict=True):
            start = first if plane.shape == self._planes[0].shape else first // 2
            plane[start : start + band.shape[0]] = band

    def picture(self) -> Picture:
        """Return the finished picture."""
        return Picture(self._planes, self._header.frame_data_type, self._header.bitdepth)


def to_samples(
    signal: F32, data_type: FrameDataType, bitdepth: int, offset: int = 0
) -> tuple[Samples, Samples, Samples]:
    """Round a signal with nominal range 0 .. 1 to integer samples (12.2, 12.3).

    Parameters
    ----------
    signal : float32[3, h, w]
    data_type : {"rgb", "yuv420", "yuv444"}
    bitdepth : int
    offset : int
        Position of the network payload in the stream, for errors.

    Returns
    -------
    three arrays of uint8 or uint16
        With ``yuv420`` the last two have floor(h / 2) x floor(w / 2) samples.

    Raises
    ------
    CorruptError
        The signal is not finite.
    """
    maximum = np.float32((1 << bitdepth) - 1)
    dtype = np.uint8 if bitdepth == 8 else np.uint16
    with np.errstate(over="ignore"):
        scaled = signal * maximum
    if not np.isfinite(scaled).all():
        raise CorruptError(
            "the synthesis overflows", "nn_payload.synthesis", offset, None, "finite samples"
        )
    rounded = np.rint(scaled)
    n_full = 1 if data_type == "yuv420" else 3
    full = np.clip(rounded[:n_full], 0, maximum).astype(dtype)
    if data_type != "yuv420":
        return full[0], full[1], full[2]
    unit = rounded[1:] / maximum
    height, width = signal.shape[1] // 2 * 2, signal.shape[2] // 2 * 2
    quads = [unit[:, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]
    total = ((quads[0] + quads[1]) + quads[2]) + quads[3]
    mean = np.clip(total / np.float32(4), np.float32(0), np.float32(1))
    chroma = np.rint(mean * maximum).astype(dtype)
    return full[0], chroma[0], chroma[1]
