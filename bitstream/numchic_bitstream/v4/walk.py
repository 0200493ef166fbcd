# SPDX-License-Identifier: BSD-3-Clause
"""Which generation a file is of: the structural walk (coolchic-4.2, section 2). Exact.

No generation has a magic number or a version field. But every frame header states its own length
and the last payload has to end at the end of the file, so that a walk over the headers alone fails
with the rules of any other generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from numchic_bitstream.bits import BitReader, Entry
from numchic_bitstream.errors import LimitError, StreamError, TruncatedError
from numchic_bitstream.limits import Limits
from numchic_bitstream.v4.headers import (
    GENERATIONS,
    GOP_HEADER_BYTES,
    FrameHeader,
    FrameHeaderReader,
    Generation,
    GopHeader,
    Listing,
    read_gop_header,
)


class GopStep(NamedTuple):
    """The walk has read the header of the file."""

    header: GopHeader
    entries: tuple[Entry, ...]


class FrameStep(NamedTuple):
    """The walk has read a frame header; its payload starts at byte ``payload``."""

    header: FrameHeader
    listing: Listing
    payload: int


class Attempt(NamedTuple):
    """How the walk with the rules of one generation ended."""

    generation: Generation
    n_frames: int
    error: StreamError | LimitError | None

    @property
    def reached(self) -> tuple[int, bool, int]:
        """How far it came; a header whose size is wrong has been read to its end."""
        error = self.error
        if error is None:
            return self.n_frames, True, 0
        return self.n_frames, error.field == "n_bytes_header", error.offset or 0

    @property
    def truncated(self) -> bool:
        """Whether only the data's end stopped it, after a complete first frame header."""
        return self.n_frames > 0 and isinstance(self.error, TruncatedError)


def walk(data: bytes, generation: Generation, limits: Limits) -> Iterator[GopStep | FrameStep]:
    """Walk over all headers of a file.

    Yields
    ------
    GopStep, then FrameStep for every frame
        In coding order, each as soon as it is read, before its payload is looked for.

    Raises
    ------
    TruncatedError
        The data end inside a header or payload.
    CorruptError
        A rule of section 2 is broken.
    LimitError
        There are too many frames.
    """
    gop, entries = read_gop_header(data)
    yield GopStep(gop, entries)
    reader = FrameHeaderReader(data, generation, gop.img_size)
    position, n_frames = GOP_HEADER_BYTES, 0
    while position < len(data):
        header, listing = reader.read(position)
        n_frames += 1
        limits.check("frames", n_frames)
        position += header.n_bytes_header
        yield FrameStep(header, listing, position)
        size = sum(part.n_bytes for part in header.parts)
        if size > len(data) - position:
            raise TruncatedError(
                "the payload reaches past the end of the data",
                "payload",
                position,
                size,
                f"<= {len(data) - position}",
            )
        position += size


def attempt(data: bytes, generation: Generation, limits: Limits) -> Attempt:
    """Walk, and say how it ended."""
    n_frames = -1
    try:
        for _ in walk(data, generation, limits):
            n_frames += 1
    except (StreamError, LimitError) as error:
        return Attempt(generation, n_frames, error)
    return Attempt(generation, n_frames, None)


def detect_generation(
    data: bytes, limits: Limits | None = None
) -> Generation | Literal["5.0"] | None:
    """Tell the generation of a file from its structure.

    Parameters
    ----------
    data : bytes
        The whole file.
    limits : Limits, optional
        A walk that sees more frames than allowed has succeeded.

    Returns
    -------
    str or None
        A truncated file of a 4.x generation counts as one of it; None for anything unknown.
    """
    limits = limits or Limits()
    attempts = []
    if data[:1] == bytes([GOP_HEADER_BYTES]):
        for generation in GENERATIONS:
            attempts.append(attempt(data, generation, limits))
            if attempts[-1].error is None or isinstance(attempts[-1].error, LimitError):
                return generation
    if _is_5(data):
        return "5.0"
    return next((a.generation for a in attempts if a.truncated), None)


def likely_generation(data: bytes, limits: Limits) -> Generation:
    """Return the generation of a file whose byte 0 is that of 4.x, or the one it fits longest."""
    found = detect_generation(data, limits)
    if found in GENERATIONS:
        return found
    attempts = [attempt(data, generation, limits) for generation in GENERATIONS]
    return max(attempts, key=lambda a: a.reached).generation


def _is_5(data: bytes) -> bool:
    """Check the video header of a 5.x file (section 2)."""
    if len(data) < 8:
        return False
    reader = BitReader(data)
    n_frames, n_intras, n_p_frames = (reader.read(12, "count") for _ in range(3))
    n_positions = n_intras + n_p_frames
    n_bytes_header = reader.read(16, "n_bytes_header")
    if not 1 <= n_intras <= n_positions <= n_frames:
        return False
    if n_bytes_header != (52 + 12 * n_positions + 7) // 8 or n_bytes_header > len(data):
        return False
    return all(reader.read(12, "position") < n_frames for _ in range(n_positions))
