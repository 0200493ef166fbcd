# SPDX-License-Identifier: BSD-3-Clause
"""Listing of every field of headers and trailer: position, size, name, value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numchic_bitstream.bits import Entry
from numchic_bitstream.errors import NumchicError
from numchic_bitstream.generations import read_any
from numchic_bitstream.limits import Limits
from numchic_bitstream.v5.stream import Stream
from numchic_bitstream.v5.trailer import read_trailer


def dump(data: bytes, limits: Limits | None = None) -> Iterator[str]:
    """Yield the listing of a stream line by line.

    A malformed stream is listed up to its first bad header, a damaged trailer up to its first bad
    field; then the error is raised.

    Parameters
    ----------
    data : bytes
    limits : Limits, optional

    Yields
    ------
    str
        ``byte:bit  bits  field  value``, or a title, or the place of a payload.
    """
    sections: list[tuple[str, tuple[Entry, ...]]] = []
    error: NumchicError | None = None
    n_bytes = len(data)
    try:
        stream = read_any(data, limits, listener=lambda *s: sections.append(s))
        n_bytes = stream.n_bytes
        if isinstance(stream, Stream) and read_trailer(
            data, stream, limits, listener=lambda *s: sections.append(s)
        ):
            n_bytes = len(data)
    except NumchicError as caught:
        error = caught
    for title, entries in sections:
        yield title
        for entry in entries:
            yield _line(entry.bit_offset, entry.n_bits, entry.field, entry.value)
        yield from _payloads(entries)
    if error is not None:
        raise error
    if n_bytes < len(data):
        yield f"{len(data) - n_bytes} bytes after the last frame"


def _line(bit_offset: int, n_bits: int, field: str, value: object) -> str:
    return f"  {bit_offset // 8:8d}:{bit_offset % 8} {n_bits:9d}  {field:32s} {value}"


def _payloads(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Lines for the two payloads that follow a Cool-chic header."""
    sizes: dict[str, Any] = {entry.field: entry.value for entry in entries}
    if "nn_n_bytes" not in sizes:
        return
    offset = entries[0].bit_offset // 8 + sizes["n_bytes_header"]
    for field, size_field in (("nn_payload", "nn_n_bytes"), ("latent_payload", "n_bytes_latent")):
        size = sizes[size_field]
        yield _line(8 * offset, 8 * size, field, f"{size} bytes")
        offset += size
