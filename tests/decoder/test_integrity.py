# SPDX-License-Identifier: BSD-3-Clause
"""Streams with a trailer, and what becomes of them when they are damaged."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import builders
import numchic
from builders import with_trailer
from flips import damaged
from numchic.command.cli import main
from numchic.files.images import encode_image
from numchic.files.pillow_image import FORMAT
from numchic.schedule import BAND_ROWS
from numchic_bitstream import FrameHeader, Metadata, append_trailer, dump, read_stream
from numchic_bitstream.v5.trailer import TAIL

PLAIN = builders.stream()
EXIF = Image.Exif()
EXIF[0x010E] = "rings"
METADATA = Metadata(
    icc=b"a profile",
    exif=EXIF.tobytes().removeprefix(b"Exif\0\0"),
    text=(
        ("Title", "Rings"),
        ("Author", "\N{GREEK SMALL LETTER ALPHA}"),
        ("\N{GREEK SMALL LETTER BETA}", "a key that PNG cannot hold"),
        ("k" * 80, "another"),
        (" Title", "another"),
        ("exif", "a key that means something else to Pillow"),
    ),
    other=((200, b"?"),),
)
WHOLE = with_trailer(PLAIN, METADATA)
START = len(PLAIN)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


DAMAGED = flipped(WHOLE, 8 * START - 3)  # in the latents
CUT = WHOLE[:START]


def same(a: numchic.Picture, b: numchic.Picture) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


# --- Decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", ["rgb", "yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10])
@pytest.mark.parametrize("threads", [1, 2])
def test_whole_streams(data_type: Any, bitdepth: int, threads: int) -> None:
    frame = FrameHeader(frame_data_type=data_type, bitdepth=bitdepth)
    plain = builders.stream(frame=frame, img_size=(BAND_ROWS + 3, 4))
    data = with_trailer(plain, METADATA)
    picture = numchic.decode(data, threads=threads)
    assert same(picture, numchic.decode(plain))
    assert picture.metadata == METADATA
    assert pickle.loads(pickle.dumps(picture)).metadata == METADATA
    assert b"".join(picture.pieces()) == picture.to_bytes()
    assert numchic.decode(plain).metadata is None
    assert numchic.decode(with_trailer(plain)).metadata is None


@pytest.mark.parametrize(
    "data", [with_trailer(builders.stream(seed, img_size=(1, seed))) for seed in (1, 2)] + [WHOLE]
)
def test_every_flip_and_every_truncation_is_noticed(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And even before anything is decoded."""
    monkeypatch.setattr("numchic.v5.coolchic.decode_signal", None)
    for _, broken in damaged(data, 1):
        with pytest.raises(numchic.NumchicError) as caught:
            numchic.decode(broken)
        assert caught.value.field is not None


@pytest.mark.parametrize(
    ("latents_crc", "samples", "field", "place"),
    [(1, None, "latents_crc", 13), (None, b"x" * 16, "samples", 17)],
)
def test_what_is_decoded_is_compared(
    latents_crc: int | None, samples: bytes | None, field: str, place: int
) -> None:
    info = numchic.read_info(WHOLE).trailer
    assert info is not None
    assert info.latents_crc is not None
    crc = int(info.latents_crc, 16) if latents_crc is None else latents_crc
    data = append_trailer(PLAIN, crc, samples)
    with pytest.raises(numchic.IntegrityError) as caught:
        numchic.decode(data)
    assert (caught.value.field, caught.value.offset) == (f"trailer.{field}", START + place)
    assert caught.value.found != caught.value.allowed
    assert same(numchic.decode(data, check_integrity=False), numchic.decode(PLAIN))


def test_integrity_comes_before_everything_else() -> None:
    data = append_trailer(builders.video(), 0)
    with pytest.raises(numchic.UsageError, match="video"):
        numchic.decode(data)
    with pytest.raises(numchic.IntegrityError):
        numchic.decode(flipped(data, 8 * len(builders.video()) - 1))


