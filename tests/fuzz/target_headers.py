# SPDX-License-Identifier: BSD-3-Clause
"""Targets that read headers and trailers: nothing is entropy-decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numchic
from fuzz.outcome import HEADER_LIMITS, FindingError, error_outcome, require
from numchic_bitstream import (
    NumchicError,
    Stream,
    StreamError,
    append_trailer,
    dump,
    read_stream,
    read_trailer,
    write_stream,
)
from numchic_bitstream.bits import BitReader, Entry
from numchic_bitstream.v5.headers import (
    read_coolchic_header,
    read_frame_header,
    read_video_header,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)

_READERS: tuple[tuple[Callable[..., Any], Callable[[Any], bytes]], ...] = (
    (read_video_header, write_video_header),
    (read_frame_header, write_frame_header),
    (read_coolchic_header, write_coolchic_header),
)


def headers(data: bytes) -> str:
    """Read a single header and write it again.

    The first byte says which (modulo 3) and at which offset it starts (the highest two bits).
    """
    if not data:
        return "empty"
    kind, body = data[0] % 3, data[1:]
    offset = min(data[0] >> 6, len(body))
    read, write = _READERS[kind]
    try:
        parsed = read(body, offset)
    except StreamError as error:
        return error_outcome(error, len(body))
    written = write(parsed.header)
    if written == body[offset : offset + parsed.header.n_bytes_header]:
        return f"canonical {kind}"
    require(not _is_canonical(body, parsed.entries), "a canonical header is written otherwise")
    expected = dataclasses.replace(parsed.header, n_bytes_header=len(written))
    require(read(written, 0).header == expected, "a written header reads otherwise")
    return f"header {kind}"


def _is_canonical(data: bytes, entries: Sequence[Entry]) -> bool:
    """Whether a header has no extra bytes, no padding that is not zero, and no negative zero."""
    start, last = entries[0].bit_offset, entries[-1]
    end = last.bit_offset + last.n_bits
    sizes = [entry.value for entry in entries if entry.field == "n_bytes_header"]
    signed = [e for e in entries if e.field.startswith("global_flow") and e.value == 0]
    return (
        sizes == [(end + 7) // 8 - start // 8]
        and BitReader(data, end).read(-end % 8, "padding") == 0
        and all(BitReader(data, e.bit_offset).read(e.n_bits, e.field) == 0 for e in signed)
    )


def streams(data: bytes) -> str:
    """Read a stream, without its payloads, and write it again."""
    sections: list[tuple[Entry, ...]] = []

    def listen(title: str, entries: tuple[Entry, ...]) -> None:
        if not title.startswith("payloads"):
            sections.append(entries)

    try:
        stream = read_stream(data, HEADER_LIMITS, listener=listen)
    except NumchicError as error:
        return error_outcome(error, len(data))
    written = write_stream(stream)
    if written == data[: stream.n_bytes]:
        return "canonical stream"
    canonical = all(_is_canonical(data, entries) for entries in sections)
    require(not canonical, "a canonical stream is written otherwise")
    again = read_stream(written, HEADER_LIMITS)
    require(_essence(again) == _essence(stream), "a written stream reads otherwise")
    require(write_stream(again) == written, "a written stream is written otherwise")
    return "stream"


def _essence(stream: Stream) -> Any:
    """Everything but sizes of headers and positions."""

    def bare(header: Any) -> Any:
        return dataclasses.replace(header, n_bytes_header=0)

    return bare(stream.header), [
        (bare(frame.header), bare(part.header), part.nn_payload, part.latent_payload)
        for frame in stream.frames
        for part in frame.parts
    ]


def trailer(data: bytes) -> str:
    """Read a trailer and write it again; in one of four look whether damage is noticed."""
    kinds: list[int] = []

    def listen(_: str, entries: tuple[Entry, ...]) -> None:
        kinds.extend(int(str(e.value)) for e in entries if e.field.endswith(".type"))

    try:
        stream = read_stream(data, HEADER_LIMITS)
        found = read_trailer(data, stream, HEADER_LIMITS, listener=listen)
    except NumchicError as error:
        return error_outcome(error, len(data))
    if found is None:
        return "no trailer"
    proper = data[: stream.n_bytes]
    written = append_trailer(proper, found.latents_crc, found.samples, found.metadata)
    again = read_trailer(written, read_stream(written, HEADER_LIMITS))
    require(again == found, "a written trailer reads otherwise")
    # Blocks of known types are written first, in the order of their types.
    canonical = kinds == sorted(kinds, key=lambda kind: min(kind, 4))
    require(written == data or not canonical, "a canonical trailer is written otherwise")
    if zlib.crc32(data) % 4 == 0:
        _damage(data, zlib.crc32(data) // 4 % (8 * len(data)))
    return f"trailer, {min(len(kinds), 5)} blocks"


def _damage(data: bytes, bit: int) -> None:
    """Flip one bit, and cut the data at its byte; a trailer must not allow either."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    for damaged in (bytes(flipped), data[: bit // 8]):
        with contextlib.suppress(NumchicError):
            read_trailer(damaged, read_stream(damaged, HEADER_LIMITS))
            raise FindingError(f"damage of bit {bit} is not noticed")


def info(data: bytes) -> str:
    """Describe and list a stream."""
    try:
        lines = list(dump(data, HEADER_LIMITS))
        described = numchic.read_info(data, limits=HEADER_LIMITS)
    except NumchicError as error:
        return error_outcome(error, len(data))
    json.dumps(described.to_dict(), allow_nan=False)
    require(len(lines) >= 20, "fields are missing")
    require(described.n_bytes + described.trailing_bytes == len(data), "bytes are missing")
    return f"{described.n_frames} frames, {described.data_type}, {described.bitdepth}"
