# SPDX-License-Identifier: BSD-3-Clause
"""Changes that turn a good stream into a bad one; writers refuse to make those."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from numchic_bitstream import CoolChic, Frame, Stream, read_stream, write_stream
from numchic_bitstream.bits import Entry

Change = Callable[[bytes], bytes]
"""Takes a stream, gives another one."""


def headers(data: bytes) -> dict[str, dict[str, Entry]]:
    """Fields of all headers of a good stream.

    They are called ``video``, ``frame 0``, ``residue 0``, ``motion 1`` ..., by coding order.
    """
    listed: list[tuple[str, tuple[Entry, ...]]] = []
    read_stream(data, listener=lambda *section: listed.append(section))
    result: dict[str, dict[str, Entry]] = {}
    n_frames = 0
    for title, entries in listed:
        if title.startswith("payloads"):
            continue
        if title.startswith("frame"):
            n_frames += 1
        kind = next(k for k in ("video", "frame", "residue", "motion") if k in title)
        name = kind if kind == "video" else f"{kind} {n_frames - 1}"
        result[name] = {entry.field: entry for entry in entries}
    return result


def header_start(data: bytes, header: str) -> int:
    """First byte of a header of a good stream."""
    return next(iter(headers(data)[header].values())).bit_offset // 8


def header_end(data: bytes, header: str) -> int:
    """Byte after a header of a good stream."""
    size = headers(data)[header]["n_bytes_header"].value
    assert isinstance(size, int)
    return header_start(data, header) + size


def put(header: str, field: str, code: int) -> Change:
    """Overwrite the bits of a field with a code."""

    def change(data: bytes) -> bytes:
        entry = headers(data)[header][field]
        shift = 8 * len(data) - entry.bit_offset - entry.n_bits
        mask = ((1 << entry.n_bits) - 1) << shift
        value = int.from_bytes(data, "big") & ~mask | code << shift
        return value.to_bytes(len(data), "big")

    return change


def change_all(*changes: Change) -> Change:
    """Make several changes, the first one first; only the last may make the stream bad."""

    def change(data: bytes) -> bytes:
        for one in changes:
            data = one(data)
        return data

    return change


def put_all(*fields: tuple[str, str, int]) -> Change:
    """Overwrite several fields of a good stream at once: header, field, code."""

    def change(data: bytes) -> bytes:
        good = int.from_bytes(data, "big")
        value = good
        for header, field, code in fields:
            value ^= int.from_bytes(put(header, field, code)(data), "big") ^ good
        return value.to_bytes(len(data), "big")

    return change


def keep(n_bytes: int) -> Change:
    """Keep only the first bytes, or leave out the last ones when negative."""
    return lambda data: data[:n_bytes]


def keep_header(header: str, more: int = 0) -> Change:
    """Cut some bytes after a header, or before its end when negative."""
    return lambda data: data[: header_end(data, header) + more]


def append(more: bytes) -> Change:
    """Add bytes at the end."""
    return lambda data: data + more


def extend(header: str, extra: bytes) -> Change:
    """Add unknown bytes to a header, which counts them."""

    def change(data: bytes) -> bytes:
        end = header_end(data, header)
        size = end - header_start(data, header) + len(extra)
        longer = put(header, "n_bytes_header", size)(data)
        return longer[:end] + extra + longer[end:]

    return change


def flip(header: str, bits_before_end: int) -> Change:
    """Flip a bit counted back from the end of a header."""

    def change(data: bytes) -> bytes:
        bit = 8 * header_end(data, header) - bits_before_end
        flipped = bytearray(data)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        return bytes(flipped)

    return change


def replace_payloads(
    parameters: Callable[[bytes], bytes] | None = None,
    latents: Callable[[bytes], bytes] | None = None,
    n_bit_pad: int | None = None,
    frame: int = 0,
) -> Change:
    """Change the payloads of the last decoder of a frame; their sizes in the header follow."""

    def change(data: bytes) -> bytes:
        stream = read_stream(data)
        frames = list(stream.frames)
        part = frames[frame].parts[-1]
        header = part.header
        if n_bit_pad is not None:
            header = dataclasses.replace(header, nn_n_bit_pad=n_bit_pad)
        changed = CoolChic(
            header,
            parameters(part.nn_payload) if parameters else part.nn_payload,
            latents(part.latent_payload) if latents else part.latent_payload,
        )
        old = frames[frame]
        residue, motion = (changed, None) if old.motion is None else (old.residue, changed)
        frames[frame] = Frame(old.header, residue, motion)
        return write_stream(Stream(stream.header, tuple(frames)))

    return change


def replace_bits(function: Callable[[str], str]) -> Change:
    """Change the codes of the parameters of a still, as a string of bits without padding."""

    def change(data: bytes) -> bytes:
        part = read_stream(data).frames[0].residue
        n_bits = 8 * len(part.nn_payload)
        bits = f"{int.from_bytes(part.nn_payload, 'big'):0{n_bits}b}"
        bits = function(bits[part.header.nn_n_bit_pad :])
        n_bytes = -(-len(bits) // 8)
        payload = int(bits, 2).to_bytes(n_bytes, "big")
        return replace_payloads(lambda _: payload, n_bit_pad=8 * n_bytes - len(bits))(data)

    return change
