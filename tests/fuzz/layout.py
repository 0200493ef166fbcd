# SPDX-License-Identifier: BSD-3-Clause
"""Where things lie in a stream, as far as its sizes make sense; nothing is checked here."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numchic_bitstream.tables import Field
from numchic_bitstream.v5.headers import COOLCHIC_HEADER, FRAME_HEADER, VIDEO_HEADER

TABLES = {"video": VIDEO_HEADER, "frame": FRAME_HEADER, "coolchic": COOLCHIC_HEADER}
_MAX_PARTS = 24


class Spot(NamedTuple):
    """A field: where it starts in its header, in bits, and how long it is."""

    name: str
    start: int
    n_bits: int


class Part(NamedTuple):
    """A header, a payload or what follows the last frame: bytes ``start`` to ``stop``."""

    kind: str
    start: int
    stop: int


def peek(data: bytes | bytearray, position: int, n_bits: int) -> int:
    """Bits at a position; bits after the end are 0."""
    first, last = position // 8, (position + n_bits + 7) // 8
    window = int.from_bytes(data[first:last].ljust(last - first, b"\0"), "big")
    return (window >> (8 * last - position - n_bits)) & ((1 << n_bits) - 1)


def poke(data: bytearray, position: int, n_bits: int, value: int) -> None:
    """Overwrite bits, with the lowest ones of the value; nothing happens after the end."""
    first, last = position // 8, (position + n_bits + 7) // 8
    if last > len(data):
        return
    shift = 8 * last - position - n_bits
    mask = ((1 << n_bits) - 1) << shift
    window = int.from_bytes(data[first:last], "big") & ~mask | (value << shift) & mask
    data[first:last] = window.to_bytes(last - first, "big")


@functools.lru_cache(4096)
def _spots(kind: str, *values: tuple[str, Any]) -> tuple[Spot, ...]:
    """All fields of a header whose values that others depend on are given."""
    spots: list[Spot] = []

    def add(table: tuple[Field, ...], prefix: str) -> None:
        known = dict(values)
        for field in table:
            if field.present is not None and not field.present(known):
                continue
            for _ in range(1 if field.count is None else field.count(known)):
                if field.elements:
                    add(field.elements, f"{prefix}{field.name}.")
                    continue
                start = spots[-1].start + spots[-1].n_bits if spots else 0
                spots.append(Spot(prefix + field.name, start, field.bits))

    add(TABLES[kind], "")
    return tuple(spots)


_NO_LISTS = (("n_layer_synthesis", 0), ("output_feature_ifce", 0), ("flag_hyperlatent", 0))
_FIXED = {
    "video": _spots("video", ("n_intras", 0), ("n_p_frames", 0)),
    "frame": _spots("frame", ("frame_type", "I")),
    "coolchic": _spots("coolchic", *_NO_LISTS),
}
_BY_NAME = {kind: {spot.name: spot for spot in spots} for kind, spots in _FIXED.items()}


def value_at(data: bytes | bytearray, kind: str, start: int, name: str) -> int:
    """Stored number of a field of the fixed part of the header at byte ``start``."""
    spot = _BY_NAME[kind][name]
    return peek(data, 8 * start + spot.start, spot.n_bits)


def set_value(data: bytearray, kind: str, start: int, name: str, value: int) -> None:
    """Overwrite it."""
    spot = _BY_NAME[kind][name]
    poke(data, 8 * start + spot.start, spot.n_bits, value)


def spots_at(data: bytes | bytearray, kind: str, start: int) -> tuple[Spot, ...]:
    """Fields of the header at byte ``start``, whatever their values."""
    values: list[tuple[str, Any]]
    if kind == "frame":
        values = [("frame_type", "IPBB"[value_at(data, kind, start, "frame_type")])]
    elif kind == "video":
        names = ("n_intras", "n_p_frames")
        values = [(name, value_at(data, kind, start, name) % 9) for name in names]
    else:
        values = [(name, value_at(data, kind, start, name)) for name, _ in _NO_LISTS]
        values[1] = ("output_feature_ifce", min(values[1][1], 1))
    return _spots(kind, *values)


def split(data: bytes | bytearray) -> list[Part]:
    """Headers and payloads, in the order of the stream, and what follows ("trailer")."""
    parts: list[Part] = []
    position = 0

    def take(kind: str, size: int) -> None:
        nonlocal position
        parts.append(Part(kind, position, min(position + size, len(data))))
        position = parts[-1].stop

    take("video", value_at(data, "video", 0, "n_bytes_header"))
    n_frames = value_at(data, "video", 0, "n_frames")
    while n_frames > 0 and position < len(data) and len(parts) < _MAX_PARTS:
        n_frames -= 1
        n_decoders = 1 if value_at(data, "frame", position, "frame_type") == 0 else 2
        take("frame", value_at(data, "frame", position, "n_bytes_header"))
        for _ in range(n_decoders):
            start = position
            take("coolchic", value_at(data, "coolchic", start, "n_bytes_header"))
            take("nn", value_at(data, "coolchic", start, "nn_n_bytes"))
            take("latent", value_at(data, "coolchic", start, "n_bytes_latent"))
    if position < len(data):
        take("trailer", len(data) - position)
    return parts
