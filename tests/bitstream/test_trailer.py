# SPDX-License-Identifier: BSD-3-Clause
"""The trailer: format, signs, checks, listing."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from flips import damaged
from numchic_bitstream import (
    CorruptError,
    IntegrityError,
    LimitError,
    Limits,
    Metadata,
    NumchicError,
    Stream,
    UnsupportedError,
    UsageError,
    append_trailer,
    dump,
    latents_crc,
    read_stream,
    read_trailer,
    samples_digest,
    write_stream,
)
from numchic_bitstream.v5.stream import ANNOUNCEMENT_BYTE
from numchic_bitstream.v5.trailer import HEAD, TAIL
from reference import trailer as naive

DOCUMENT = Path(__file__).parents[2] / "docs" / "trailer.md"
STILL, VIDEO = builders.stream(), builders.video()
DIGEST = bytes(range(16))
METADATA = Metadata(
    icc=b"profile",
    exif=b"MM\0*\0\0\0\x08",
    text=(("Title", "Rings"), ("Titel", "Ringe \N{OGHAM LETTER BEITH}"), ("Title", "")),
    other=((4, b"four"), (255, b""), (4, b"again")),
)
WHOLE = append_trailer(STILL, 0x12345678, DIGEST, METADATA)
START = len(STILL)
STREAMS = {
    "still": append_trailer(STILL, 7),
    "metadata": WHOLE,
    "video": append_trailer(VIDEO, 0, DIGEST),
}


def checked(data: bytes) -> Any:
    return read_trailer(data, read_stream(data))


def rewritten(
    data: bytes = STREAMS["still"], /, blocks: bytes = b"", version: int = 1, head: bytes = HEAD
) -> bytes:
    """Write the trailer anew with other blocks or another version, and with a CRC that fits."""
    stream, trailer = data[:START], data[START:]
    n_bytes = struct.pack(">I", 45 + len(blocks))
    start = head + bytes([version]) + n_bytes + trailer[9:33] + blocks
    return stream + start + struct.pack(">I", zlib.crc32(start)) + n_bytes + TAIL


def block(kind: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BI", kind, len(data) if size is None else size) + data


# --- What is written is read ---------------------------------------------------------------------


def test_read_what_was_written() -> None:
    trailer = checked(WHOLE)
    assert (trailer.latents_crc, trailer.samples) == (0x12345678, DIGEST)
    assert trailer.metadata == METADATA
    assert trailer.offset == START
    assert trailer.stream_crc == zlib.crc32(WHOLE[:START])


def test_a_trailer_without_metadata_has_45_bytes() -> None:
    assert len(STREAMS["still"]) == len(STILL) + 45
    trailer = checked(STREAMS["still"])
    assert (trailer.samples, trailer.metadata) == (None, None)
    assert append_trailer(STILL, 7, bytes(16), Metadata()) == STREAMS["still"]


@pytest.mark.parametrize("data", [STILL, VIDEO], ids=["still", "video"])
def test_only_the_announcing_bit_of_the_stream_changes(data: bytes) -> None:
    place = read_stream(data).header.n_bytes_header + ANNOUNCEMENT_BYTE
    changed = append_trailer(data, 0)[: len(data)]
    assert changed[place] == data[place] + 1
    assert changed[:place] + data[place : place + 1] + changed[place + 1 :] == data


@pytest.mark.parametrize("name", STREAMS)
def test_the_announcement_survives_reading_and_writing(name: str) -> None:
    data = STREAMS[name]
    stream = read_stream(data)
    assert stream.trailer_announced
    assert write_stream(stream) == data[: stream.n_bytes]
    assert append_trailer(write_stream(stream), 0) == append_trailer(
        write_stream(dataclasses.replace(stream, trailer_announced=False)), 0
    )
    assert not read_stream(STILL).trailer_announced


texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
metadata = st.builds(
    Metadata,
    icc=st.none() | st.binary(max_size=50),
    exif=st.none() | st.binary(max_size=50).map(lambda data: b"II*\0" + data),
    text=st.lists(st.tuples(texts.filter(bool), texts), max_size=4).map(tuple),
    other=st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=9)), max_size=4).map(tuple),
)


@settings(max_examples=50)
@given(metadata, st.integers(0, (1 << 32) - 1), st.none() | st.binary(min_size=16, max_size=16))
def test_round_trip_and_naive_reader(metadata: Metadata, crc: int, samples: bytes | None) -> None:
    data = append_trailer(STILL, crc, samples, metadata)
    trailer = checked(data)
    assert trailer.metadata == (None if metadata == Metadata() else metadata)
    found = naive.read_trailer(data, START)
    assert found == {
        "latents_crc": trailer.latents_crc,
        "samples": trailer.samples,
        "icc": metadata.icc,
        "exif": metadata.exif,
        "text": list(metadata.text),
        "other": list(metadata.other),
    }


def test_the_worked_example_of_the_document() -> None:
    dumps = re.findall(r"```hex\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    stream, trailer = (
        bytes.fromhex("".join(line.split(":")[1] for line in text.splitlines())) for text in dumps
    )
    parsed = checked(stream + trailer)
    assert read_stream(stream).n_bytes == len(stream)
    assert parsed.metadata == Metadata(text=(("Title", "One pixel"),))
    written = append_trailer(
        write_stream(dataclasses.replace(read_stream(stream), trailer_announced=False)),
        parsed.latents_crc,
        parsed.samples,
        parsed.metadata,
    )
    assert written == stream + trailer


# --- Digests -------------------------------------------------------------------------------------


def test_latents_are_hashed_from_coarse_to_fine() -> None:
    fine, coarse = np.arange(-6, 6, dtype=np.int8).reshape(3, 4), np.full((2, 2), -64, np.int8)
    other = np.array([[63]], np.int8)
    expected = zlib.crc32(coarse.tobytes() + fine.tobytes() + other.tobytes())
    assert latents_crc([[fine, coarse], [other]]) == expected
    assert latents_crc([[fine.T.copy().T, coarse], [other]]) == expected  # any memory layout
    assert latents_crc([]) == 0
    trailer = checked(append_trailer(STILL, expected))
    trailer.check_latents(latents_crc([[fine, coarse], [other]]))
    with pytest.raises(IntegrityError) as caught:
        trailer.check_latents(latents_crc([[other], [fine, coarse]]))
    assert (caught.value.field, caught.value.offset) == ("trailer.latents_crc", START + 13)


def test_samples_are_hashed_piece_by_piece() -> None:
    expected = hashlib.sha256(b"one, two").digest()[:16]
    assert samples_digest([b"one", b", ", b"two"]) == expected
    trailer = checked(append_trailer(STILL, 0, expected))
    trailer.check_samples(samples_digest([b"one, two"]))
    with pytest.raises(IntegrityError) as caught:
        trailer.check_samples(samples_digest([b"one"]))
    assert (caught.value.field, caught.value.offset) == ("trailer.samples", START + 17)
    assert caught.value.allowed == expected.hex()
    checked(STREAMS["still"]).check_samples(samples_digest([b"anything"]))  # not recorded


# --- Every error is noticed ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stride"), [("still", 1), ("metadata", 1), ("video", 5)])
def test_every_flip_and_every_truncation_is_noticed(name: str, stride: int) -> None:
    for _, data in damaged(STREAMS[name], stride):
        with pytest.raises(NumchicError) as caught:
            checked(data)
        assert caught.value.field is not None


@pytest.mark.parametrize("more", [b"\0", b"x" * 45, STREAMS["still"][START:], TAIL])
def test_bytes_after_the_trailer_are_noticed(more: bytes) -> None:
    with pytest.raises(IntegrityError):
        checked(STREAMS["still"] + more)


@pytest.mark.parametrize("n_flips", [2, 3])
def test_flips_and_the_naive_reader(n_flips: int) -> None:
    """Both readers agree on what is damaged in the trailer and in the latents."""
    source = np.random.default_rng(n_flips)
    data = STREAMS["still"]
    for bits in source.integers(8 * (START - 20), 8 * len(data), (100, n_flips)):
        flipped = bytearray(data)
        for bit in set(bits.tolist()):
            flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(ValueError, match=r".*"):
            naive.read_trailer(bytes(flipped), START)
        with pytest.raises(NumchicError):
            checked(bytes(flipped))


def without_announcement(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[read_stream(data).header.n_bytes_header + ANNOUNCEMENT_BYTE] &= 0xFE
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (STREAMS["still"][:START], "trailer"),
        (STREAMS["still"][: START + 44], "trailer"),
        (WHOLE[:-1], "trailer.n_bytes"),
        (without_announcement(STREAMS["still"]), "trailer.stream_crc"),
        (without_announcement(STREAMS["still"])[:-4] + b"oops", "trailer.tail"),
        (without_announcement(WHOLE)[:-4], "trailer.n_bytes"),
        (STILL + b"junk" * 20 + TAIL, "trailer.head"),
        (STILL + HEAD, "trailer"),
        (STILL + TAIL, "trailer"),
    ],
)
def test_every_sign_counts(data: bytes, field: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        checked(data)
    assert caught.value.field == field


def test_a_trailer_that_is_not_announced() -> None:
    """Even if its digest says so: what does not announce its trailer may lose it unnoticed."""
    data = bytearray(STREAMS["still"])
    data[:START] = STILL
    data[START + 9 : START + 13] = struct.pack(">I", zlib.crc32(STILL))
    data[-12:-8] = struct.pack(">I", zlib.crc32(data[START:-12]))
    with pytest.raises(IntegrityError) as caught:
        checked(bytes(data))
    assert (caught.value.field, caught.value.offset) == ("trailer.announcement", 12)


@pytest.mark.parametrize("more", [b"", b"x", bytes(100), b"x" + HEAD, TAIL + b"x", b"\x89CC"])
def test_no_sign_no_trailer(more: bytes) -> None:
    assert checked(STILL + more) is None
    assert naive.read_trailer(STILL + more, START) is None


def with_latents(data: bytes, latents: bytes) -> bytes:
    stream = read_stream(data)
    residue = dataclasses.replace(stream.frames[0].residue, latent_payload=latents)
    frame = dataclasses.replace(stream.frames[0], residue=residue)
    return write_stream(dataclasses.replace(stream, frames=(frame,)))


def test_a_payload_may_end_like_a_trailer() -> None:
    for latents in (TAIL, bytes(4) + TAIL, struct.pack(">I", 45) + TAIL, b"\xff" * 4 + TAIL):
        data = with_latents(STILL, latents)
        assert checked(data) is None
        assert naive.read_trailer(data, len(data)) is None


def test_a_payload_that_has_swallowed_a_trailer_is_noticed() -> None:
    """As after an error in the size of the payload that also hides the announcement."""
    latents = read_stream(STILL).frames[0].residue.latent_payload
    swallowed = with_latents(STILL, latents + b"xxx" + STREAMS["still"][START:])
    with pytest.raises(IntegrityError):
        checked(swallowed)
    with pytest.raises(ValueError, match="missing"):
        naive.read_trailer(swallowed, len(swallowed))


# --- Trailers that are whole but malformed -------------------------------------------------------


def test_an_unknown_version() -> None:
    data = rewritten(version=2)
    with pytest.raises(UnsupportedError) as caught:
        checked(data)
    assert (caught.value.field, caught.value.offset) == ("trailer.version", START + 4)
    with pytest.raises(ValueError, match="version"):
        naive.read_trailer(data, START)


@pytest.mark.parametrize(
    ("blocks", "field", "place"),
    [
        (block(0, b"x"), "block[0].type", 0),
        (block(1, b"") + block(1, b"x"), "block[1].type", 5),
        (block(2, b"II*\0") + block(2, b"II*\0"), "block[1].type", 9),
        (block(2, b"Exif\0\0II*\0"), "block[0].data", 5),
        (block(3, b"key"), "block[0].data", 5),
        (block(3, b"\0value"), "block[0].data", 5),
        (block(3, b"key\0value\0"), "block[0].data", 5),
        (block(3, b"key\0\xff"), "block[0].data", 9),
        (block(3, b""), "block[0].data", 5),
        (block(9, b"x", 2), "block[0].n_bytes", 1),
        (block(9, b"", 0xFFFFFFFF), "block[0].n_bytes", 1),
        (block(9, b"x") + b"\x09\0\0\0", "block[1]", 6),
        (block(9, b"") * 1025, "block[1024]", 5 * 1024),
    ],
)
def test_malformed_blocks(blocks: bytes, field: str, place: int) -> None:
    data = rewritten(blocks=blocks)
    with pytest.raises(CorruptError) as caught:
        checked(data)
    assert caught.value.field == f"trailer.{field}"
    assert caught.value.offset == START + 33 + place
    with pytest.raises(ValueError, match=r".*"):
        naive.read_trailer(data, START)


def test_many_blocks() -> None:
    assert len(checked(rewritten(blocks=block(9, b"") * 1024)).metadata.other) == 1024


def test_metadata_are_limited() -> None:
    data = append_trailer(STILL, 0, None, Metadata(icc=bytes(60), other=((7, bytes(40)),)))
    assert read_trailer(data, read_stream(data), Limits(metadata_bytes=100)) is not None
    with pytest.raises(LimitError) as caught:
        read_trailer(data, read_stream(data), Limits(metadata_bytes=99))
    assert (caught.value.field, caught.value.found) == ("metadata_bytes", 100)


def test_the_stream_need_not_be_checked() -> None:
    data = bytearray(WHOLE)
    data[START - 1] ^= 1
    stream = read_stream(bytes(data))
    trailer = read_trailer(bytes(data), stream, check_stream=False)
    assert trailer is not None
    assert trailer.metadata == METADATA
    with pytest.raises(IntegrityError):
        trailer.check_stream(bytes(data), stream)


# --- What cannot be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "arguments", "field"),
    [
        (WHOLE, {}, "data"),
        (STILL + b"x", {}, "data"),
        (STILL, {"latents_crc": -1}, "latents_crc"),
        (STILL, {"latents_crc": 1 << 32}, "latents_crc"),
        (STILL, {"samples": bytes(15)}, "samples"),
        (STILL, {"metadata": Metadata(icc=bytes((1 << 22) + 1))}, "metadata"),
        (STILL, {"metadata": Metadata(other=((4, b""),) * 1025)}, "metadata"),
    ],
)
def test_what_cannot_be_written(data: bytes, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        append_trailer(data, **{"latents_crc": 0} | arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"exif": b"Exif\0\0II*\0"}, "metadata.exif"),
        ({"text": (("", "x"),)}, "metadata.text"),
        ({"text": (("a\0b", "x"),)}, "metadata.text"),
        ({"text": (("a", "x\0"),)}, "metadata.text"),
        ({"text": (("a", "\ud800"),)}, "metadata.text"),
        ({"other": ((3, b""),)}, "metadata.other"),
        ({"other": ((256, b""),)}, "metadata.other"),
    ],
)
def test_malformed_metadata(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        Metadata(**arguments)
    assert caught.value.field == field
    assert str(caught.value).isprintable()


def test_a_broken_stream_gets_no_trailer() -> None:
    with pytest.raises(NumchicError):
        append_trailer(STILL[:-1], 0)


# --- Listing -------------------------------------------------------------------------------------


def test_a_listing_covers_the_trailer() -> None:
    *stream, title, announcement = [*dump(WHOLE)][: len([*dump(STILL)]) + 2]
    fields = [line.split()[:3] for line in [*dump(WHOLE)][len(stream) + 2 :]]
    assert (stream, title) == ([*dump(STILL)], "trailer")
    assert announcement.split() == ["12:7", "1", "trailer.announcement", "1"]
    position = 8 * START
    for place, n_bits, _ in fields:
        byte, bit = map(int, place.split(":"))
        assert 8 * byte + bit == position
        position += int(n_bits)
    assert position == 8 * len(WHOLE)
    names = [name.removeprefix("trailer.") for *_, name in fields]
    assert names[:6] == ["head", "version", "n_bytes", "stream_crc", "latents_crc", "samples"]
    assert names[6:9] == ["block[0].type", "block[0].n_bytes", "block[0].data"]
    assert names[-3:] == ["trailer_crc", "n_bytes_again", "tail"]


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (WHOLE[:START], "trailer.announcement"),
        (WHOLE[:-1], "trailer.n_bytes"),
        (WHOLE[:-1] + b"x", "trailer.tail"),
        (without_announcement(WHOLE), "trailer.tail"),
    ],
)
def test_a_damaged_trailer_is_listed_up_to_its_fault(data: bytes, last: str) -> None:
    lines: list[str] = []
    with pytest.raises(IntegrityError):
        lines.extend(dump(data))
    assert lines[-1].split()[2] == last


def test_streams_compare_by_their_announcement() -> None:
    stream: Stream = read_stream(STREAMS["still"])
    assert stream != read_stream(STILL)
    assert dataclasses.replace(stream, trailer_announced=False).header == read_stream(STILL).header
