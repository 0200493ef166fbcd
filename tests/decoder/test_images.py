# SPDX-License-Identifier: BSD-3-Clause
"""Image files."""

from __future__ import annotations

import io
import os
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import numchic
from numchic.files.images import encode_image, format_of, open_file, write_file, y4m_header
from numchic.files.png import expanded, restored, significant_bits
from numchic_bitstream import CorruptError, Metadata, TruncatedError


def picture(data_type: Any = "rgb", bitdepth: int = 8, size: tuple[int, int] = (4, 6)) -> Any:
    random = np.random.default_rng(bitdepth)
    chroma = (size[0] // 2, size[1] // 2) if data_type == "yuv420" else size
    dtype = np.uint8 if bitdepth == 8 else np.uint16
    planes = [random.integers(0, 1 << bitdepth, shape, dtype) for shape in (size, chroma, chroma)]
    return numchic.Picture((planes[0], planes[1], planes[2]), data_type, bitdepth)


def test_png() -> None:
    ours = picture()
    with Image.open(io.BytesIO(encode_image(ours, "png"))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), ours.to_rgb())


METADATA = Metadata(b"profile", b"MM\0*abc", (("Title", "rings"),))


def png_parts(data: bytes) -> dict[bytes, bytes]:
    """Chunks by their kind; kinds that come again, and wrong checksums, are errors."""
    parts: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert kind not in parts
        assert zlib.crc32(kind + content) == int.from_bytes(
            data[at + 8 + length : at + 12 + length]
        )
        parts[kind] = content
        at += 12 + length
    return parts


@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_levels_of_png(bitdepth: int) -> None:
    """They give the same samples and metadata, also where rows are compressed in several bands."""
    ours = picture(bitdepth=bitdepth, size=(130, 7))
    ours = numchic.Picture(ours.planes, "rgb", bitdepth, METADATA)
    files = [png_parts(encode_image(ours, "png", png_level=level)) for level in range(10)]
    rows = {zlib.decompress(parts.pop(b"IDAT")) for parts in files}
    assert len(rows) == 1
    assert all(parts == files[0] for parts in files)
    assert {b"iCCP", b"iTXt", b"eXIf"} < set(files[0])
    with Image.open(io.BytesIO(encode_image(ours, "png"))) as image:
        assert np.array_equal(np.asarray(image), ours.to_rgb() >> (bitdepth - 8))
    flat = numchic.Picture((np.zeros((130, 7), np.uint8),) * 3, "rgb", 8)
    sizes = [len(encode_image(flat, "png", png_level=level)) for level in range(10)]
    assert sizes[0] > 130 * 22
    assert max(sizes[1:]) < 130


@pytest.mark.parametrize("level", [-1, 10, True, 2.5, "3", None])
@pytest.mark.parametrize("kind", ["png", "ppm"])
def test_levels_that_png_has_not(level: Any, kind: str) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        encode_image(picture(), kind, png_level=level)
    assert (caught.value.field, caught.value.allowed) == ("png_level", "0..9")


@pytest.mark.parametrize("bitdepth", [8, 9, 16])
def test_ppm(bitdepth: int) -> None:
    ours = picture(bitdepth=bitdepth)
    magic, size, maximum, samples = encode_image(ours, "ppm").split(b"\n", 3)
    assert (magic, size, maximum) == (b"P6", b"6 4", str((1 << bitdepth) - 1).encode())
    kind = ">u1" if bitdepth == 8 else ">u2"
    assert np.array_equal(np.frombuffer(samples, kind).reshape(4, 6, 3), ours.to_rgb())


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10, 12])
def test_yuv(data_type: str, bitdepth: int) -> None:
    ours = picture(data_type, bitdepth)
    samples = np.frombuffer(encode_image(ours, "yuv"), "<u1" if bitdepth == 8 else "<u2")
    assert np.array_equal(samples, np.concatenate([plane.ravel() for plane in ours.planes]))


@pytest.mark.parametrize("data_type", ["rgb", "yuv444"])
def test_npy(data_type: str) -> None:
    ours = picture(data_type, 12)
    assert np.array_equal(np.load(io.BytesIO(encode_image(ours, "npy"))), np.asarray(ours))


