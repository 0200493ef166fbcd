# SPDX-License-Identifier: BSD-3-Clause
"""Mutations of trailers whose checksums are made right again, else nothing but those is tested."""

from __future__ import annotations

import struct
import zlib
from random import Random

from fuzz.layout import Part, value_at

TAIL = b"TCC\x89"
_HEAD = b"\x89CCT"
_START = struct.Struct(">4sBIII16s")
_END = struct.Struct(">II4s")
_PLACES = {"head": 0, "version": 4, "n_bytes": 5, "latents_crc": 13, "samples": 17}
_DATA = (
    b"",
    b"II*\0\x08\0\0\0",
    b"MM\0*",
    b"Title\0A picture",
    b"Titel\0\xc3\xa4",
    b"\0without a key",
    b"no null",
    b"a\0b\0c",
    b"\xff\0not UTF-8",
)


def seal(data: bytes, blocks: bytes | None = None, start: int | None = None) -> bytes:
    """Make the trailer at ``start`` fit its stream, if there is one.

    Parameters
    ----------
    data : bytes
    blocks : bytes, optional
        Other ones than it has.
    start : int, optional
        End of the stream proper; found by the size that the trailer gives, if omitted.
    """
    if start is None:
        start = len(data) - int.from_bytes(data[-8:-4], "big")
    old = data[max(start, 0) :]
    if len(old) < _START.size + _END.size:
        if blocks is None:
            return data
        old = _START.pack(_HEAD, 1, 0, 0, 0, bytes(16)) + bytes(_END.size)
    proper = bytearray(data[: max(start, 0)])
    announcement = value_at(proper, "video", 0, "n_bytes_header") + 4
    if announcement < len(proper):
        proper[announcement] |= 1
    if blocks is None:
        blocks = old[_START.size : -_END.size]
    head, version, _, _, latents_crc, samples = _START.unpack(old[: _START.size])
    n_bytes = _START.size + len(blocks) + _END.size
    crc = zlib.crc32(proper)
    whole = _START.pack(head, version, n_bytes, crc, latents_crc, samples) + blocks
    return bytes(proper) + whole + _END.pack(zlib.crc32(whole), n_bytes, TAIL)


def change_trailer(rng: Random, data: bytes, last: Part) -> bytes:
    """Change the trailer of a stream, or append one; ``last`` is the last part of the stream."""
    start = last.start if last.kind == "trailer" else len(data)
    if rng.random() < 0.3 and start < len(data):
        changed = bytearray(data)
        place = start + rng.choice(list(_PLACES.values()))
        if place < len(data):
            changed[place] = rng.choice((0, 1, 2, 255, changed[place] ^ 1))
        return seal(bytes(changed), start=start)
    blocks = data[start + _START.size : -_END.size] if start < len(data) else b""
    return seal(data, _change_blocks(rng, blocks), start)


def _change_blocks(rng: Random, blocks: bytes) -> bytes:
    pieces = []
    while len(blocks) >= 5:
        size = 5 + int.from_bytes(blocks[1:5], "big")
        pieces.append(blocks[:size])
        blocks = blocks[size:]
    for _ in range(rng.choice((1, 1, 2))):
        data = rng.choice((*_DATA, rng.randbytes(rng.randrange(9))))
        n_bytes = rng.choice((len(data),) * 6 + (len(data) + 1, 0, 1 << 31, (1 << 32) - 1))
        block = struct.pack(">BI", rng.choice((0, 1, 2, 2, 3, 3, 3, 4, 255)), n_bytes) + data
        at = rng.randrange(len(pieces) + 1)
        pieces[at : at + rng.randrange(2)] = [block] * rng.choice((1, 1, 1, 1, 0, 2))
    if rng.random() < 0.01:
        pieces = pieces[:1] * rng.choice((1023, 1024, 1025))
    if rng.random() < 0.1:
        pieces.append(rng.randbytes(rng.randrange(5)))
    return b"".join(pieces)
