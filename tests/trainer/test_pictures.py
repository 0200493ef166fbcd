# SPDX-License-Identifier: BSD-3-Clause
"""Reading pictures to encode."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from numchic import Picture, UsageError
from numchic.files.images import encode_image
from numchic_bitstream import Metadata
from numchic_trainer import read_picture
from pictures import picture, yuv_picture

NEEDS_AVIF = pytest.mark.skipif(
    ".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF"
)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def rgb(path: Path) -> np.ndarray[Any, Any]:
    return read_picture(path).to_rgb()


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm"])
def test_rgb(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, Image.fromarray(picture(5, 9)), **options)
    found = read_picture(path)
    assert (found.data_type, found.bitdepth) == ("rgb", 8)
    assert np.array_equal(found.to_rgb(), picture(5, 9))


def test_grey_palette_and_opaque_alpha_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(picture(5, 9))
    for mode in ("1", "L", "P"):
        path = saved(tmp_path / "a.png", image.convert(mode))
        assert np.array_equal(rgb(path), np.asarray(image.convert(mode).convert("RGB")))
    assert np.array_equal(rgb(saved(tmp_path / "a.png", image.convert("RGBA"))), picture(5, 9))


def test_transparency_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(picture(5, 9)).convert("RGBA")
    image.putpixel((2, 2), (0, 0, 0, 254))
    with pytest.raises(UsageError, match="flatten"):
        read_picture(saved(tmp_path / "a.png", image))
    palette = Image.fromarray(picture(5, 9)).convert("P")
    path = saved(tmp_path / "b.png", palette, transparency=palette.getpixel((0, 0)))
    with pytest.raises(UsageError, match="flatten"):
        read_picture(path)


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    grey = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000
    found = read_picture(saved(tmp_path / "a.png", Image.fromarray(grey)))
    assert found.bitdepth == 16
    assert all(np.array_equal(plane, grey) for plane in found.planes)


def test_other_modes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="convert"):
        read_picture(saved(tmp_path / "a.tif", Image.fromarray(picture(5, 9)).convert("CMYK")))
    with pytest.raises(UsageError, match="convert"):
        read_picture(saved(tmp_path / "b.tif", Image.new("F", (4, 4))))


def test_the_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    path = saved(tmp_path / "a.png", Image.fromarray(picture(5, 9)), exif=exif)
    assert np.array_equal(rgb(path), np.rot90(picture(5, 9), -1))


def profile(space: bytes) -> bytes:
    """As much of an ICC profile as says what space it is of."""
    return bytes(16) + space + bytes(16) + b"acsp" + bytes(88)


def test_metadata(tmp_path: Path) -> None:
    image = Image.fromarray(picture(5, 9))
    exif = Image.Exif()
    exif[0x010E] = "ramps"
    texts = PngInfo()
    texts.add_text("Title", "a")
    texts.add_itxt("Author", "\N{GREEK SMALL LETTER ALPHA}")
    options = {"exif": exif, "icc_profile": profile(b"RGB ")}
    expected = Metadata(
        profile(b"RGB "),
        exif.tobytes().removeprefix(b"Exif\0\0"),
        (("Title", "a"), ("Author", "\N{GREEK SMALL LETTER ALPHA}")),
    )
    png = saved(tmp_path / "a.png", image, pnginfo=texts, **options)
    assert read_picture(png).metadata == expected
    assert all(type(value) is str for _, value in expected.text)
    jpeg = saved(tmp_path / "a.jpg", image, comment="h\xe9llo".encode("latin-1"), **options)
    comment = dataclasses.replace(expected, text=(("Comment", "h\xe9llo"),))
    assert read_picture(jpeg).metadata == comment
    webp = saved(tmp_path / "a.webp", image, **options)
    assert read_picture(webp).metadata == dataclasses.replace(expected, text=())
    # And on to another file.
    (tmp_path / "b.png").write_bytes(encode_image(read_picture(png), "png"))
    assert read_picture(tmp_path / "b.png").metadata == expected


def test_a_picture_without_metadata(tmp_path: Path) -> None:
    image = Image.fromarray(picture(5, 9))
    assert read_picture(saved(tmp_path / "a.png", image)).metadata is None
    grey = saved(tmp_path / "a.png", image.convert("L"), icc_profile=profile(b"GRAY"))
    assert read_picture(grey).metadata is None
    junk = saved(tmp_path / "a.png", image, icc_profile=b"junk", exif=b"Exif\0\0")
    assert read_picture(junk).metadata is None
    assert read_picture(saved(tmp_path / "a.ppm", image)).metadata is None


def test_the_orientation_is_not_carried(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "ramps"
    path = saved(tmp_path / "a.jpg", Image.fromarray(picture(5, 9)), exif=exif)
    metadata = read_picture(path).metadata
    assert metadata is not None
    assert metadata.exif is not None
    found = Image.Exif()
    found.load(metadata.exif)
    assert dict(found) == {0x010E: "ramps"}


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), 10 * i) for i in range(3)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match="animation"):
        read_picture(path)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "missing.png")
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(UsageError, match="Pillow"):
        read_picture(tmp_path / "a.png")
    whole = saved(tmp_path / "b.png", Image.fromarray(picture(50, 90))).read_bytes()
    for n in (60, len(whole) // 2, len(whole) - 40):
        (tmp_path / "b.png").write_bytes(whole[:n])
        with pytest.raises(UsageError, match=r"damaged|Pillow"):
            read_picture(tmp_path / "b.png")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(picture(50, 90)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(UsageError, match="too large"):
        read_picture(path)
    wide = saved(tmp_path / "b.png", Image.new("L", (16384, 1)))
    monkeypatch.undo()
    with pytest.raises(UsageError, match="size"):
        read_picture(wide)


@pytest.mark.parametrize("bitdepth", [8, 10, 12, 16])
def test_ppm_round_trip(tmp_path: Path, bitdepth: int) -> None:
    samples = picture(5, 9, (1 << bitdepth) - 1)
    planes = tuple(np.moveaxis(samples, -1, 0))
    source = Picture(planes, "rgb", bitdepth)
    (tmp_path / "a.ppm").write_bytes(encode_image(source, "ppm"))
    found = read_picture(tmp_path / "a.ppm")
    assert found.bitdepth == bitdepth
    assert np.array_equal(found.to_rgb(), samples)


def test_pgm_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 # grey\n# 2 x 1\n2\t1\n1023\n" + bytes([3, 255, 0, 7]))
    found = read_picture(path)
    assert found.bitdepth == 10
    assert [plane.tolist() for plane in found.planes] == [[[1023, 7]]] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P6",
        b"P3 1 1 255\n1 2 3",
        b"P6 1 1 255",
        b"P6 0 1 255\n",
        b"P6 1 99999 255\n",
        b"P6 1 1 100\nabc",
        b"P6 1 1 65536\nabcdef",
        b"P6 2 2 255\nabc",
        b"P5 1 1 1023\n\xff\xff",
        b"P6 9999999999 1 255\nabc",
        b"P6 16383 16383 65535\nabc",
    ],
)
def test_bad_netpbm_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.ppm").write_bytes(data)
    with pytest.raises(UsageError):
        read_picture(tmp_path / "a.ppm")


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_yuv_round_trip(tmp_path: Path, data_type: Any, bitdepth: int) -> None:
    source = yuv_picture(7, 10, data_type, bitdepth)
    named = tmp_path / f"x_10x7_{data_type[3:]}_{bitdepth}b.yuv"
    plain = tmp_path / "x.yuv"
    for path in (named, plain):
        path.write_bytes(encode_image(source, "yuv"))
    for found in (
        read_picture(named),
        read_picture(plain, size=(7, 10), data_type=data_type, bitdepth=bitdepth),
    ):
        assert (found.data_type, found.bitdepth) == (data_type, bitdepth)
        for ours, theirs in zip(found.planes, source.planes, strict=True):
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_4x2.yuv", ("yuv420", 8)),
        ("a_4x2_yuv444p.yuv", ("yuv444", 8)),
        ("a_4x2_yuv420p10le.yuv", ("yuv420", 10)),
        ("a_444_12bit_4x2.yuv", ("yuv444", 12)),
    ],
)
def test_yuv_names(tmp_path: Path, name: str, expected: tuple[str, int]) -> None:
    data_type, bitdepth = expected
    source = yuv_picture(2, 4, data_type, bitdepth)  # type: ignore[arg-type]
    (tmp_path / name).write_bytes(encode_image(source, "yuv"))
    found = read_picture(tmp_path / name)
    assert (found.data_type, found.bitdepth) == expected


def test_bad_yuv_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yuv"
    path.write_bytes(bytes(12))
    with pytest.raises(UsageError, match="size is not known"):
        read_picture(path)
    with pytest.raises(UsageError, match="wrong size"):
        read_picture(path, size=(4, 4))
    with pytest.raises(UsageError, match="depth"):
        read_picture(path, size=(2, 4), bitdepth=7)
    path.write_bytes(b"\xff" * 24)
    with pytest.raises(UsageError, match="too large"):
        read_picture(path, size=(2, 4), bitdepth=10)
    path.write_bytes(bytes(24))
    with pytest.raises(UsageError, match="this is a video"):
        read_picture(path, size=(2, 4))
    png = saved(tmp_path / "a.png", Image.new("L", (4, 2)))
    with pytest.raises(UsageError, match=r"yuv files only"):
        read_picture(png, size=(2, 4))
    with pytest.raises(UsageError, match=r"yuv and .npy files only"):
        read_picture(png, bitdepth=10)


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("size", [(7, 10), (8, 9), (7, 9), (1, 1), (6, 4)])
@pytest.mark.parametrize("bitdepth", [8, 10])
def test_yuv_of_video_programs_has_chroma_rounded_up(
    tmp_path: Path, data_type: Any, size: tuple[int, int], bitdepth: int
) -> None:
    """Both layouts of a size, bare and as Y4M; the last row or column of chroma is left out."""
    height, width = size
    up = (-(-height // 2), -(-width // 2)) if data_type == "yuv420" else size
    down = (height // 2, width // 2) if data_type == "yuv420" else size
    random = np.random.default_rng(height)
    kind = "<u1" if bitdepth == 8 else "<u2"
    planes = [random.integers(0, 1 << bitdepth, s).astype(kind) for s in (size, up, up)]
    samples = b"".join(plane.tobytes() for plane in planes)
    (tmp_path / "a.yuv").write_bytes(samples)
    colour = data_type[3:] + ("" if bitdepth == 8 else "p10")
    (tmp_path / "a.y4m").write_bytes(
        f"YUV4MPEG2 W{width} H{height} F30000:1001 Ip A1:1 C{colour}\nFRAME\n".encode() + samples
    )
    for found in (
        read_picture(tmp_path / "a.yuv", size=size, data_type=data_type, bitdepth=bitdepth),
        read_picture(tmp_path / "a.y4m"),
    ):
        assert (found.data_type, found.bitdepth) == (data_type, bitdepth)
        assert [plane.shape for plane in found.planes] == [size, down, down]
        for ours, theirs in zip(found.planes, planes, strict=True):
            assert np.array_equal(ours, theirs[: ours.shape[0], : ours.shape[1]])


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_y4m_of_our_own(tmp_path: Path, data_type: Any, bitdepth: int) -> None:
    source = yuv_picture(6, 10, data_type, bitdepth)
    (tmp_path / "a.y4m").write_bytes(encode_image(source, "y4m"))
    found = read_picture(tmp_path / "a.y4m")
    assert (found.data_type, found.bitdepth) == (data_type, bitdepth)
    assert found.to_bytes() == source.to_bytes()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("W4 H2 F25:1 Ip A0:0 C420jpeg XYSCSS=420JPEG", ("yuv420", 8)),
        ("W4 H2 F25:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2", ("yuv420", 8)),
        ("W4 H2 C420paldv XYSCSS=420PALDV XCOLORRANGE=LIMITED", ("yuv420", 8)),
        ("W4 H2 C420", ("yuv420", 8)),
        ("H2 W4", ("yuv420", 8)),
        ("W4 H2 XYSCSS=444", ("yuv444", 8)),
        ("W4 H2 C420p10 XYSCSS=420P10", ("yuv420", 10)),
        ("W4 H2 XYSCSS=420P12", ("yuv420", 12)),
        ("W4 H2 C444p10 XYSCSS=444P10", ("yuv444", 10)),
        ("W4 H2 C444", ("yuv444", 8)),
    ],
)
def test_y4m_headers(tmp_path: Path, parameters: str, expected: tuple[str, int]) -> None:
    data_type, bitdepth = expected
    source = yuv_picture(2, 4, data_type, bitdepth)  # type: ignore[arg-type]
    frame = f"YUV4MPEG2 {parameters}\nFRAME Ip\n".encode() + source.to_bytes()
    (tmp_path / "a.y4m").write_bytes(frame)
    found = read_picture(tmp_path / "a.y4m")
    assert (found.data_type, found.bitdepth) == expected
    assert found.to_bytes() == source.to_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "malformed"),
        (b"YUV4MPEG2 W4 H2", "malformed"),
        (b"YUV4MPEG2 W4 H2 " + b"X" * 5000 + b"\nFRAME\n" + bytes(12), "malformed"),
        (b"YUV4MPEG3 W4 H2\nFRAME\n" + bytes(12), "malformed"),
        (b"YUV4MPEG2 W4 H2\n" + bytes(12), "malformed"),
        (b"YUV4MPEG2 W4\nFRAME\n" + bytes(12), "size"),
        (b"YUV4MPEG2 W4 H-2\nFRAME\n" + bytes(12), "size"),
        (b"YUV4MPEG2 W4 H\xb2\nFRAME\n" + bytes(12), "size"),
        (b"YUV4MPEG2 W0 H2\nFRAME\n" + bytes(12), "size"),
        (b"YUV4MPEG2 W16383 H16384\nFRAME\n", "size"),
        (b"YUV4MPEG2 W4 H2 C422\nFRAME\n" + bytes(16), "kind of samples"),
        (b"YUV4MPEG2 W4 H2 Cmono\nFRAME\n" + bytes(8), "grey samples"),
        (b"YUV4MPEG2 W4 H2 Im\nFRAME\n" + bytes(12), "interlaced in different ways"),
        (b"YUV4MPEG2 W4 H2 C420p7\nFRAME\n" + bytes(12), "kind of samples"),
        (b"YUV4MPEG2 W4 H2 C420p17\nFRAME\n" + bytes(24), "kind of samples"),
        (b"YUV4MPEG2 W4 H2 C420p10\nFRAME\n" + b"\xff" * 24, "too large"),
        (b"YUV4MPEG2 W4 H2\nFRAME\n" + bytes(11), "ends within a frame"),
        (b"YUV4MPEG2 W16383 H16383\nFRAME\n" + bytes(11), "ends within a frame"),
        (b"YUV4MPEG2 W4 H2\n" + (b"FRAME\n" + bytes(12)) * 2, "this is a video"),
    ],
)
def test_bad_y4m_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.y4m").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read_picture(tmp_path / "a.y4m")


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for samples, bitdepth in (
        (picture(5, 9), 8),
        (picture(5, 9, 65535), 16),
        (np.asfortranarray(picture(5, 9, 65535)), 16),
        (picture(5, 9, 65535).astype(">u2"), 16),
    ):
        np.save(path, samples)
        found = read_picture(path)
        assert (found.data_type, found.bitdepth) == ("rgb", bitdepth)
        assert np.array_equal(found.to_rgb(), samples)
    np.save(path, picture(5, 9)[..., 0])
    assert all(np.array_equal(plane, picture(5, 9)[..., 0]) for plane in read_picture(path).planes)


@pytest.mark.parametrize("bitdepth", [8, 10, 16])
@pytest.mark.parametrize("data_type", ["rgb", "yuv444"])
def test_npy_of_our_own(tmp_path: Path, data_type: Any, bitdepth: int) -> None:
    planes = yuv_picture(5, 9, "yuv444", bitdepth).planes
    source = Picture(planes, data_type, bitdepth)
    (tmp_path / "a.npy").write_bytes(encode_image(source, "npy"))
    asked = None if data_type == "rgb" else data_type
    found = read_picture(tmp_path / "a.npy", data_type=asked, bitdepth=bitdepth)
    assert (found.data_type, found.bitdepth) == (data_type, bitdepth)
    assert found.to_bytes() == source.to_bytes()


def test_bad_npy_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, message in (
        (np.zeros((2, 2, 4), np.uint8), "no picture"),
        (np.zeros(4, np.uint8), "no picture"),
        (np.zeros((2, 2, 2, 3), np.uint8), "no picture"),
        (np.zeros((0, 2), np.uint8), "size"),
        (np.zeros((1, 16384), np.uint8), "size"),
        (np.zeros((2, 2), np.float32), "no samples"),
        (np.zeros((2, 2), np.int16), "no samples"),
        (np.zeros((2, 2), [("a", "u1")]), "no samples"),
    ):
        np.save(path, array)
        with pytest.raises(UsageError, match=message):
            read_picture(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(UsageError, match="no samples"):
        read_picture(path)
    np.save(path, np.full((2, 2), 1024, np.uint16))
    with pytest.raises(UsageError, match="too large"):
        read_picture(path, bitdepth=10)
    with pytest.raises(UsageError, match="depth"):
        read_picture(path, bitdepth=17)
    for data_type in ("yuv420", "yuv444"):
        with pytest.raises(UsageError, match="cannot be that"):
            read_picture(path, data_type=data_type)
    whole = path.read_bytes()
    huge = whole.replace(b"(2, 2), }    ", b"(16383, 16383), }")[: len(whole)]
    unclosed = whole.replace(b"(2, 2), }", b"(2, 2)   ")
    for data in (*(whole[:n] for n in range(len(whole))), whole + b"\0", huge, unclosed):
        path.write_bytes(data)
        with pytest.raises(UsageError):
            read_picture(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Write one chunk of a PNG file."""
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def filtered(samples: np.ndarray[Any, Any]) -> bytes:
    """Rows of a PNG file in which all five filters take turns, as its specification says."""
    rows = samples.astype(">u2").reshape(len(samples), -1).view(np.uint8).astype(int)
    step = samples[0, 0].size * 2
    above = [0] * rows.shape[1]
    result = bytearray()
    for y, row in enumerate(rows.tolist()):
        result.append(y % 5)
        for x, value in enumerate(row):
            left, upper = row[x - step] if x >= step else 0, above[x]
            corner = above[x - step] if x >= step else 0
            guess = left + upper - corner
            paeth = min((left, upper, corner), key=lambda v: abs(guess - v))
            predicted = (0, left, upper, (left + upper) // 2, paeth)[y % 5]
            result.append((value - predicted) & 255)
        above = row
    return bytes(result)


def deep_png(samples: np.ndarray[Any, Any], *extra: bytes, interlaced: bool = False) -> bytes:
    """PNG of 16 bits, of which the last axis says how many channels there are."""
    height, width, n_channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[n_channels]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]  # fmt: skip
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
    rows = b"".join(filtered(part) for part in parts if part.size)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, int(interlaced))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(extra) + body