@pytest.mark.parametrize(
    ("kind", "data_type", "bitdepth"),
    [
        ("tiff", "rgb", 10),
        ("png", "yuv444", 8),
        ("ppm", "yuv420", 8),
        ("yuv", "rgb", 8),
        ("npy", "yuv420", 8),
        ("y4m", "rgb", 8),
    ],
)
def test_a_format_that_cannot_hold_the_picture(kind: str, data_type: str, bitdepth: int) -> None:
    with pytest.raises(numchic.UsageError, match=rf"\.{kind} file cannot hold"):
        encode_image(picture(data_type, bitdepth), kind)


@pytest.mark.parametrize(
    ("data_type", "bitdepth", "colour"),
    [
        ("yuv420", 8, b"420jpeg"),
        ("yuv420", 10, b"420p10"),
        ("yuv444", 8, b"444"),
        ("yuv444", 16, b"444p16"),
    ],
)
def test_y4m(data_type: str, bitdepth: int, colour: bytes) -> None:
    ours = picture(data_type, bitdepth)
    expected = b"YUV4MPEG2 W6 H4 F25:1 Ip A1:1 C" + colour + b"\nFRAME\n" + ours.to_bytes()
    assert encode_image(ours, "y4m") == expected
    assert y4m_header(ours, (30000, 1001)).split()[3] == b"F30000:1001"


def test_y4m_has_more_chroma_samples_for_odd_sizes() -> None:
    assert encode_image(picture("yuv444", 8, (3, 5)), "y4m")
    with pytest.raises(numchic.UsageError, match="y4m"):
        encode_image(picture("yuv420", 8, (3, 6)), "y4m")


def test_format_of() -> None:
    assert format_of("a/b.PNG") == "png"
    assert [format_of(name) for name in ("a.tif", "a.tiff")] == ["tiff"] * 2
    with pytest.raises(numchic.UsageError, match="unknown kind"):
        format_of("a/b.jpeg")


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            write_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    write_file(target, b"new")
    assert target.read_bytes() == b"new"


def test_links_are_followed_and_rights_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_file(pipe, b"samples")
        assert read.result() == b"samples"
    assert pipe.is_fifo()


def test_a_new_file_has_ordinary_rights(tmp_path: Path) -> None:
    (tmp_path / "reference").touch()
    write_file(tmp_path / "out", b"")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_the_other_end_of_a_pipe_has_no_name_of_its_own() -> None:
    reading, writing = os.pipe()
    write_file(Path(f"/proc/self/fd/{writing}"), b"abc")
    os.close(writing)
    assert os.read(reading, 10) == b"abc"
    os.close(reading)


