# SPDX-License-Identifier: BSD-3-Clause
"""PNG files, and the depth that a PNG file says it has.

PNG has samples of 8 and 16 bits. Those of 9 to 15 bits are repeated from their highest bit on until
16 are full, so that the largest value stays the largest; the chunk sBIT says how many bits are
true, and :func:`restored` gives them back.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from numchic.picture import Samples
from numchic_bitstream.errors import CorruptError, TruncatedError
from numchic_bitstream.metadata import Metadata

PNG_LEVEL = 1
"""Compression unless another is asked for: no more of it than decoding a picture takes."""

Bytes = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_UP, _AVERAGE = 2, 3
_BAND_ROWS = 64


def write_png(planes: Sequence[Samples], bitdepth: int, metadata: Metadata, level: int) -> bytes:
    """Contents of a PNG file, of 16 bits if the samples have more than 8.

    Parameters
    ----------
    planes : one or three uint8[H, W] or uint16[H, W]
        Grey, or R, G, B.
    bitdepth : int
        Their true depth, 8 .. 16.
    metadata : Metadata
    level : int
        How hard zlib tries, 0 .. 9.
    """
    height, width = planes[0].shape
    colour = _GREY if len(planes) == 1 else _RGB
    stored = 8 if bitdepth == 8 else 16
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, stored, colour, 0, 0, 0)),
        *([(b"sBIT", bytes([bitdepth] * len(planes)))] if bitdepth < stored else []),
        *_ancillary(metadata),
        (b"IDAT", _compressed(planes, bitdepth, level)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _ancillary(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)
    for key, value in texts(metadata):
        yield b"iTXt", key.encode("latin-1") + bytes(5) + value.encode()
    if metadata.exif:
        yield b"eXIf", metadata.exif  # the last word, where a text is called "exif"


def texts(metadata: Metadata) -> Iterator[tuple[str, str]]:
    """Those texts whose key PNG can hold: 1 to 79 printable characters of Latin-1."""
    for key, value in metadata.text:
        if len(key) < 80 and key.isprintable() and key == key.strip() and max(key) <= "\xff":
            yield key, value


def _compressed(planes: Sequence[Samples], bitdepth: int, level: int) -> bytes:
    """All rows, filtered and compressed band by band, so that they stay in a processor's cache."""
    height, width = planes[0].shape
    filtered = _averaged if bitdepth == 8 else _subtracted
    compressor = zlib.compressobj(level)
    parts = []
    last = np.zeros((1, width, len(planes) * (1 if bitdepth == 8 else 2)), np.uint8)
    for y in range(0, height, _BAND_ROWS):
        band: NDArray[Any] = np.stack([plane[y : y + _BAND_ROWS] for plane in planes], axis=-1)
        if bitdepth > 8:
            band = expanded(band, bitdepth).astype(">u2")
        pixels = band.view(np.uint8)
        above = np.concatenate([last, pixels[:-1]])
        parts.append(compressor.compress(filtered(pixels, above).data))
        last = pixels[-1:]
    return b"".join([*parts, compressor.flush()])


def _averaged(pixels: Bytes, above: Bytes) -> Bytes:
    """Rows less the mean of the pixels above and on the left, which suits photographs best."""
    left = np.zeros_like(pixels)
    left[:, 1:] = pixels[:, :-1]
    return _rows(_AVERAGE, pixels - ((left & above) + ((left ^ above) >> 1)))


def _subtracted(pixels: Bytes, above: Bytes) -> Bytes:
    """Rows less the row above, which suits repeated bits best."""
    return _rows(_UP, pixels - above)


def _rows(kind: int, differences: Bytes) -> Bytes:
    rows = differences.reshape(len(differences), -1)
    return np.insert(rows, 0, kind, axis=1)


def expanded(samples: NDArray[np.uint16], bitdepth: int) -> NDArray[np.uint16]:
    """Samples of 8 to 16 bits, repeated until they have 16."""
    return samples << np.uint16(16 - bitdepth) | samples >> np.uint16(2 * bitdepth - 16)


def restored(samples: NDArray[np.uint16], bitdepth: int) -> NDArray[np.uint16] | None:
    """Samples of ``bitdepth`` bits of which those given were made, or None if they were not.

    Parameters
    ----------
    samples : uint16[...]
        They have 16 bits; those below ``bitdepth`` may repeat the others, as :func:`expanded`
        does, or be
        zero.
    bitdepth : int
        8 .. 16, such as :func:`significant_bits` finds.
    """
    shift = np.uint16(16 - bitdepth)
    true = samples >> shift
    for again in (expanded(true, bitdepth), true << shift):
        if np.array_equal(again, samples):
            return true
    return None


def significant_bits(file: BinaryIO) -> int | None:
    """Depth of the colours in the chunk sBIT of a PNG file; None without the chunk.

    Raises
    ------
    TruncatedError, CorruptError
        The file is damaged before its first IDAT.
    """
    file.seek(len(_SIGNATURE))
    while True:
        offset = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise TruncatedError("the PNG file ends before its samples", None, offset)
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            return None
        if kind != b"sBIT":
            file.seek(length + 4, os.SEEK_CUR)
            continue
        data = file.read(4)[:length]
        if not 1 <= length <= 4 or len(data) < length:
            raise CorruptError("malformed chunk", "sBIT", offset, f"{length} bytes", "1 .. 4")
        return max(data[: (length - 1) | 1])  # without alpha