def deep(n_channels: int, size: tuple[int, int] = (11, 13)) -> np.ndarray[Any, Any]:
    """Samples whose lower bytes matter, opaque if they have alpha."""
    samples = np.random.default_rng(1).integers(0, 65536, (*size, n_channels)).astype(np.uint16)
    if n_channels % 2 == 0:
        samples[..., -1] = 65535
    return samples


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_png_of_sixteen_bits(tmp_path: Path, n_channels: int, interlaced: bool) -> None:
    samples = deep(n_channels)
    (tmp_path / "a.png").write_bytes(deep_png(samples, interlaced=interlaced))
    found = read_picture(tmp_path / "a.png")
    assert (found.data_type, found.bitdepth) == ("rgb", 16)
    colours = samples[..., : 3 if n_channels > 2 else 1]
    assert np.array_equal(found.to_rgb(), np.broadcast_to(colours, (11, 13, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_deep_pictures_are_turned_too(tmp_path: Path, orientation: int, n_channels: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    samples = deep(n_channels)
    (tmp_path / "a.png").write_bytes(deep_png(samples, chunk(b"eXIf", data)))
    shallow = (samples[..., 0] >> 8).astype(np.uint8)
    expected = rgb(saved(tmp_path / "b.png", Image.fromarray(shallow), exif=exif))[..., 0]
    assert np.array_equal(rgb(tmp_path / "a.png")[..., 0] >> 8, expected)


@pytest.mark.parametrize("n_channels", [2, 4])
def test_deep_alpha_must_be_opaque(tmp_path: Path, n_channels: int) -> None:
    samples = deep(n_channels)
    samples[3, 4, -1] = 65534  # of which 8 bits would say that it is opaque
    (tmp_path / "a.png").write_bytes(deep_png(samples))
    with pytest.raises(UsageError, match="flatten"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_transparent_colour_of_sixteen_bits(tmp_path: Path, n_channels: int) -> None:
    samples = deep(n_channels)
    colour = struct.pack(f">{n_channels}H", *samples[3, 4].tolist())
    (tmp_path / "a.png").write_bytes(deep_png(samples, chunk(b"tRNS", colour)))
    with pytest.raises(UsageError, match="flatten"):
        read_picture(tmp_path / "a.png")
    samples[3, 4] ^= 1  # nothing is transparent any more
    (tmp_path / "a.png").write_bytes(deep_png(samples, chunk(b"tRNS", colour)))
    assert np.array_equal(rgb(tmp_path / "a.png")[..., :n_channels], samples)


@pytest.mark.parametrize(("depth", "row"), [(1, 0x50), (2, 0x1B), (4, 0x31)])
def test_a_transparent_grey_of_few_bits(tmp_path: Path, depth: int, row: int) -> None:
    """Pillow compares its number with samples that have been scaled."""
    head = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    for value, good in ((row >> (8 - depth), False), (2, depth > 1)):
        (tmp_path / "a.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", value))
            + chunk(b"IDAT", zlib.compress(bytes([0, row]))) + chunk(b"IEND", b"")
        )  # fmt: skip
        if good:
            assert rgb(tmp_path / "a.png")[0, :, 0].tolist() == [0, 85] if depth == 2 else [51, 17]
        else:
            with pytest.raises(UsageError, match="flatten"):
                read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("bitdepth", [9, 10, 12, 15, 16])
def test_deep_png_of_our_own(tmp_path: Path, bitdepth: int, grey: bool) -> None:
    samples = deep(3) >> (16 - bitdepth)
    planes = [samples[..., 0 if grey else c].astype(np.uint16) for c in range(3)]
    source = Picture((planes[0], planes[1], planes[2]), "rgb", bitdepth)
    data = encode_image(source, "png")
    assert data[24:26] == bytes([16, 0 if grey else 2])
    (tmp_path / "a.png").write_bytes(data)
    found = read_picture(tmp_path / "a.png")
    assert found.bitdepth == bitdepth
    assert found.to_bytes() == source.to_bytes()
    with Image.open(tmp_path / "a.png") as image:
        image.load()  # sound for others, with the largest sample as the largest
        shallow = np.asarray(image) >> (8 if grey else 0)
    high = planes[0] >> (bitdepth - 8)
    assert np.array_equal(shallow if grey else shallow[..., 0], high)


def test_true_depths_of_other_writers(tmp_path: Path) -> None:
    """Bits that the chunk sBIT calls untrue are left out if they say nothing, and else kept."""
    true = deep(3) >> 6
    for bits, samples, bitdepth, expected in (
        ([10] * 3, true << 6, 10, true),
        ([10] * 3, true << 6 | true >> 4, 10, true),
        ([10, 9, 8], true << 6, 10, true),
        ([10] * 3, true << 6 | 1, 16, true << 6 | 1),
        ([8] * 3, (true >> 2) * 257, 8, true >> 2),
        ([5] * 3, true << 6, 16, true << 6),
        ([16] * 3, true << 6, 16, true << 6),
        ([200] * 3, true << 6, 16, true << 6),
    ):
        (tmp_path / "a.png").write_bytes(deep_png(samples, chunk(b"sBIT", bytes(bits))))
        found = read_picture(tmp_path / "a.png")
        assert found.bitdepth == bitdepth
        assert found.planes[0].dtype == (np.uint8 if bitdepth == 8 else np.uint16)
        assert np.array_equal(found.to_rgb(), expected)
    alpha = np.dstack([true << 6, np.full((11, 13), 65535, np.uint16)])
    (tmp_path / "a.png").write_bytes(deep_png(alpha, chunk(b"sBIT", bytes([10, 10, 10, 16]))))
    assert read_picture(tmp_path / "a.png").bitdepth == 10
    (tmp_path / "a.png").write_bytes(deep_png(true, chunk(b"sBIT", bytes(7))))
    with pytest.raises(UsageError, match="sBIT"):
        read_picture(tmp_path / "a.png")


def test_damaged_deep_png_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    whole = deep_png(deep(3), chunk(b"sBIT", bytes([10] * 3)))
    for n in range(0, len(whole) - 30, 7):
        path.write_bytes(whole[:n])
        with pytest.raises(UsageError):
            read_picture(path)
    samples_at = whole.index(b"IDAT") + 4
    for i in (*range(8, samples_at - 8, 2), *range(samples_at, len(whole) - 16, 50)):
        damaged = bytearray(whole)
        damaged[i] ^= 0x55
        path.write_bytes(damaged)
        with contextlib.suppress(UsageError):  # or a chunk is not known and thus not looked at
            assert read_picture(path).to_rgb().shape == (11, 13, 3)


@pytest.mark.parametrize("bitdepth", [8, 16])
def test_tiff_of_our_own(tmp_path: Path, bitdepth: int) -> None:
    samples = deep(3) >> (16 - bitdepth)
    planes: list[Any] = [samples[..., c].astype(f"u{bitdepth // 8}") for c in range(3)]
    metadata = Metadata(profile(b"RGB ") + b"odd")
    source = Picture((planes[0], planes[1], planes[2]), "rgb", bitdepth, metadata)
    (tmp_path / "a.tif").write_bytes(encode_image(source, "tiff"))
    found = read_picture(tmp_path / "a.tif")
    assert (found.bitdepth, found.metadata) == (bitdepth, metadata)
    assert np.array_equal(found.to_rgb(), samples)


def tiff(samples: np.ndarray[Any, Any], compression: str, planar: int = 1) -> bytes:
    """TIFF of 16 bits per channel, made of a grey one whose rows are the same bytes."""
    height, width, n_channels = samples.shape
    buffer = io.BytesIO()
    grey = Image.fromarray(samples.reshape(height, -1))
    grey.save(buffer, "TIFF", compression=compression, tiffinfo={274: 1})
    data = bytearray(buffer.getvalue())
    place = struct.unpack_from("<I", data, 4)[0]
    bits = len(data)
    data += struct.pack("<H", 16) * n_channels
    for i in range(struct.unpack_from("<H", data, place)[0]):
        entry = place + 2 + 12 * i
        tag = struct.unpack_from("<H", data, entry)[0]
        changed = {
            256: (256, 4, 1, width), 258: (258, 3, n_channels, bits), 262: (262, 3, 1, 2),
            274: (277, 3, 1, n_channels), 284: (284, 3, 1, planar),
        }.get(tag)  # fmt: skip
        if changed is not None:
            struct.pack_into("<HHII", data, entry, *changed)
    return bytes(data)


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate", "tiff_lzw"])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_tiff_of_sixteen_bits(tmp_path: Path, n_channels: int, compression: str) -> None:
    samples = deep(n_channels)
    (tmp_path / "a.tif").write_bytes(tiff(samples, compression))
    found = read_picture(tmp_path / "a.tif")
    assert found.bitdepth == 16
    assert np.array_equal(found.to_rgb(), samples[..., :3])


def deep_sgi() -> bytes:
    head = struct.pack(">HBBHHHHII", 474, 0, 2, 3, 2, 2, 3, 0, 65535)
    return head.ljust(512, b"\0") + bytes(24)


def deep_avif() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(buffer, "AVIF")
    data = bytearray(buffer.getvalue())
    data[data.index(b"av1C") + 6] |= 64
    return bytes(data).replace(b"pixi\0\0\0\0\3\x08\x08\x08", b"pixi\0\0\0\0\3\x0a\x0a\x0a")


def deep_jpeg2000() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(buffer, "JPEG2000")
    data = bytearray(buffer.getvalue())
    data[data.index(b"\xff\x4f\xff\x51") + 42 + 3] = 11  # of the second component
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        deep_sgi,
        pytest.param(deep_avif, marks=NEEDS_AVIF),
        deep_jpeg2000,
        lambda: b"P3 1 1 1023\n1 2 3\n",
        lambda: tiff(deep(3), "raw", planar=2),
    ],
)
def test_what_would_lose_bits_is_refused(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "a"
    path.write_bytes(make())
    with pytest.raises(UsageError, match="more bits than can be read"):
        read_picture(path)


@pytest.mark.parametrize(
    "name", ["a.jp2", "a.sgi", "a.tga", "a.jfif", pytest.param("a.avif", marks=NEEDS_AVIF)]
)
def test_other_formats(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(picture(16, 16)))
    with Image.open(path) as image:
        assert np.array_equal(rgb(path), np.asarray(image.convert("RGB")))


def test_the_first_picture_of_a_photograph_with_several(tmp_path: Path) -> None:
    photo, depth = Image.fromarray(picture(16, 24)), Image.new("L", (4, 4))
    path = tmp_path / "a.jpg"
    photo.save(path, "MPO", save_all=True, append_images=[depth])
    with Image.open(path) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("MPO", 2)
        assert np.array_equal(rgb(path), np.asarray(image))


@pytest.mark.parametrize(
    "name", ["a.gif", "a.png", "a.webp", pytest.param("a.avif", marks=NEEDS_AVIF)]
)
def test_every_animation_is_refused(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (16, 16), (90 * i, 0, 0)) for i in range(3)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match="animation"):
        read_picture(path)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_large_texts_are_not_called_damage(tmp_path: Path, kind: bytes) -> None:
    middle = {b"zTXt": b"\0", b"iTXt": b"\1\0\0\0", b"iCCP": b"\0"}[kind]
    large = chunk(kind, b"Key\0" + middle + zlib.compress(bytes(2 << 20)))
    (tmp_path / "a.png").write_bytes(deep_png(deep(3), large))
    with pytest.raises(UsageError, match="texts or colour profile are larger"):
        read_picture(tmp_path / "a.png")


def test_a_bomb_is_refused_whatever_the_filters_of_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(picture(50, 90)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = warnings.filters[:]
        with pytest.raises(UsageError, match="too large"):
            read_picture(path)
        assert warnings.filters == filters


def test_no_file_stays_open(tmp_path: Path) -> None:
    image = Image.fromarray(picture(16, 16))
    (tmp_path / "deep.png").write_bytes(deep_png(deep(3)))
    (tmp_path / "deep.tif").write_bytes(tiff(deep(3), "tiff_lzw"))
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image])
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    for name in ("a.png", "a.webp", "a.bmp", "a.gif", "a.ppm"):
        image.save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
    (tmp_path / "bad.bmp").write_bytes((tmp_path / "a.bmp").read_bytes()[:-30])
    paths = sorted(tmp_path.iterdir())
    before = len(list(Path("/proc/self/fd").iterdir()))
    pictures = []
    for path in paths * 5:  # ResourceWarnings are errors here
        with contextlib.suppress(UsageError):
            pictures.append(read_picture(path))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(pictures) == 5 * (len(paths) - 2)


