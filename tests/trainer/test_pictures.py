# SPDX-License-Identifier: BSD-3-Clause
"""Reading pictures to encode."""

from __future__ import annotations

import dataclasses
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
    with pytest.raises(UsageError, match="yuv files only"):
        read_picture(tmp_path / "a.png", size=(2, 4))
