# SPDX-License-Identifier: BSD-3-Clause
"""Trailers that are whole but say something wrong, and their blocks."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from numchic_conformance.synthetic.malformed.case import Case
from numchic_conformance.synthetic.malformed.editing import Change
from numchic_conformance.synthetic.malformed.sealing import EXIF, either, rewritten, with_trailer


def trailer_content_cases() -> Iterator[Case]:
    """Trailers with a right CRC and wrong contents."""
    yield from _wrong_digests()
    yield from _blocks()


def _wrong_digests() -> Iterator[Case]:
    rows: tuple[tuple[str, str, str, str, Change], ...] = (
        (
            "other-stream", "that of another stream", "IntegrityError", "trailer.stream_crc",
            rewritten(stream_crc=0x12345678),
        ),
        (
            "other-latents", "other latents than those of the stream", "IntegrityError",
            "trailer.latents_crc", rewritten(latents=0x12345678),
        ),
        (
            "other-samples", "other samples than those of the stream", "IntegrityError",
            "trailer.samples", rewritten(samples=bytes(range(16))),
        ),
        (
            "version-2", "whole, but of a version that does not exist", "UnsupportedError",
            "trailer.version", rewritten(version=2),
        ),
    )  # fmt: skip
    for name, what, error, field, change in rows:
        yield either(name, what, error, field, with_trailer(), change)


def _block(kind: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BI", kind, len(data) if size is None else size) + data


def _blocks() -> Iterator[Case]:
    rows = (
        ("reserved", "a block of type 0", _block(0, b"zero"), "block[0].type"),
        ("icc-twice", "two ICC profiles", _block(1, b"a") * 2, "block[1].type"),
        ("exif-twice", "two blocks of Exif data", _block(2, EXIF) * 2, "block[1].type"),
        ("exif-not-tiff", "Exif data that are no TIFF structure", _block(2, b"Exif\0\0MM\0*"),
         "block[0].data"),
        ("text-not-utf8", "a text that is not UTF-8", _block(3, b"key\0\xff"), "block[0].data"),
        ("text-without-value", "a text without a null character", _block(3, b"key"),
         "block[0].data"),
        ("text-without-key", "a text without a key", _block(3, b"\0value"), "block[0].data"),
        ("text-two-nulls", "a text with two null characters", _block(3, b"a\0b\0c"),
         "block[0].data"),
        ("block-cut", "a block shorter than its type and size", b"\1\0\0\0", "block[0]"),
        ("block-too-long", "a block longer than its space", _block(4, b"four", 5),
         "block[0].n_bytes"),
        ("block-huge", "a block of 4 GB that are not there", _block(1, b"", 0xFFFFFFFF),
         "block[0].n_bytes"),
        ("too-many-blocks", "1025 blocks", _block(9, b"") * 1025, "block[1024]"),
    )  # fmt: skip
    for name, what, blocks, field in rows:
        yield either(
            name, what, "CorruptError", f"trailer.{field}", with_trailer(), rewritten(blocks)
        )
