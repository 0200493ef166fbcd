# SPDX-License-Identifier: BSD-3-Clause
"""Reconstruction of 4.x frames: signals -> integer samples (coolchic-4.2, section 13.2). Exact.

Rounding is exact given its float32 input.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from numchic.picture import Picture, empty_planes
from numchic.schedule import Meter, Progress, frame_meter
from numchic.v4.coolchic import decode_signal, signal_totals
from numchic.v4.prediction import predict
from numchic.video import DecodedFrame, References
from numchic_bitstream.arrays import F32, F32_2D, U8, U8_2D, U16, U16_2D
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.stream import MIN_OUTPUTS, CoolChic, Stream


def decode_frame(
    stream: Stream,
    index: int,
    references: References,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> DecodedFrame:
    """Decode one frame of a 4.x stream; see :class:`numchic.generation.Generation`.

    Raises
    ------
    CorruptError, TruncatedError
        A payload is damaged.
    """
    frame = stream.frames[index]
    writer = FrameWriter(stream)
    totals = [signal_totals(part.header) for part in frame.parts]
    predicted = frame.header.frame_type != "I"
    meter = frame_meter(progress, totals, stream.img_size[0] * predicted)
    if not predicted:
        decode_signal(frame.parts[0], writer.put, meter, threads=threads)
        return DecodedFrame(writer.picture())
    n_outputs = MIN_OUTPUTS[frame.header.frame_type]
    residue, motion = (
        _whole_signal(part, n_channels, meter, threads)
        for part, n_channels in zip(frame.parts, n_outputs, strict=True)
    )
    predict(stream, frame, residue, motion, references(), writer.put, meter)
    return DecodedFrame(writer.picture())


def _whole_signal(part: CoolChic, n_channels: int, meter: Meter, threads: int) -> F32:
    """Decode a part and keep the channels that reconstruction needs."""
    signal = np.empty((n_channels, *part.header.derived.output_size), np.float32)

    def put(first: int, rows: F32) -> None:
        signal[:, first : first + rows.shape[1]] = rows[:n_channels]

    decode_signal(part, put, meter, threads=threads)
    return signal


class FrameWriter:
    """Collects the samples of a frame, a band of rows at a time.

    Parameters
    ----------
    stream : Stream
    """

    def __init__(self, stream: Stream) -> None:
        self._data_type, self._bitdepth = stream.data_type, stream.bitdepth
        self._planes = empty_planes(stream.img_size, stream.data_type, stream.bitdepth)

    def put(self, first: int, signal: F32) -> None:
        """Round rows first, first + 1, ... of the signal (section 13.2).

        Parameters
        ----------
        first : int
            Even.
        signal : float32[>= 3, n_rows, W]
            n_rows is even, except for the last band.
        """
        maximum = (1 << self._bitdepth) - 1
        for rows, plane in zip(signal, self._planes, strict=False):
            step = 1 if plane.shape == self._planes[0].shape else 2
            samples = np.ascontiguousarray(rows[::step, ::step])
            round_rows(samples, maximum, cast("U8 | U16", plane[first // step :]))

    def picture(self) -> Picture:
        """Return the finished picture."""
        return Picture(self._planes, self._data_type, self._bitdepth)


@kernel(entry=True)
def round_rows(signal: F32_2D, maximum: int, out: U8_2D | U16_2D) -> None:
    """Round a signal with nominal range 0 .. 1 to integers; what is not a number becomes 0.

    Parameters
    ----------
    signal : float32[n_rows, w]
    maximum : int
        At most 65535.
    out : uint8 or uint16[>= n_rows, w]
        Output.
    """
    factor = np.float32(maximum)
    for y in range(signal.shape[0]):
        source, target = signal[y], out[y]
        for x in range(signal.shape[1]):
            scaled = float(source[x] * factor) + 0.5
            # Only AVX-512 has a vector conversion to int64.
            target[x] = np.int32(min(scaled, float(maximum)) if scaled > 0.0 else 0.0)
