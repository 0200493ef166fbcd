# SPDX-License-Identifier: BSD-3-Clause
"""Reconstruction of a frame: signal -> integer samples (coolchic-5, section 12). Exact.

Rounding is exact given its float32 input: every operation is written in the order of the
specification, which decides the many ties of 4:2:0.
"""

from __future__ import annotations

import numpy as np

from numchic.picture import Picture, Samples, empty_planes
from numchic.schedule import Meter, Progress, frame_meter
from numchic.v5.coolchic import decode_signal, signal_totals
from numchic.v5.prediction import predict
from numchic.video import DecodedFrame, References
from numchic_bitstream.arrays import F32, I8
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.structure import FrameDataType
from numchic_bitstream.v5.headers import FrameHeader
from numchic_bitstream.v5.stream import CoolChic, Stream
from numchic_bitstream.v5.trailer import latents_crc


def decode_frame(
    stream: Stream,
    index: int,
    references: References,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> DecodedFrame:
    """Decode one frame of a 5.0 stream; see :class:`numchic.generation.Generation`.

    Raises
    ------
    CorruptError, TruncatedError
        A payload is malformed.
    """
    frame = stream.frames[index]
    header = frame.header
    writer = FrameWriter(header, stream.img_size, frame.residue.nn_offset)
    totals = [signal_totals(part.header) for part in frame.parts]
    meter = frame_meter(progress, totals, 0 if frame.motion is None else stream.img_size[0])
    if frame.motion is None:
        grids = decode_signal(frame.residue, writer.put, meter, threads=threads)
        return DecodedFrame(writer.picture(), latents_crc([grids]))
    n_references = len(header.index_references)
    residue, residue_grids = _whole_signal(frame.residue, 3 + n_references, meter, threads)
    motion, motion_grids = _whole_signal(frame.motion, 2 * n_references, meter, threads)
    offset = frame.motion.nn_offset
    predict(header, residue, motion, references(), writer.put, meter, offset=offset)
    return DecodedFrame(writer.picture(), latents_crc([residue_grids, motion_grids]))


def _whole_signal(
    coolchic: CoolChic, n_channels: int, meter: Meter, threads: int
) -> tuple[F32, list[I8]]:
    """Decode a part: the channels that reconstruction needs, and the latents."""
    signal = np.empty((n_channels, *coolchic.header.img_size), np.float32)

    def put(first: int, band: F32) -> None:
        signal[:, first : first + band.shape[1]] = band[:n_channels]

    grids = decode_signal(coolchic, put, meter, threads=threads)
    return signal, grids


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
        self._header = header
        self._offset = offset
        self._planes = empty_planes(img_size, header.frame_data_type, header.bitdepth)

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
