# SPDX-License-Identifier: BSD-3-Clause
"""Make trailers, right ones and wrong ones (docs/trailer.md)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numchic
from numchic.v5.latents import decode_latents
from numchic_bitstream import (
    Metadata,
    append_trailer,
    latents_crc,
    read_parameters,
    read_stream,
    samples_digest,
)
from numchic_bitstream.v5.trailer import HEAD, TAIL
from numchic_conformance.manifest import Expect
from numchic_conformance.synthetic.malformed.case import Case, refuse
from numchic_conformance.synthetic.malformed.editing import Change, change_all
from numchic_conformance.synthetic.seeded import Source

EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
FULL = Metadata(
    icc=Source("icc").data("profile", 40),
    exif=EXIF,
    text=(("Title", "Rings"), ("Titel", "Größe \N{GREEK SMALL LETTER PI}"), ("Title", "")),
    other=((4, b"four"), (255, b"")),
)
SIZE = 45  # of a trailer without blocks


def with_trailer(metadata: Metadata | None = None, *, samples: bool = True) -> Change:
    """Append a trailer that is right."""

    def change(data: bytes) -> bytes:
        stream = read_stream(data)
        parts = [part for frame in stream.frames for part in frame.parts]
        grids = [
            decode_latents(part, read_parameters(part.header, part.nn_payload)) for part in parts
        ]
        digest = None
        if samples and len(stream.frames) == 1:
            digest = samples_digest(numchic.decode(data).pieces())
        return append_trailer(data, latents_crc(grids), digest, metadata)

    return change


def either(
    name: str,
    description: str,
    error: str,
    field: str,
    *changes: Change,
    same_picture: bool = True,
) -> Case:
    """Return a case that decoders without trailers decode."""
    case = refuse(
        f"trailer-{name}", f"Trailer: {description}.", change_all(*changes), error, field, "trailer"
    )
    return replace(case, expect=Expect.EITHER, same_picture=same_picture)


def rewritten(
    blocks: bytes = b"",
    *,
    version: int = 1,
    stream_crc: int | None = None,
    latents: int | None = None,
    samples: bytes | None = None,
) -> Change:
    """Replace fields of a trailer without blocks, with a CRC that fits."""

    def change(data: bytes) -> bytes:
        stream, trailer = data[:-SIZE], data[-SIZE:]
        stream_found, latents_found = struct.unpack(">II", trailer[9:17])
        crcs = (
            stream_found if stream_crc is None else stream_crc,
            latents_found if latents is None else latents,
        )
        n_bytes = struct.pack(">I", SIZE + len(blocks))
        start = HEAD + bytes([version]) + n_bytes + struct.pack(">II", *crcs)
        start += (trailer[17:33] if samples is None else samples) + blocks
        return stream + start + struct.pack(">I", zlib.crc32(start)) + n_bytes + TAIL

    return change
