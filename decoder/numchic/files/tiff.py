# SPDX-License-Identifier: BSD-3-Clause
"""TIFF files without compression, RGB of 8 or 16 bits; Pillow cannot write 16."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_SHORT, _LONG, _UNDEFINED = 3, 4, 7
_SIZES = {_SHORT: 2, _LONG: 4, _UNDEFINED: 1}
_HEADER = struct.Struct("<2sHI")
_ENTRY = struct.Struct("<HHI4s")


def write_tiff(samples: NDArray[np.uint8 | np.uint16], icc: bytes | None) -> bytes:
    """Contents of a TIFF file, little-endian.

    Parameters
    ----------
    samples : uint8[H, W, 3] or uint16[H, W, 3]
    icc : bytes or None
        Colour profile.
    """
    height, width, _ = samples.shape
    strip = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    strip += bytes(len(strip) % 2)  # what follows starts at an even offset
    bits = struct.pack("<3H", *[8 * samples.itemsize] * 3)
    tags = [
        (256, _LONG, struct.pack("<I", width)),
        (257, _LONG, struct.pack("<I", height)),
        (258, _SHORT, bits),
        (259, _SHORT, struct.pack("<H", 1)),  # no compression
        (262, _SHORT, struct.pack("<H", 2)),  # RGB
        (273, _LONG, struct.pack("<I", _HEADER.size)),  # where the only strip starts
        (277, _SHORT, struct.pack("<H", 3)),  # channels
        (278, _LONG, struct.pack("<I", height)),  # rows of the strip
        (279, _LONG, struct.pack("<I", samples.nbytes)),
    ]
    if icc is not None:
        tags.append((34675, _UNDEFINED, icc))
    directory = _HEADER.size + len(strip)
    entries, rest = b"", b""
    after = directory + 2 + len(tags) * _ENTRY.size + 4
    for tag, kind, value in tags:
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<I", after + len(rest))
            rest += value + bytes(len(value) % 2)
        entries += _ENTRY.pack(tag, kind, len(value) // _SIZES[kind], place)
    head = _HEADER.pack(b"II", 42, directory)
    return head + strip + struct.pack("<H", len(tags)) + entries + bytes(4) + rest
