# SPDX-License-Identifier: BSD-3-Clause
"""Listing of every field of headers and trailer, and of payloads: position, size, name, value."""

from __future__ import annotations

from collections.abc import Iterator

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
        ``byte:bit  bits  field  value``, or a title.
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
            place = f"{entry.bit_offset // 8:8d}:{entry.bit_offset % 8}"
            yield f"  {place} {entry.n_bits:9d}  {entry.field:32s} {entry.value}"
    if error is not None:
        raise error
    if n_bytes < len(data):
        yield f"{len(data) - n_bytes} bytes after the last frame"
