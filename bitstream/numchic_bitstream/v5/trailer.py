# SPDX-License-Identifier: BSD-3-Clause
"""The trailer: digests and metadata after the last frame (docs/trailer.md). Exact.

Decoders that do not know it ignore the bytes after the last frame. Those that do notice every
single-bit error and every truncation of a stream that has one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.bits import Entry
from numchic_bitstream.errors import CorruptError, IntegrityError, UnsupportedError, UsageError
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import (
    BLOCK,
    MAX_BLOCKS,
    Block,
    Metadata,
    parse_blocks,
    write_blocks,
)
from numchic_bitstream.v5.stream import ANNOUNCEMENT_BYTE, Stream, announce_trailer, read_stream

HEAD = b"\x89CCT"
TAIL = b"TCC\x89"
VERSION = 1

_START = struct.Struct(">4sBIII16s")  # head to samples
_END = struct.Struct(">II4s")  # trailer_crc, n_bytes_again, tail
DIGEST_SIZE = 16
"""Bytes of the digest of the samples."""

_ZEROS = memoryview(bytes(1 << 16))


@dataclass(frozen=True)
class Trailer:
    """Contents of a trailer.

    Attributes
    ----------
    stream_crc : int
        CRC-32 of everything before the trailer.
    latents_crc : int
        See :func:`latents_crc`.
    samples : bytes or None
        See :func:`samples_digest`; None if not recorded.
    metadata : Metadata or None
        What the blocks say; None if there are none.
    offset : int
        Byte at which the trailer starts, for error messages.
    """

    stream_crc: int
    latents_crc: int
    samples: bytes | None = None
    metadata: Metadata | None = None
    offset: int = 0

    def check_stream(self, data: bytes, stream: Stream) -> None:
        """Compare the stream with what the trailer says of it.

        Parameters
        ----------
        data : bytes
            The file that stream and trailer were read from.
        stream : Stream

        Raises
        ------
        IntegrityError
            The trailer is that of another stream, or the stream does not announce it.
        """
        found = zlib.crc32(memoryview(data)[: stream.n_bytes])
        self._compare("stream_crc", 9, f"{found:08x}", f"{self.stream_crc:08x}")
        if not stream.trailer_announced:
            offset = stream.header.n_bytes_header + ANNOUNCEMENT_BYTE
            raise IntegrityError(
                "the trailer is not announced", "trailer.announcement", offset, 0, 1
            )

    def check_latents(self, crc: int) -> None:
        """Compare the :func:`latents_crc` of the decoded grids with the trailer.

        Raises
        ------
        IntegrityError
            The grids are not those that the trailer was made for.
        """
        self._compare("latents_crc", 13, f"{crc:08x}", f"{self.latents_crc:08x}")

    def check_samples(self, digest: bytes) -> None:
        """Compare the :func:`samples_digest` of the decoded samples with the trailer's, if any.

        Raises
        ------
        IntegrityError
            The samples are not those that the trailer was made for.
        """
        if self.samples is not None:
            self._compare("samples", 17, digest.hex(), self.samples.hex())

    def _compare(self, field: str, place: int, found: str, allowed: str) -> None:
        if found != allowed:
            raise IntegrityError(
                "the stream is not what its trailer says", f"trailer.{field}", self.offset + place,
                found, allowed,
            )  # fmt: skip


def latents_crc(parts: Iterable[Sequence[NDArray[np.int8]]]) -> int:
    """CRC-32 of all grids in coding order.

    Parameters
    ----------
    parts : iterable of sequences of int8[h, w]
        The grids of every Cool-chic decoder in stream order, finest first as everywhere else.
    """
    crc = 0
    for grids in parts:
        for grid in reversed(grids):
            crc = zlib.crc32(np.ascontiguousarray(grid, np.int8).data, crc)
    return crc


def join_crcs(parts: Iterable[tuple[int, int]]) -> int:
    """CRC-32 of the whole from those of its parts.

    Parameters
    ----------
    parts : iterable of (int, int)
        CRC-32 and number of bytes of each part.

    Examples
    --------
    >>> join_crcs([(zlib.crc32(b"12345"), 5), (zlib.crc32(b"6789"), 4)]) == zlib.crc32(b"123456789")
    True
    """
    whole = 0
    for crc, n_bytes in parts:
        # A CRC is linear but for a constant, which a part of zeros tells.
        whole = _append_zeros(whole, n_bytes) ^ _append_zeros(0, n_bytes) ^ crc
    return whole


def _append_zeros(crc: int, n_bytes: int) -> int:
    for done in range(0, n_bytes, len(_ZEROS)):
        crc = zlib.crc32(_ZEROS[: n_bytes - done], crc)
    return crc


def samples_digest(pieces: Iterable[bytes]) -> bytes:
    """First 16 bytes of the SHA-256 of the decoded samples.

    Parameters
    ----------
    pieces : iterable of bytes
        Raw samples, such as :meth:`numchic.Picture.pieces` gives them.
    """
    import hashlib  # which a program that only describes streams need not load

    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()[:DIGEST_SIZE]


def read_trailer(
    data: bytes,
    stream: Stream,
    limits: Limits | None = None,
    *,
    check_stream: bool = True,
    listener: Callable[[str, tuple[Entry, ...]], None] | None = None,
) -> Trailer | None:
    """Read the trailer, check it, and compare the stream with it.

    Latents and samples are compared by :meth:`Trailer.check_latents` and ``check_samples``.

    Parameters
    ----------
    data : bytes
        The whole file.
    stream : Stream
        What was read from ``data``.
    limits : Limits, optional
        Only ``metadata_bytes`` counts here.
    check_stream : bool
        Whether to call :meth:`Trailer.check_stream`.
    listener : callable, optional
        Called with a title and the listing of the trailer, up to its first bad field.

    Returns
    -------
    Trailer or None
        None if there is no sign of a trailer.

    Raises
    ------
    IntegrityError
        The trailer is damaged, cut off or missing, or the stream is not what it says.
    CorruptError
        The blocks are malformed although the trailer is not damaged.
    UnsupportedError
        The trailer has an unknown version.
    LimitError
        The blocks are larger than allowed.
    """
    if not _has_sign(data, stream):
        return None
    reader = _TrailerReader(data, stream)
    try:
        trailer = reader.read(limits or Limits())
        if check_stream:
            trailer.check_stream(data, stream)
    finally:
        if listener is not None:
            listener("trailer", tuple(sorted(reader.entries, key=lambda e: e.bit_offset)))
    return trailer


def _has_sign(data: bytes, stream: Stream) -> bool:
    """Whether a trailer is there, was there, or should be there."""
    if stream.trailer_announced or data.startswith(HEAD, stream.n_bytes):
        return True
    if not data.endswith(TAIL):
        return False
    if len(data) - stream.n_bytes >= len(TAIL):
        return True
    # A latent payload may end so by chance, and an error in a size may hide the trailer in one.
    size = int.from_bytes(data[-8:-4], "big")
    return _START.size + _END.size <= size <= len(data) and data.startswith(HEAD, len(data) - size)


class _TrailerReader:
    """Reads fields and keeps a listing of them."""

    def __init__(self, data: bytes, stream: Stream) -> None:
        bit = 8 * (stream.header.n_bytes_header + ANNOUNCEMENT_BYTE) + 7
        announced = int(stream.trailer_announced)
        self.entries = [Entry(bit, 1, "trailer.announcement", announced)]
        self.data = data
        self.start = stream.n_bytes
        self.end = len(data) - _END.size  # of the blocks
        self.position = stream.n_bytes

    def read(self, limits: Limits) -> Trailer:
        found, least = len(self.data) - self.start, _START.size + _END.size
        if found < least:
            self._fail("cut off or missing", "", self.start, f"{found} bytes", f">= {least} bytes")
        self._magic("head", HEAD)
        version = self._number("version", 1)
        self._size("n_bytes")
        stream_crc, latents_crc = self._crc("stream_crc"), self._crc("latents_crc")
        samples = self._take(DIGEST_SIZE)
        self._list("samples", DIGEST_SIZE, samples.hex())
        self.position = self.end
        crc = self._crc("trailer_crc")
        self._size("n_bytes_again")
        self._magic("tail", TAIL)
        found = zlib.crc32(memoryview(self.data)[self.start : self.end])
        if found != crc:
            self._fail("damaged", ".trailer_crc", self.end, f"{found:08x}", f"{crc:08x}")
        if version != VERSION:
            offset = self.start + len(HEAD)
            raise UnsupportedError(
                "unknown version of the trailer", "trailer.version", offset, version, VERSION
            )
        self.position = self.start + _START.size
        metadata = self._metadata(limits)
        return Trailer(
            stream_crc, latents_crc, samples if any(samples) else None, metadata, self.start
        )

    def _take(self, n_bytes: int) -> bytes:
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]

    def _list(self, field: str, n_bytes: int, value: object) -> None:
        """List the field just taken."""
        self.entries.append(
            Entry(8 * (self.position - n_bytes), 8 * n_bytes, f"trailer.{field}", value)
        )

    def _number(self, field: str, n_bytes: int) -> int:
        value = int.from_bytes(self._take(n_bytes), "big")
        self._list(field, n_bytes, value)
        return value

    def _crc(self, field: str) -> int:
        value = int.from_bytes(self._take(4), "big")
        self._list(field, 4, f"{value:08x}")
        return value

    def _magic(self, field: str, allowed: bytes) -> None:
        found = self._take(4)
        self._list(field, 4, found.hex())
        if found != allowed:
            self._fail("damaged", f".{field}", self.position - 4, found.hex(), allowed.hex())

    def _size(self, field: str) -> None:
        found, allowed = self._number(field, 4), len(self.data) - self.start
        if found != allowed:
            self._fail("damaged or cut off", f".{field}", self.position - 4, found, allowed)

    def _fail(self, what: str, field: str, offset: int, found: object, allowed: object) -> NoReturn:
        raise IntegrityError(f"the trailer is {what}", f"trailer{field}", offset, found, allowed)

    def _metadata(self, limits: Limits) -> Metadata | None:
        """Read the blocks: first their places, then what is in them."""
        spans: list[tuple[int, int, int]] = []
        total = 0
        while self.position < self.end:
            name, offset = f"block[{len(spans)}]", self.position
            if len(spans) == MAX_BLOCKS:
                raise CorruptError(
                    "too many blocks", f"trailer.{name}", offset, None, f"<= {MAX_BLOCKS} blocks"
                )
            left = self.end - self.position - BLOCK.size
            if left < 0:
                raise CorruptError(
                    "the block is cut off", f"trailer.{name}", offset, f"{left + BLOCK.size} bytes",
                    f">= {BLOCK.size} bytes",
                )  # fmt: skip
            kind, size = self._number(f"{name}.type", 1), self._number(f"{name}.n_bytes", 4)
            if size > left:
                raise CorruptError(
                    "the block reaches past the end of the trailer", f"trailer.{name}.n_bytes",
                    offset + 1, size, f"<= {left}",
                )  # fmt: skip
            total += size
            limits.check("metadata_bytes", total)
            spans.append((kind, self.position, size))
            self.position += size
            self._list(f"{name}.data", size, f"{size} bytes")
        if not spans:
            return None
        return parse_blocks(
            Block(kind, self.data[place : place + size], place - BLOCK.size)
            for kind, place, size in spans
        )


def append_trailer(
    data: bytes,
    latents_crc: int,
    samples: bytes | None = None,
    metadata: Metadata | None = None,
    *,
    limits: Limits | None = None,
) -> bytes:
    """Announce and append a trailer.

    Parameters
    ----------
    data : bytes
        A stream and nothing after it.
    latents_crc : int
        See :func:`latents_crc`.
    samples : bytes, optional
        See :func:`samples_digest`. Leave it out if a frame has common randomness: one sample in
        some 10^8 then depends on the machine.
    metadata : Metadata, optional
    limits : Limits, optional
        Neither the stream nor the metadata may exceed them, so that others can read the result.

    Returns
    -------
    bytes
        The stream, with the bit that announces a trailer, and the trailer.

    Raises
    ------
    UsageError
        Something follows the stream, a trailer for instance; a digest is no such digest; the
        metadata are too large.
    StreamError, LimitError
        See :func:`numchic_bitstream.read_stream`.
    """
    limits = limits or Limits()
    stream = read_stream(data, limits)
    if len(data) > stream.n_bytes:
        kind = "a trailer" if _has_sign(data, stream) else "something"
        found = f"{len(data) - stream.n_bytes} bytes"
        raise UsageError(f"{kind} follows the stream", "data", stream.n_bytes, found)
    if not 0 <= latents_crc < 1 << 32:
        raise UsageError("not a CRC-32", "latents_crc", None, latents_crc)
    if samples is not None and len(samples) != DIGEST_SIZE:
        raise UsageError("not a digest", "samples", None, len(samples), f"{DIGEST_SIZE} bytes")
    blocks = write_blocks(metadata or Metadata(), limits)
    n_bytes = _START.size + len(blocks) + _END.size
    announced = announce_trailer(data, stream.header.n_bytes_header)
    start = _START.pack(
        HEAD, VERSION, n_bytes, zlib.crc32(announced), latents_crc, samples or bytes(DIGEST_SIZE)
    )
    crc = zlib.crc32(start + blocks)
    return b"".join((announced, start, blocks, _END.pack(crc, n_bytes, TAIL)))
