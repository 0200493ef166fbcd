# SPDX-License-Identifier: BSD-3-Clause
"""Frames of Cool-chic 5.0: from payloads and references to a picture (sections 12 and 13).

The counterpart for the older generations is ``numchic.v4.frame``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from numchic.progress import Progress
from numchic.v5.coolchic import decode_signal
from numchic.v5.frame import FrameWriter
from numchic.v5.prediction import predict
from numchic.video import DecodedFrame, References
from numchic_bitstream.arrays import F32, I8
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
    """Decode one frame.

    Parameters
    ----------
    stream : Stream
    index : int
        Place of the frame in coding order.
    references : callable
        Gives the pictures it is predicted from; called when everything else is done.
    threads : int
        Number of threads that may compute at the same time.
    progress : callable, optional
        As for :func:`numchic.decode`.

    Returns
    -------
    DecodedFrame

    Raises
    ------
    CorruptError, TruncatedError
        A payload is malformed.
    """
    frame = stream.frames[index]
    header = frame.header
    writer = FrameWriter(header, stream.img_size, frame.residue.nn_offset)
    if frame.motion is None:
        grids = decode_signal(frame.residue, writer.put, threads=threads, progress=progress)
        return DecodedFrame(writer.picture(), latents_crc([grids]))
    decode = partial(_decode_whole, threads=threads, progress=progress)
    n_references = len(header.index_references)
    residue, residue_grids = decode(frame.residue, 3 + n_references)
    motion, motion_grids = decode(frame.motion, 2 * n_references)

    def pause(rows: int) -> None:
        if progress is not None:
            progress("prediction", rows, stream.img_size[0])

    predict(
        header, residue, motion, references(), writer.put,
        pause=pause, offset=frame.motion.nn_offset,
    )  # fmt: skip
    return DecodedFrame(writer.picture(), latents_crc([residue_grids, motion_grids]))


def _decode_whole(
    coolchic: CoolChic, n_channels: int, *, threads: int, progress: Progress | None
) -> tuple[F32, list[I8]]:
    """Decode the first channels of a signal, float32[n_channels, H, W], and the latents."""
    signal = np.empty((n_channels, *coolchic.header.img_size), np.float32)

    def put(first: int, band: F32) -> None:
        signal[:, first : first + band.shape[1]] = band[:n_channels]

    grids = decode_signal(coolchic, put, threads=threads, progress=progress)
    return signal, grids
