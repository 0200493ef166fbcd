# SPDX-License-Identifier: BSD-3-Clause
"""The trailer, written from docs/trailer.md alone."""

from __future__ import annotations

from typing import Any

HEAD, TAIL = bytes.fromhex("89434354"), bytes.fromhex("54434389")


def crc32(data: bytes) -> int:
    """Bit by bit: reflected polynomial 0xEDB88320, initial value and final complement all ones."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def number(data: bytes, start: int, n_bytes: int) -> int:
    return sum(byte << 8 * (n_bytes - 1 - i) for i, byte in enumerate(data[start:][:n_bytes]))


def require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def is_announced(data: bytes) -> bool:
    first_frame = number(data, 4, 3) >> 4 & 0xFFFF
    return data[first_frame + 4] % 2 == 1


def has_sign(data: bytes, end: int) -> bool:
    """Whether one of the three signs is there; ``end`` is where the last frame ends."""
    if is_announced(data) or data[end:][:4] == HEAD:
        return True
    if len(data) < 8 or data[-4:] != TAIL:
        return False
    start = len(data) - number(data, len(data) - 8, 4)
    return len(data) - end >= 4 or (0 <= start <= len(data) - 45 and data[start:][:4] == HEAD)


def read_trailer(data: bytes, end: int) -> dict[str, Any] | None:
    """Fields of the trailer of a stream whose last frame ends at byte ``end``.

    None without any sign of a trailer; ValueError if anything is wrong.
    """
    if not has_sign(data, end):
        return None
    trailer = data[end:]
    n_bytes = len(trailer)
    require(n_bytes >= 45, "missing")
    require(trailer[:4] == HEAD and trailer[-4:] == TAIL, "magic")
    require(number(trailer, 5, 4) == n_bytes == number(trailer, n_bytes - 8, 4), "size")
    require(number(trailer, n_bytes - 12, 4) == crc32(trailer[:-12]), "trailer_crc")
    require(trailer[4] == 1, "version")
    require(number(trailer, 9, 4) == crc32(data[:end]), "stream_crc")
    require(is_announced(data), "announcement")
    blocks, position = [], 33
    while position < n_bytes - 12:
        require(position + 5 <= n_bytes - 12, "header of a block")
        size = number(trailer, position + 1, 4)
        require(position + 5 + size <= n_bytes - 12, "size of a block")
        blocks.append((trailer[position], trailer[position + 5 : position + 5 + size]))
        position += 5 + size
    require(len(blocks) <= 1024, "blocks")
    kinds = [kind for kind, _ in blocks]
    require(0 not in kinds and kinds.count(1) < 2 and kinds.count(2) < 2, "types")
    require(all(d[:4] in (b"II*\0", b"MM\0*") for kind, d in blocks if kind == 2), "exif")
    texts = [data.decode().split("\0") for kind, data in blocks if kind == 3]
    require(all(len(text) == 2 and text[0] for text in texts), "text")
    return {
        "latents_crc": number(trailer, 13, 4),
        "samples": trailer[17:33] if any(trailer[17:33]) else None,
        "icc": next((data for kind, data in blocks if kind == 1), None),
        "exif": next((data for kind, data in blocks if kind == 2), None),
        "text": [tuple(text) for text in texts],
        "other": [(kind, data) for kind, data in blocks if kind > 3],
    }
