# SPDX-License-Identifier: BSD-3-Clause
"""Public functions: decode a picture, describe a stream."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import IO

from numchic.info import StreamInfo, describe_stream
from numchic.memory import estimate_memory
from numchic.picture import Picture
from numchic.progress import Progress
from numchic_bitstream.errors import NumchicError, UnsupportedError, UsageError
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata
from numchic_bitstream.stream import Stream, read_stream
from numchic_bitstream.trailer import read_trailer

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]
"""A stream, the path of a file, or an open binary file."""

# Latents are decoded by one thread, so that more than a few others find nothing to do.
_MAX_DEFAULT_THREADS = 4


def decode(
    source: Source,
    *,
    limits: Limits | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    check_integrity: bool = True,
) -> Picture:
    """Decode a still picture.

    Parameters
    ----------
    source : bytes, path or binary file
        A Cool-chic 5.0 stream.
    limits : Limits, optional
        What the stream may cost; checked before anything is allocated.
    threads : int, optional
        Number of threads, by default that of the processors this process may use, but at most 4.
        The result does not depend on it.
    progress : callable, optional
        Called with the name of the stage ("latents" in samples, "rendering" in rows; they overlap),
        the work done and the total work of the stage. An exception it raises stops the decoding.
    check_integrity : bool
        Whether a stream that has or announces a trailer has to be what the trailer says: before
        anything is decoded, and latents and samples afterwards. Otherwise the trailer only gives
        the metadata, if it can be read. Streams without a trailer are decoded either way.

    Returns
    -------
    Picture
        With the metadata of the trailer.

    Raises
    ------
    StreamError
        The stream is malformed: :class:`TruncatedError` or :class:`CorruptError`; or it is not what
        its trailer says, or the trailer is damaged: :class:`IntegrityError`.
    UnsupportedError
        The stream is a video, or its trailer has an unknown version.
    LimitError
        The stream exceeds the limits.
    UsageError
        An argument makes no sense.
    OSError
        The source cannot be read.

    Notes
    -----
    Latents are exact. Samples are those of this project's documented float32 arithmetic, the same
    everywhere, and within one level of the official decoder's.
    """
    limits = limits or Limits()
    threads = _default_threads() if threads is None else threads
    if not isinstance(threads, int) or threads < 1:
        raise UsageError("at least one thread is needed", "threads", None, threads, ">= 1")
    data = read_source(source, limits)
    stream = read_stream(data, limits)
    trailer = read_trailer(data, stream, limits) if check_integrity else None
    if stream.header.n_frames > 1:
        found = stream.header.n_frames
        raise UnsupportedError("videos are not decoded yet", "n_frames", 0, found, 1)
    limits.check("memory_bytes", estimate_memory(stream, threads))
    # Only now: the modules with kernels import Numba, which takes longer than all of the above.
    from numchic.coolchic import decode_signal
    from numchic.frame import FrameWriter

    frame = stream.frames[0]
    writer = FrameWriter(frame.header, stream.img_size, frame.residue.nn_offset)
    grids = decode_signal(frame.residue, writer.put, threads=threads, progress=progress)
    picture = writer.picture()
    if not check_integrity:
        return dataclasses.replace(picture, metadata=_readable_metadata(data, stream, limits))
    if trailer is None:
        return picture
    trailer.check_latents([grids])
    trailer.check_samples(picture.pieces())
    return dataclasses.replace(picture, metadata=trailer.metadata)


def _readable_metadata(data: bytes, stream: Stream, limits: Limits) -> Metadata | None:
    try:
        trailer = read_trailer(data, stream, limits, check_stream=False)
    except NumchicError:
        return None
    return None if trailer is None else trailer.metadata


def read_info(source: Source, *, limits: Limits | None = None) -> StreamInfo:
    """Describe a stream without decoding its latents.

    A trailer that is damaged or does not fit the stream is described too.

    Parameters
    ----------
    source : bytes, path or binary file
    limits : Limits, optional

    Returns
    -------
    StreamInfo

    Raises
    ------
    StreamError, LimitError, OSError
        As for :func:`decode`.
    """
    limits = limits or Limits()
    data = read_source(source, limits)
    return describe_stream(read_stream(data, limits), data, limits)


def read_source(source: Source, limits: Limits) -> bytes:
    """Bytes of a source; never reads more than the limit and one byte."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        if "\0" in os.fspath(source):
            raise UsageError("the path holds a null character", "source")
        with Path(source).open("rb") as file:
            return read_source(file, limits)
    if not hasattr(source, "read"):
        raise UsageError(
            "the source is of an unknown kind", "source", None, type(source).__name__,
            "bytes, a path or a binary file",
        )  # fmt: skip
    data = bytearray()
    # Piece by piece: a limit may be far larger than the file, and a pipe gives what it has.
    while piece := source.read(min(limits.stream_bytes + 1 - len(data), 1 << 20)):
        if isinstance(piece, str):
            raise UsageError("the file is not open in binary mode", "source")
        data += piece
        limits.check("stream_bytes", len(data))
    return bytes(data)


def _default_threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, _MAX_DEFAULT_THREADS)
