# SPDX-License-Identifier: BSD-3-Clause
"""Reconstruction of 4.x frames: signals -> integer samples (coolchic-4.2, section 13). Exact.

Rounding is exact given its float32 input; the prediction before it is float32, every product and
sum rounded, in the order of section 13.8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from numchic.picture import Picture, Samples
from numchic.progress import Progress
from numchic.references import shifted_reference
from numchic.v4.coolchic import SignalDecoder
from numchic.v4.motion import interpolation_table, warp_blocks, warp_samples
from numchic.video import DecodedFrame, References
from numchic_bitstream._jit import kernel
from numchic_bitstream.arrays import F32
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.v4.stream import Frame, Stream
from numchic_bitstream.v5.complexity import BAND_ROWS

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)


def decode_frame(
    stream: Stream,
    index: int,
    references: References,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> DecodedFrame:
    """Decode one frame of a 4.x stream.

    Parameters
    ----------
    stream : Stream
    index : int
        Place in coding order.
    references : callable
        Gives the pictures of ``stream.places[index].references``; called when everything that does
        not need them is done.
    threads : int
        Number of threads that may compute at the same time, the calling one included.
    progress : callable, optional
        Called from the calling thread; an exception it raises stops the decoding.

    Raises
    ------
    CorruptError, TruncatedError
        A payload is damaged.
    """
    frame = stream.frames[index]
    writer = FrameWriter(stream)
    decoder = SignalDecoder(frame.parts, stream.img_size, threads, progress)
    if frame.header.frame_type == "I":
        decoder.decode(0, writer.put)
    else:
        residue = _whole_signal(decoder, 0, stream.img_size, 4)
        size = decoder.output_size(1)
        motion = _whole_signal(decoder, 1, size, 5 if frame.header.frame_type == "B" else 2)
        predict(stream, frame, residue, motion, references(), writer.put, decoder.pause)
    return DecodedFrame(writer.picture())


def _whole_signal(decoder: SignalDecoder, part: int, size: tuple[int, int], n_channels: int) -> F32:
    """Decode a part and keep the channels that reconstruction needs."""
    signal = np.empty((n_channels, *size), np.float32)

    def put(first: int, rows: F32) -> None:
        signal[:, first : first + rows.shape[1]] = rows[:n_channels]

    decoder.decode(part, put)
    return signal


class FrameWriter:
    """Collects the samples of a frame, a band of rows at a time.

    Parameters
    ----------
    stream : Stream
    """

    def __init__(self, stream: Stream) -> None:
        height, width = stream.img_size
        self._data_type, self._bitdepth = stream.data_type, stream.bitdepth
        halved = stream.data_type == "yuv420"
        chroma = (height // 2, width // 2) if halved else (height, width)
        dtype = np.uint8 if stream.bitdepth == 8 else np.uint16
        self._planes: tuple[Samples, Samples, Samples] = (
            np.empty((height, width), dtype),
            np.empty(chroma, dtype),
            np.empty(chroma, dtype),
        )

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
            round_rows(rows[::step, ::step], maximum, plane[first // step :])

    def picture(self) -> Picture:
        """Return the finished picture."""
        return Picture(self._planes, self._data_type, self._bitdepth)


@kernel()
def round_rows(signal: F32, maximum: int, out: Samples) -> None:
    """Round a signal with nominal range 0 .. 1 to integers; what is not a number becomes 0.

    Parameters
    ----------
    signal : float32[n_rows, w]
    maximum : int
    out : uint8 or uint16[>= n_rows, w]
        Output.
    """
    factor = np.float32(maximum)
    for y in range(signal.shape[0]):
        source, target = signal[y], out[y]
        for x in range(signal.shape[1]):
            scaled = float(source[x] * factor) + 0.5
            target[x] = int(min(scaled, float(maximum))) if scaled > 0.0 else 0


def predict(
    stream: Stream,
    frame: Frame,
    residue: F32,
    motion: F32,
    references: Sequence[Picture],
    sink: Callable[[int, F32], None],
    pause: Callable[[], None],
) -> None:
    """Predict a frame and hand its signal to ``sink``, a band of rows at a time (section 13.8).

    Parameters
    ----------
    stream, frame
    residue : float32[4, H, W]
        Residue and alpha.
    motion : float32[2 or 5, H / B, W / B]
        A vector for each reference, and beta.
    references : sequence of Picture
    sink : callable
    pause : callable
        Called now and then; an exception it raises ends the work.

    Raises
    ------
    CorruptError
        A vector is not finite.
    """
    header = frame.header
    if not np.isfinite(motion).all():
        offset = frame.parts[1].parameters["syn.w"].offset
        raise CorruptError("the motion overflows", "syn.w", offset, None, "finite vectors")
    block = residue.shape[2] // motion.shape[2]
    shifted = []
    for picture, global_flow in zip(references, header.global_flow, strict=True):
        shifted.append(shifted_reference(picture, global_flow))
        pause()
    # In 4.0 samples are not limited to the nominal range.
    bound = np.float32(np.inf) if stream.generation == "4.0" else _ONE
    for first in range(0, residue.shape[1], BAND_ROWS):
        band = residue[:, first : first + BAND_ROWS]
        warped = np.empty((len(shifted), 3, *band.shape[1:]), np.float32)
        for k, reference in enumerate(shifted):
            flow = motion[2 * k : 2 * k + 2]
            if stream.generation == "4.0":
                warp_samples(reference, flow, first, warped[k])
            else:
                table = interpolation_table(header.n_taps)
                warp_blocks(reference, flow, block, table, first, warped[k])
            pause()
        beta = motion[-1, first // block :]
        signal = np.empty((3, *band.shape[1:]), np.float32)
        combine(band, beta, block, warped, bound, signal)
        sink(first, signal)


@kernel()
def combine(residue: F32, beta: F32, block: int, warped: F32, bound: np.float32, out: F32) -> None:
    """Join residue and warped references (section 13.8).

    Parameters
    ----------
    residue : float32[4, n_rows, W]
    beta : float32[>= n_rows / B, W / B]
        Not looked at in P frames.
    block : int
        B.
    warped : float32[1 or 2, 3, n_rows, W]
    bound : float32
        The signal is limited to 0 .. bound, and not at all if that is infinite.
    out : float32[3, n_rows, W]
        Output.
    """
    bidirectional = warped.shape[0] == 2
    lowest = -bound if np.isinf(bound) else _ZERO
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            alpha = min(max(residue[3, y, x] + _HALF, _ZERO), _ONE)
            gain = _ONE
            other = _ONE
            if bidirectional:
                gain = beta[y // block, x // block] + _HALF
                other = min(max(_ONE - gain, _ZERO), _ONE)
                gain = min(max(gain, _ZERO), _ONE)
            for c in range(3):
                prediction = warped[0, c, y, x]
                if bidirectional:
                    prediction = prediction * gain + warped[1, c, y, x] * other
                signal = prediction * alpha + residue[c, y, x]
                out[c, y, x] = min(max(signal, lowest), bound)
