# SPDX-License-Identifier: BSD-3-Clause
"""Image files."""

from __future__ import annotations

import io
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import numchic
from numchic.files.images import encode_image, format_of, write_file, y4m_header


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