def test_a_missing_folder_is_reported_with_the_name_that_was_asked_for(tmp_path: Path) -> None:
    for target in (tmp_path / "missing" / "out.png", tmp_path / "file" / "out.png"):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match=r"out\.png") as caught:
            write_file(target, b"new")
        assert type(caught.value) in (FileNotFoundError, NotADirectoryError)
        assert caught.value.filename == str(target)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write_file(tmp_path, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_errors_at_the_end_name_the_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*names: object) -> None:
        raise PermissionError(13, "Permission denied", str(names[0]))

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError) as caught:
        write_file(tmp_path / "out", b"new")
    assert caught.value.filename == str(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_rights_come_from_the_umask_which_is_left_alone(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask is that of the process"))
            write_file(tmp_path / "out", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


def test_what_was_private_is_never_open_to_others(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.touch(0o600)
    with open_file(target) as file:
        file.write(b"new")
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_link_to_a_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("kind", "data_type", "bitdepth", "size", "others"),
    [
        ("png", "yuv420", 8, (4, 6), ".yuv, .y4m"),
        ("png", "yuv420", 10, (3, 6), ".yuv"),
        ("ppm", "yuv444", 8, (3, 5), ".yuv, .y4m, .npy"),
        ("yuv", "rgb", 8, (4, 6), ".png, .ppm, .tiff, .npy"),
        ("tiff", "rgb", 10, (4, 6), ".png, .ppm, .npy"),
    ],
)
def test_formats_that_can_hold_the_picture_are_named(
    kind: str, data_type: str, bitdepth: int, size: tuple[int, int], others: str
) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        encode_image(picture(data_type, bitdepth, size), kind)
    assert caught.value.allowed == others


def test_png_of_sixteen_bits() -> None:
    """Samples are stretched, and sBIT says how many bits there were."""
    ours = picture(bitdepth=10)
    data = encode_image(ours, "png")
    assert data[:29] == b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\6\0\0\0\4\x10\2\0\0\0"
    assert data[33:44] == b"\0\0\0\3sBIT\n\n\n"
    with Image.open(io.BytesIO(data)) as image:  # Pillow keeps the upper byte
        assert np.array_equal(np.asarray(image), ours.to_rgb() >> 2)
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(data[start + 4 : start + 4 + length]), np.uint8)
    rows = rows.reshape(4, 37)
    assert set(rows[:, 0]) == {2}
    stored = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).copy().view(">u2").reshape(4, 6, 3)
    assert np.array_equal(stored, ours.to_rgb() << 6 | ours.to_rgb() >> 4)


@pytest.mark.parametrize("bitdepth", range(8, 17))
def test_stretched_samples_come_back(bitdepth: int) -> None:
    samples = np.arange(1 << bitdepth, dtype=np.uint16)
    stretched = expanded(samples, bitdepth)
    assert stretched[-1] == 65535
    for stored in (stretched, samples << np.uint16(16 - bitdepth)):
        true = restored(stored, bitdepth)
        assert true is not None
        assert np.array_equal(true, samples)
    if bitdepth < 16:
        assert restored(stretched ^ np.uint16(1), bitdepth) is None


def test_significant_bits() -> None:
    whole = encode_image(picture(bitdepth=10), "png")
    assert significant_bits(io.BytesIO(whole)) == 10
    assert significant_bits(io.BytesIO(encode_image(picture(bitdepth=16), "png"))) is None
    at = whole.index(b"sBIT")
    for i, bits in enumerate(((3,), (3, 9), (3, 4, 5), (3, 4, 5, 9))):
        chunk = bytes([0, 0, 0, i + 1]) + b"sBIT" + bytes(bits)
        assert significant_bits(io.BytesIO(whole[: at - 4] + chunk)) == (3, 3, 5, 5)[i]
    with pytest.raises(CorruptError, match="sBIT"):
        significant_bits(io.BytesIO(whole[: at - 4] + bytes([0, 0, 0, 5]) + whole[at:]))
    with pytest.raises(CorruptError, match="sBIT"):
        significant_bits(io.BytesIO(whole[: at + 5]))
    for n in (0, 12, 30, at - 4, at + 3):
        with pytest.raises(TruncatedError):
            significant_bits(io.BytesIO(whole[:n]))


def test_metadata_in_png_of_sixteen_bits() -> None:
    metadata = Metadata(
        b"profile", b"MM\0*abc", (("Title", "\N{GREEK SMALL LETTER ALPHA}"), ("\u03b1", "b"))
    )
    planes = picture(bitdepth=16).planes
    for shown in (planes, (planes[0],) * 3):  # a profile speaks of RGB, even if it is grey
        ours = numchic.Picture(shown, "rgb", 16, metadata)
        with Image.open(io.BytesIO(encode_image(ours, "png"))) as image:
            image.load()
            assert image.mode == "RGB"
            assert image.info["icc_profile"] == b"profile"
            assert image.info["exif"].removeprefix(b"Exif\0\0") == b"MM\0*abc"
            assert image.info["Title"] == "\N{GREEK SMALL LETTER ALPHA}"


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("bitdepth", [8, 16])
def test_tiff(bitdepth: int, grey: bool) -> None:
    planes = picture(bitdepth=bitdepth, size=(5, 3)).planes
    ours = numchic.Picture((planes[0],) * 3 if grey else planes, "rgb", bitdepth)
    with Image.open(io.BytesIO(encode_image(ours, "tiff"))) as image:
        assert (image.mode, image.size, "icc_profile" in image.info) == ("RGB", (3, 5), False)
        assert np.array_equal(np.asarray(image), ours.to_rgb() >> (bitdepth - 8))


def test_repr_shows_no_arrays() -> None:
    assert repr(picture("yuv420", 10)) == "<Picture 6x4, yuv420, 10 bits>"


@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_notebooks_show_rgb(bitdepth: int) -> None:
    ours = picture(bitdepth=bitdepth)
    data = ours._repr_png_()
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), ours.to_rgb() >> (bitdepth - 8))
    assert picture("yuv444")._repr_png_() is None