def other_version() -> bytes:
    trailer = bytearray(WHOLE[START:])
    trailer[4] = 9
    trailer[-12:-8] = struct.pack(">I", zlib.crc32(trailer[:-12]))
    return WHOLE[:START] + trailer


@pytest.mark.parametrize(
    ("data", "error", "metadata"),
    [
        (CUT, numchic.IntegrityError, None),
        (WHOLE[:-1], numchic.IntegrityError, None),
        (WHOLE[:-1] + b"?", numchic.IntegrityError, None),
        (WHOLE + b"?", numchic.IntegrityError, None),
        (PLAIN + TAIL, numchic.IntegrityError, None),
        (PLAIN + WHOLE[START:], numchic.IntegrityError, METADATA),
        (other_version(), numchic.UnsupportedError, None),
    ],
)
def test_integrity_can_be_ignored(data: bytes, error: Any, metadata: Metadata | None) -> None:
    with pytest.raises(error, match="trailer"):
        numchic.decode(data)
    picture = numchic.decode(data, check_integrity=False)
    assert same(picture, numchic.decode(PLAIN))
    assert picture.metadata == metadata


def test_metadata_survive_damage_elsewhere() -> None:
    assert numchic.decode(DAMAGED, check_integrity=False).metadata == METADATA


def test_metadata_are_limited() -> None:
    limits = numchic.Limits(metadata_bytes=100)
    with pytest.raises(numchic.LimitError, match="metadata_bytes"):
        numchic.decode(WHOLE, limits=limits)
    assert numchic.decode(WHOLE, limits=limits, check_integrity=False).metadata is None


# --- Information ---------------------------------------------------------------------------------


def test_info_of_a_whole_stream() -> None:
    info = numchic.read_info(WHOLE)
    assert info.n_bytes == START
    assert info.bits_per_pixel == 8 * START / 30
    assert info.trailing_bytes == len(WHOLE) - START
    assert info.trailer is not None
    assert info.trailer.n_bytes == info.trailing_bytes
    assert info.trailer.problem is None
    assert info.trailer.version == 1
    assert info.trailer.blocks[0] == ("icc", 9)
    assert [name for name, _ in info.trailer.blocks][-2:] == ["text", "type 200"]
    assert json.loads(json.dumps(info.to_dict()))["trailer"]["blocks"][0] == ["icc", 9]
    unrecorded = numchic.read_info(append_trailer(PLAIN, 0)).trailer
    assert unrecorded is not None
    assert (unrecorded.samples, unrecorded.blocks) == (None, ())


def test_info_without_a_trailer() -> None:
    assert numchic.read_info(PLAIN).trailer is None
    assert numchic.read_info(PLAIN + b"some bytes").trailer is None


@pytest.mark.parametrize(
    ("data", "field", "known"),
    [
        (DAMAGED, "stream_crc", True),
        (CUT, "field trailer", False),
        (WHOLE[:-1], "n_bytes", False),
        (other_version(), "version", True),
    ],
)
def test_info_of_a_damaged_stream(data: bytes, field: str, known: bool) -> None:
    trailer = numchic.read_info(data).trailer
    assert trailer is not None
    assert trailer.problem is not None
    assert field in trailer.problem
    assert (trailer.stream_crc is not None) == known


def test_info_of_every_damage() -> None:
    """Never another error than that of the stream itself."""
    for _, broken in damaged(WHOLE, 7):
        try:
            trailer = numchic.read_info(broken).trailer
        except (numchic.StreamError, numchic.LimitError) as error:
            assert not isinstance(error, numchic.IntegrityError)  # noqa: PT017
        else:
            assert trailer is not None
            assert trailer.problem is not None


# --- Command line --------------------------------------------------------------------------------


def run(data: bytes, *arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=data)


