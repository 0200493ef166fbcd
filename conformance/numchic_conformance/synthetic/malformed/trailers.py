# SPDX-License-Identifier: BSD-3-Clause
"""Streams with a trailer (docs/trailer.md), good and damaged.

Decoders that do not know trailers decode all of them, so that none must be refused; where the
stream itself is whole, to the picture without a trailer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from numchic_bitstream import Metadata, read_stream
from numchic_bitstream.v5.stream import announce_trailer
from numchic_bitstream.v5.trailer import HEAD, TAIL
from numchic_conformance.manifest import Expect
from numchic_conformance.synthetic.malformed.case import STILL, VIDEO, Case, base
from numchic_conformance.synthetic.malformed.editing import (
    Change,
    append,
    change_all,
    extend,
    flip,
    header_end,
    keep,
    put,
)
from numchic_conformance.synthetic.malformed.sealing import (
    EXIF,
    FULL,
    SIZE,
    either,
    rewritten,
    with_trailer,
)
from numchic_conformance.synthetic.recipe import Recipe, still


def trailer_cases() -> Iterator[Case]:
    """Return all cases with trailers."""
    yield from _good()
    yield from _cut()
    yield from _damaged()
    yield from _signs()
    yield from _damaged_streams()


def _case(name: str, description: str, *changes: Change, good: Recipe = STILL) -> Case:
    return Case(
        id=f"trailer-{name}",
        description=f"Trailer: {description}.",
        change=change_all(*changes),
        expect=Expect.DECODE,
        good=good,
        same_picture=True,
        features=("trailer",),
    )


def _good() -> Iterator[Case]:
    yield _case("plain", "without metadata", with_trailer())
    yield _case("without-samples", "no digest of the samples", with_trailer(samples=False))
    yield _case("metadata", "profile, Exif, texts and unknown blocks", with_trailer(FULL))
    yield _case("icc", "an ICC profile", with_trailer(Metadata(icc=FULL.icc)))
    yield _case("icc-empty", "an ICC profile of no bytes", with_trailer(Metadata(icc=b"")))
    yield _case("exif", "Exif data, big-endian", with_trailer(Metadata(exif=EXIF)))
    yield _case(
        "exif-little-endian", "Exif data, little-endian", with_trailer(Metadata(exif=b"II*\0"))
    )
    yield _case("text", "a text", with_trailer(Metadata(text=(("Comment", "none"),))))
    yield _case(
        "most-blocks", "1024 blocks, the most there can be",
        with_trailer(Metadata(other=((9, b""),) * 1024)),
    )  # fmt: skip
    yield _case(
        "after-extended-header",
        "announced in a frame header with extra bytes, where the bit does not move",
        extend("frame 0", b"more"), with_trailer(),
    )  # fmt: skip
    yield _case(
        "common-randomness", "of a picture with common randomness, whose samples are not recorded",
        with_trailer(samples=False),
        good=still("base-randomness", "", img_size=(6, 12), flag_common_randomness=1),
    )  # fmt: skip
    yield _case("video", "of a video", with_trailer(), good=VIDEO)


def _cut() -> Iterator[Case]:
    whole = with_trailer(FULL)
    size = len(whole(base(STILL))) - len(base(STILL))
    for name, what, kept, field in (
        ("off", "announced but cut off at the end of the stream", 0, "trailer"),
        ("after-one-byte", "cut after one byte", 1, "trailer"),
        ("after-head", "cut after its head", 4, "trailer"),
        ("at-44", "cut to one byte less than the least", 44, "trailer"),
        ("in-blocks", "cut inside its blocks", 100, "trailer.n_bytes"),
        ("before-crc", "cut before its CRC", size - 12, "trailer.n_bytes"),
        ("before-tail", "cut before its tail", size - 4, "trailer.n_bytes"),
        ("last-byte", "cut before its last byte", size - 1, "trailer.n_bytes"),
    ):
        yield either(
            f"cut-{name}", what, "IntegrityError", field, whole, keep(len(base(STILL)) + kept)
        )


def _flip(place: int, bit: int = 0) -> Change:
    """Flip a bit of a byte counted from the end of the good still, or back from the end of data."""

    def change(data: bytes) -> bytes:
        flipped = bytearray(data)
        flipped[place + len(base(STILL)) if place >= 0 else place] ^= 1 << bit
        return bytes(flipped)

    return change


def _damaged() -> Iterator[Case]:
    """One bit of every field flipped."""
    rows = (
        ("head", 0, "trailer.head"),
        ("head-end", 3, "trailer.head"),
        ("version", 4, "trailer.trailer_crc"),
        ("n-bytes", 8, "trailer.n_bytes"),
        ("n-bytes-high", 5, "trailer.n_bytes"),
        ("stream-crc", 9, "trailer.trailer_crc"),
        ("latents-crc", 13, "trailer.trailer_crc"),
        ("samples", 20, "trailer.trailer_crc"),
        ("block-type", 33, "trailer.trailer_crc"),
        ("block-size", 37, "trailer.trailer_crc"),
        ("block-data", 50, "trailer.trailer_crc"),
        ("trailer-crc", -12, "trailer.trailer_crc"),
        ("n-bytes-again", -5, "trailer.n_bytes_again"),
        ("tail", -4, "trailer.tail"),
        ("tail-end", -1, "trailer.tail"),
    )
    for name, place, field in rows:
        yield either(
            f"flip-{name}", f"a bit of its {name.replace('-', ' ')} is flipped",
            "IntegrityError", field, with_trailer(FULL), _flip(place),
        )  # fmt: skip


def _unannounced(data: bytes) -> bytes:
    """Take back the announcement, and let the CRC of the stream agree."""
    plain = flip("frame 0", 1)(data)
    return rewritten(stream_crc=zlib.crc32(plain[:-SIZE]))(plain)


def _announced(data: bytes) -> bytes:
    return announce_trailer(data, header_end(data, "video"))


def _signs() -> Iterator[Case]:
    """What makes a reader look for a trailer."""
    rows: tuple[tuple[str, str, str, tuple[Change, ...]], ...] = (
        ("missing", "announced, but nothing follows", "trailer", (_announced,)),
        (
            "garbage", "announced, but 60 other bytes follow", "trailer.head",
            (_announced, append(bytes(60))),
        ),
        (
            "not-announced", "whole, but not announced", "trailer.announcement",
            (with_trailer(), _unannounced),
        ),
        (
            "head-only", "bytes after the last frame that begin like one", "trailer.n_bytes",
            (append(HEAD + bytes(60)),),
        ),
        (
            "tail-only", "bytes after the last frame that end like one", "trailer.head",
            (append(bytes(60) + TAIL),),
        ),
        (
            "followed", "one more byte after it", "trailer.n_bytes",
            (with_trailer(), append(b"\0")),
        ),
        (
            "twice", "the same trailer twice", "trailer.n_bytes", (with_trailer(), _repeat),
        ),
        (
            "displaced", "a byte between the stream and its trailer", "trailer.head",
            (with_trailer(), _displace),
        ),
    )  # fmt: skip
    for name, what, field, changes in rows:
        yield either(name, what, "IntegrityError", field, *changes)


def _repeat(data: bytes) -> bytes:
    return data + data[-SIZE:]


def _displace(data: bytes) -> bytes:
    return data[:-SIZE] + b"\0" + data[-SIZE:]


def _damaged_streams() -> Iterator[Case]:
    """A bit of the stream flipped where nothing else would notice, or the end moved."""
    data = base(STILL)
    part = read_stream(data).frames[0].residue
    places = (
        ("latents", "in the middle of the latents", (part.latent_offset + len(data)) // 2),
        ("last-latents", "in the last word of the latents", len(data) - 3),
        ("networks", "in the last code of the networks", part.latent_offset - 1),
        ("announcement", "that announces it", header_end(data, "frame 0") - 1),
    )
    for name, what, place in places:
        yield either(
            f"stream-flip-{name}", f"a bit of the stream {what} is flipped", "IntegrityError",
            "trailer.stream_crc", with_trailer(), _flip(place - len(data) - SIZE),
            same_picture=name == "announcement",
        )  # fmt: skip
    size = len(with_trailer(FULL)(data)) - len(data)
    for n, field in ((4, "trailer.head"), (size // 4 * 4, "trailer")):
        yield either(
            f"stream-longer-by-{n}",
            f"n_bytes_latent is {n} bytes too large, so that the latents swallow part of it",
            "IntegrityError", field, with_trailer(FULL),
            put("residue 0", "n_bytes_latent", len(part.latent_payload) + n),
        )  # fmt: skip
