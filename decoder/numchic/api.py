# SPDX-License-Identifier: BSD-3-Clause
"""Public functions: decode a picture or a video, describe a stream."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO

from numchic.generations import frame_decoder
from numchic.info import StreamInfo, describe_stream
from numchic.memory import estimate_memory
from numchic.picture import Picture
from numchic.progress import Progress
from numchic.v5.integrity import IntegrityCheck
from numchic.video import decode_video
from numchic_bitstream.errors import NumchicError, UsageError
from numchic_bitstream.generations import read_any
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata
from numchic_bitstream.v5.stream import Stream
from numchic_bitstream.v5.trailer import Trailer, read_trailer

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]
"""A stream, the path of a file, or an open binary file."""

# Latents are decoded by one thread, so that more than a few others find nothing to do.
_MAX_DEFAULT_THREADS = 4


def decode(
    source: Source,
    *,
    frame: int | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    check_integrity: bool = True,
) -> Picture:
    """Decode a still picture, or one frame of a video.

    Parameters
    ----------
    source : bytes, path or binary file
        A Cool-chic stream.
    frame : int, optional
        Display index of a frame, from 0. What it is predicted from is decoded as well, but nothing
        else. A stream of several frames needs it.
    limits : Limits, optional
        What the stream may cost; checked before anything is allocated.
    threads : int, optional
        Number of threads, by default that of the processors this process may use, but at most 4.
        The result does not depend on it.
    progress : callable, optional
        Called with the name of the stage ("latents" in samples, "rendering" in rows; they overlap),
        the work done and the total work of the stage; where several frames are decoded the stage is
        "frames". An exception it raises stops the decoding.
    check_integrity : bool
        Whether a stream that has or announces a trailer has to be what the trailer says: before
        anything is decoded, and latents and samples afterwards if all frames are decoded. Otherwise
        the trailer only gives the metadata, if it can be read. Streams without a trailer are
        decoded either way.

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
        The stream, or the version of its trailer, is not known.
    LimitError
        The stream exceeds the limits.
    UsageError
        An argument makes no sense, or a frame of a video has to be chosen.
    OSError
        The source cannot be read.

    Notes
    -----
    Latents are exact. Samples are those of this project's documented float32 arithmetic, the same
    everywhere. Those of 5.0 stills are within one level of the official decoder's; in long videos
    errors are carried on from frame to frame. Those of 4.x are equal to it.
    """
    decoding = _Decoding(source, limits, threads, progress, check_integrity)
    n_frames = len(decoding.stream.places)
    if frame is None and n_frames > 1:
        raise UsageError(
            "the stream is a video: choose a frame", "frame", None, None, f"0..{n_frames - 1}"
        )
    if frame is not None and (not isinstance(frame, int) or not 0 <= frame < n_frames):
        raise UsageError("there is no such frame", "frame", None, frame, f"0..{n_frames - 1}")
    (picture,) = decoding.pictures([frame or 0])
    return picture


def decode_frames(
    source: Source,
    *,
    frames: slice | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    check_integrity: bool = True,
) -> Generator[Picture, None, None]:
    """Decode the frames of a video in display order, each as soon as it is final.

    Memory does not grow with the length of the video: of the frames decoded so far only those are
    kept that others will be predicted from. With several threads some frames are decoded ahead.

    Parameters
    ----------
    source, limits, threads, check_integrity
        As for :func:`decode`. Latents and samples are compared with the trailer before the last
        frame is given, if all frames are decoded.
    frames : slice, optional
        Display indices of the frames wanted, from 0, such as ``slice(10, 20)``; with a positive
        step. Frames that these are predicted from are decoded as well, but not given.
    progress : callable, optional
        Called with "frames", the number of frames decoded and of those to decode, while a frame is
        waited for; where only one is decoded, as for :func:`decode`. An exception it raises stops
        the decoding.

    Returns
    -------
    generator of Picture
        Headers have been read and limits checked when this function returns; decoding starts with
        the first frame asked for, and ends when the generator is closed.

    Raises
    ------
    StreamError, UnsupportedError, LimitError, UsageError, OSError
        As for :func:`decode`. Payloads are read when their frame is decoded.

    Examples
    --------
    >>> for picture in numchic.decode_frames("video.cool"):     # doctest: +SKIP
    ...     show(picture.planes)
    """
    decoding = _Decoding(source, limits, threads, progress, check_integrity)
    n_frames = len(decoding.stream.places)
    try:
        wanted = range(n_frames)[slice(None) if frames is None else frames]
    except (TypeError, ValueError):
        wanted = range(0)
    if not isinstance(wanted, range) or not wanted or wanted.step < 0:
        raise UsageError("no frames", "frames", None, frames, f"a part of 0..{n_frames - 1}")
    return decoding.pictures(wanted)


class _Decoding:
    """A stream that has been read and may be decoded."""

    def __init__(
        self,
        source: Source,
        limits: Limits | None,
        threads: int | None,
        progress: Progress | None,
        check_integrity: bool,
    ) -> None:
        self.limits = limits or Limits()
        self.threads = _default_threads() if threads is None else threads
        self.progress = progress
        if not isinstance(self.threads, int) or self.threads < 1:
            raise UsageError("at least one thread is needed", "threads", None, threads, ">= 1")
        data = read_source(source, self.limits)
        self.stream = read_any(data, self.limits)
        self.trailer: Trailer | None = None
        self.metadata: Metadata | None = None
        if isinstance(self.stream, Stream):
            if check_integrity:
                self.trailer = read_trailer(data, self.stream, self.limits)
                self.metadata = None if self.trailer is None else self.trailer.metadata
            else:
                self.metadata = _readable_metadata(data, self.stream, self.limits)

    def pictures(self, wanted: Sequence[int]) -> Generator[Picture, None, None]:
        """Give some frames; limits are checked at once."""
        memory = estimate_memory(self.stream, self.threads, wanted)
        self.limits.check("memory_bytes", memory)
        return self._pictures(wanted)

    def _pictures(self, wanted: Sequence[int]) -> Generator[Picture, None, None]:
        places, check = self.stream.places, None
        if self.trailer is not None and len(wanted) == len(places):
            assert isinstance(self.stream, Stream)  # only these have trailers
            check = IntegrityCheck(self.stream, self.trailer)
        decoder = frame_decoder(self.stream)
        for place, frame in decode_video(
            places, wanted, decoder, threads=self.threads, progress=self.progress
        ):
            if check is not None:
                check.add(place, frame)
            yield dataclasses.replace(frame.picture, metadata=self.metadata)


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
    return describe_stream(read_any(data, limits), data, limits)


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