@pytest.mark.parametrize(
    ("data", "status"), [(WHOLE, 0), (DAMAGED, 1), (CUT, 1), (other_version(), 3)]
)
def test_decode_command(data: bytes, status: int, tmp_path: Path) -> None:
    result = run(data, "decode", "-", tmp_path / "out.ppm")
    assert result.exit_code == status
    assert ("--ignore-integrity" in result.stderr) == (status != 0)
    result = run(data, "decode", "-", tmp_path / "out.ppm", "--ignore-integrity")
    if data is not DAMAGED:  # which may or may not decode
        assert result.exit_code == 0
        assert (tmp_path / "out.ppm").read_bytes() == encode_image(numchic.decode(PLAIN), "ppm")


def test_too_much_metadata_is_a_limit(tmp_path: Path) -> None:
    result = run(WHOLE, "decode", "-", tmp_path / "out.ppm", "--max-metadata", 9)
    assert result.exit_code == 4
    assert "--ignore-integrity" in result.stderr


def test_info_and_dump_commands() -> None:
    text = run(WHOLE, "info", "-").output
    assert "fits the stream" in text
    assert "icc 9 bytes" in text
    assert "samples not recorded" in run(append_trailer(PLAIN, 0), "info", "-").output
    damaged = run(DAMAGED, "info", "-")
    assert damaged.exit_code == 0
    assert "not what its trailer says" in damaged.output
    assert run(WHOLE, "dump", "-").output.splitlines() == [*dump(WHOLE)]
    result = run(DAMAGED, "dump", "-")
    assert result.exit_code == 1
    assert "trailer.tail" in result.stdout
    assert "trailer.stream_crc" in result.stderr


# --- Image files and Pillow ----------------------------------------------------------------------


def test_png_files_carry_metadata() -> None:
    with Image.open(io.BytesIO(encode_image(numchic.decode(WHOLE), "png"))) as image:
        assert isinstance(image, PngImageFile)
        assert image.info["icc_profile"] == METADATA.icc
        assert image.getexif()[0x010E] == "rings"
        assert image.text == {
            key: value for key, value in METADATA.text if key in {"Title", "Author", "exif"}
        }
    plain = encode_image(numchic.decode(PLAIN), "png")
    assert encode_image(numchic.decode(with_trailer(PLAIN)), "png") == plain


@pytest.mark.parametrize("exif", [b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0" + bytes(100)])
def test_nonsense_in_exif_data(exif: bytes) -> None:
    data = with_trailer(PLAIN, Metadata(icc=b"", exif=exif))
    with Image.open(io.BytesIO(encode_image(numchic.decode(data), "png"))) as image:
        assert np.array_equal(np.asarray(image), numchic.decode(PLAIN).to_rgb())


@pytest.fixture
def plugin() -> Any:
    numchic.register_pillow()
    yield
    Image.OPEN.pop(FORMAT)
    Image.ID.remove(FORMAT)


@pytest.mark.usefixtures("plugin")
def test_pillow_shows_metadata() -> None:
    with Image.open(io.BytesIO(WHOLE)) as image:
        assert image.info["icc_profile"] == METADATA.icc
        assert image.info["text"] == dict(METADATA.text)
        assert image.getexif()[0x010E] == "rings"
        assert np.array_equal(np.asarray(image), numchic.decode(PLAIN).to_rgb())
        for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
            image.save(io.BytesIO(), kind)
    for data in (PLAIN, with_trailer(PLAIN)):
        with Image.open(io.BytesIO(data)) as image:
            assert image.info == {}


@pytest.mark.usefixtures("plugin")
def test_pillow_does_not_load_damaged_streams() -> None:
    for data in (DAMAGED, CUT, append_trailer(PLAIN, 1)):
        with (
            Image.open(io.BytesIO(data)) as image,
            pytest.raises(OSError, match=r"trailer|latents_crc"),
        ):
            image.load()


def test_the_stream_proper_is_unchanged() -> None:
    assert read_stream(WHOLE).frames == read_stream(PLAIN).frames