def test_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input has no extension, and cannot be read twice."""
    samples = picture(4, 6)
    deep_one = picture(4, 6, 1023)
    yuv = yuv_picture(4, 6, "yuv420")
    np.save(tmp_path / "a.npy", samples)
    contents: list[Any] = [
        encode_image(Picture(tuple(np.moveaxis(samples, -1, 0)), "rgb", 8), "png"),
        encode_image(Picture(tuple(np.moveaxis(deep_one, -1, 0)), "rgb", 10), "ppm"),
        encode_image(yuv, "y4m"),
        (tmp_path / "a.npy").read_bytes(),
    ]
    results: list[Any] = [samples, deep_one, yuv, samples]
    for data, expected in zip(contents, results, strict=True):
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123
            found = read_picture(pipe)
        if isinstance(expected, Picture):
            assert found.to_bytes() == expected.to_bytes()
        else:
            assert np.array_equal(found.to_rgb(), expected)
    monkeypatch.setattr("numchic_trainer.pictures._MAX_BYTES", 1000)
    reading, writing = os.pipe()
    os.write(writing, bytes(1001))
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(UsageError, match="too large"):  # noqa: PTH123
        read_picture(pipe)
    bare = io.BytesIO(encode_image(yuv, "yuv"))
    assert read_picture(bare, size=(4, 6)).to_bytes() == yuv.to_bytes()


def damaged_avif() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(buffer, "AVIF")
    return buffer.getvalue().replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\2")  # RuntimeError


def damaged_dds() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(5, 9)).save(buffer, "DDS")
    return buffer.getvalue()[:80] + bytes(4) + buffer.getvalue()[84:]  # NotImplementedError


@pytest.mark.parametrize("make", [pytest.param(damaged_avif, marks=NEEDS_AVIF), damaged_dds])
def test_whatever_pillow_raises_is_damage(tmp_path: Path, make: Any) -> None:
    (tmp_path / "a").write_bytes(make())
    with pytest.raises(UsageError, match="damaged"):
        read_picture(tmp_path / "a")
