# SPDX-License-Identifier: BSD-3-Clause
"""An opened stream: read and checked once, then described and decoded as often as needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from numchic.generations import generation
from numchic.info import StreamInfo, describe_stream
from numchic.memory import estimate_memory
from numchic.picture import Picture
from numchic.schedule import Progress
from numchic.video import decode_video
from numchic_bitstream.arguments import as_integer
from numchic_bitstream.errors import UsageError
from numchic_bitstream.generations import Coded, read_any
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]
"""A stream, the path of a file, or an open binary file."""

# Latents are decoded by one thread, so that more than a few others find nothing to do.
_MAX_DEFAULT_THREADS = 4
_MAX_THREADS = 64  # more find nothing to do


class OpenedStream:
    """A stream whose headers have been read; made by :func:`numchic.open`.

    It is a context manager; leaving the block forgets the stream. Files are read and closed when
    the stream is opened.

    Attributes
    ----------
    n_frames : int
    img_size : (height, width)
        Every frame has this size.
    data_type : {"rgb", "yuv420", "yuv444"}
    bitdepth : int
        Bits per sample.
    metadata : Metadata or None
        Colour profile, Exif data and texts of the trailer.
    """

    def __init__(self, source: Source, limits: Limits | None, check_integrity: bool) -> None:
        if limits is not None and not isinstance(limits, Limits):
            raise UsageError("not limits", "limits", None, type(limits).__name__, "numchic.Limits")
        self._limits = limits or Limits()
        self._data: bytes | None = read_source(source, self._limits)
        stream = read_any(self._data, self._limits)
        self._generation = generation(stream.generation)
        self._stream: Coded | None = stream
        check_work(stream, self._limits)
        self._extras = self._generation.read_extras(
            stream, self._data, self._limits, check_integrity
        )
        self.metadata: Metadata | None = self._extras.metadata
        self.n_frames = len(stream.places)
        self.img_size = stream.img_size
        self.data_type = stream.data_type
        self.bitdepth = stream.bitdepth

    def __repr__(self) -> str:
        height, width = self.img_size
        return (
            f"<numchic.OpenedStream: {self.n_frames} frame(s), {width}x{height}, "
            f"{self.data_type}, {self.bitdepth} bits>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the stream; it cannot be decoded any more."""
        self._data = self._stream = None

    @property
    def _coded(self) -> Coded:
        if self._stream is None:
            raise UsageError("the stream is closed", "stream")
        return self._stream

    @cached_property
    def info(self) -> StreamInfo:
        """What the stream tells about itself without decoding its latents.

        A trailer that is damaged or does not fit the stream is described too.

        Raises
        ------
        StreamError
            A network payload is malformed.
        """
        stream = self._coded
        assert self._data is not None  # forgotten together
        return describe_stream(
            stream,
            self._generation.describe_frames(stream),
            self._generation.describe_trailer(stream, self._data, self._limits),
            len(self._data),
            estimate_memory(stream),
        )

    def decode(
        self,
        index: int | None = None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """Decode a frame.

        Parameters
        ----------
        index : int, optional
            Display index from 0; a stream of several frames needs it. What the frame is predicted
            from is decoded as well, but nothing else.
        threads, progress
            See :func:`numchic.decode`.

        Raises
        ------
        StreamError, LimitError, UsageError
            See :func:`numchic.decode`.
        """
        if index is None and self.n_frames > 1:
            allowed = f"0..{self.n_frames - 1}"
            raise UsageError("the stream is a video: choose a frame", "frame", None, None, allowed)
        place = as_integer(0 if index is None else index, "frame", 0, self.n_frames - 1)
        (picture,) = self._pictures([place], threads, progress)
        return picture

    def frames(
        self,
        frames: slice | None = None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Generator[Picture, None, None]:
        """Decode frames in display order, each as soon as it is final.

        Parameters
        ----------
        frames : slice, optional
            Display indices, from 0, with a positive step; all frames by default.
        threads, progress
            See :func:`numchic.decode_frames`.

        Raises
        ------
        StreamError, LimitError, UsageError
            See :func:`numchic.decode_frames`.
        """
        try:
            wanted = range(self.n_frames)[slice(None) if frames is None else frames]
        except (TypeError, ValueError):
            wanted = range(0)
        if not isinstance(wanted, range) or not wanted or wanted.step < 0:
            allowed = f"a part of 0..{self.n_frames - 1}"
            raise UsageError("no frames", "frames", None, _in_brackets(frames), allowed)
        return self._pictures(wanted, threads, progress)

    def _pictures(
        self, wanted: Sequence[int], threads: int | None, progress: Progress | None
    ) -> Generator[Picture, None, None]:
        """Check arguments and memory at once; decode when pictures are asked for."""
        if threads is None:
            threads = _default_threads()
        threads = min(as_integer(threads, "threads", 1), _MAX_THREADS)
        if progress is not None and not callable(progress):
            raise UsageError("not callable", "progress", None, type(progress).__name__)
        self._limits.check("memory_bytes", estimate_memory(self._coded, threads, wanted))
        return self._decode(self._coded, wanted, threads, progress)

    def _decode(
        self, stream: Coded, wanted: Sequence[int], threads: int, progress: Progress | None
    ) -> Generator[Picture, None, None]:
        integrity = self._extras.integrity
        check = integrity(stream) if integrity and len(wanted) == self.n_frames else None
        decoder = self._generation.frame_decoder(stream)
        for place, frame in decode_video(
            stream.places, wanted, decoder, threads=threads, progress=progress
        ):
            if check is not None:
                check.add(place, frame)
            yield dataclasses.replace(frame.picture, metadata=self.metadata)


def check_work(stream: Coded, limits: Limits) -> None:
    """Raise a LimitError if a frame, or all of them, would take too much time."""
    total = 0
    for work in generation(stream.generation).frame_work(stream):
        limits.check("work", work)
        total += work
        limits.check("total_work", total)


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


def _in_brackets(index: object) -> object:
    """Slice as one writes it; everything else as it is."""
    if not isinstance(index, slice):
        return index
    parts = [index.start, index.stop] + ([] if index.step is None else [index.step])
    return ":".join("" if part is None else str(part) for part in parts)
