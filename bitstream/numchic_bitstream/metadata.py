# SPDX-License-Identifier: BSD-3-Clause
"""Metadata <-> blocks of a trailer (docs/trailer.md). Exact."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from numchic_bitstream.errors import CorruptError, UsageError
from numchic_bitstream.limits import Limits

BLOCK = struct.Struct(">BI")
"""What a block starts with: its type and the size of its data."""
MAX_BLOCKS = 1024
ICC, EXIF, TEXT = 1, 2, 3
FRAME_RATE = "frame-rate"
"""Key of the text that says how fast the frames of a video follow each other."""
_MAX_RATE = 1 << 31  # what other programs can read
_RATE = re.compile(r"(\d{1,10})(?:/(\d{1,10}))?", re.ASCII)
_TIFF = (b"II*\0", b"MM\0*")  # Exif data start with one of these
_MAX_BYTES = 1 << 31  # so that the size of the trailer fits its field


class Block(NamedTuple):
    """A block and where it starts in the stream."""

    kind: int
    data: bytes
    offset: int


@dataclass(frozen=True)
class Metadata:
    """What a picture file says beside its samples.

    Attributes
    ----------
    icc : bytes or None
        ICC profile.
    exif : bytes or None
        Exif data as a TIFF structure, without the prefix that JPEG files have.
    text : tuple of (str, str)
        Keys and values. Keys are not empty, and neither holds a null character.
    other : tuple of (int, bytes)
        Type and data of blocks of unknown types, 4 to 255.

    Raises
    ------
    UsageError
        One of the attributes is malformed.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    other: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        if self.exif is not None and not self.exif.startswith(_TIFF):
            raise UsageError("not a TIFF structure", "metadata.exif")
        for key, value in self.text:
            if not key or "\0" in key + value:
                reason = "empty key, or a null character"
                raise UsageError(reason, "metadata.text", None, ascii(key))
            try:
                (key + value).encode()
            except UnicodeEncodeError as error:
                reason = "not Unicode text"
                raise UsageError(reason, "metadata.text", None, ascii(key)) from error
        for kind, _ in self.other:
            if not TEXT < kind < 256:
                raise UsageError("not an unknown type", "metadata.other", None, kind, "4..255")

    def text_of(self, key: str) -> str | None:
        """Value of the first text with this key; None if there is none."""
        return next((value for found, value in self.text if found == key), None)


def frame_rate(metadata: Metadata | None) -> tuple[int, int] | None:
    """Frames per second that metadata tell, as a fraction; None if they do not, or make no sense.

    Examples
    --------
    >>> frame_rate(Metadata(text=(("frame-rate", "30000/1001"),)))
    (30000, 1001)
    """
    text = metadata.text_of(FRAME_RATE) if metadata is not None else None
    match = _RATE.fullmatch(text or "")
    rate = (int(match[1]), int(match[2] or 1)) if match is not None else (0, 0)
    return rate if all(0 < number < _MAX_RATE for number in rate) else None


def parse_blocks(blocks: Iterable[Block]) -> Metadata:
    """Make metadata of blocks.

    Raises
    ------
    CorruptError
        A type is reserved or comes twice, or data are malformed.
    """
    single: dict[int, bytes] = {}
    text: list[tuple[str, str]] = []
    other: list[tuple[int, bytes]] = []
    for i, (kind, data, offset) in enumerate(blocks):
        field = f"trailer.block[{i}]"
        if kind == 0 or kind in single:
            reason = "the type is reserved" if kind == 0 else "a second block of this type"
            raise CorruptError(reason, f"{field}.type", offset, kind)
        if kind == EXIF and not data.startswith(_TIFF):
            raise CorruptError("not a TIFF structure", f"{field}.data", offset + BLOCK.size)
        if kind in (ICC, EXIF):
            single[kind] = data
        elif kind == TEXT:
            text.append(_parse_text(data, f"{field}.data", offset + BLOCK.size))
        else:
            other.append((kind, data))
    return Metadata(single.get(ICC), single.get(EXIF), tuple(text), tuple(other))


def _parse_text(data: bytes, field: str, offset: int) -> tuple[str, str]:
    try:
        parts = data.decode("utf-8").split("\0")
    except UnicodeDecodeError as error:
        raise CorruptError("the text is not UTF-8", field, offset + error.start) from error
    if len(parts) != 2 or not parts[0]:
        allowed = "a key, a null character, a value"
        raise CorruptError("malformed text", field, offset, f"{len(parts)} parts", allowed)
    return parts[0], parts[1]


def write_blocks(metadata: Metadata, limits: Limits) -> bytes:
    """Write all blocks.

    Raises
    ------
    UsageError
        The blocks are too large, or too many.
    """
    blocks = [*_blocks(metadata)]
    sizes = [len(data) for _, data in blocks]
    allowed = min(limits.metadata_bytes, _MAX_BYTES)
    if sum(sizes) > allowed:
        raise UsageError("the metadata are too large", "metadata", None, sum(sizes), allowed)
    if len(blocks) > MAX_BLOCKS:
        raise UsageError("too many blocks", "metadata", None, len(blocks), f"<= {MAX_BLOCKS}")
    return b"".join(BLOCK.pack(kind, len(data)) + data for kind, data in blocks)


def _blocks(metadata: Metadata) -> Iterator[tuple[int, bytes]]:
    """Type and data of every block."""
    if metadata.icc is not None:
        yield ICC, metadata.icc
    if metadata.exif is not None:
        yield EXIF, metadata.exif
    for key, value in metadata.text:
        yield TEXT, f"{key}\0{value}".encode()
    yield from metadata.other
