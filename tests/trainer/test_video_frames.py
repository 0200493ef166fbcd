# SPDX-License-Identifier: BSD-3-Clause
"""Reading videos to encode."""

from __future__ import annotations

import gc
import io
import itertools
import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from numchic import Picture, UsageError
from numchic.files.images import encode_image, y4m_frame, y4m_header
from numchic_bitstream import Metadata
from numchic_bitstream.structure import FrameDataType
from numchic_trainer import read_picture
from numchic_trainer.video.frames import FrameReader, is_video, open_video, to_frames
from pictures import yuv_picture
from vectors import shared_folder

FFMPEG = shutil.which("ffmpeg")
CLIP = "carphone_176x144_30p_yuv420_8b.yuv"
Y4M_START = b"YUV4MPEG2 W2 H2\nFRAME\n"


def frame(
    index: int, data_type: FrameDataType = "yuv420", bitdepth: int = 8, size: Any = (4, 6)
) -> Picture:
    """One of several frames that differ."""
    height, width = size
    whole = yuv_picture(height, width, data_type, bitdepth)
    planes = [np.roll(plane, index) for plane in whole.planes]
    return Picture((planes[0], planes[1], planes[2]), data_type, bitdepth)


def frames(n_frames: int, *options: Any, **more: Any) -> list[Picture]:
    return [frame(index, *options, **more) for index in range(n_frames)]


def y4m(pictures: Sequence[Picture], parameters: bytes | None = None) -> bytes:
    start = y4m_header(pictures[0]) if parameters is None else b"YUV4MPEG2 " + parameters + b"\n"
    return start + b"".join(map(y4m_frame, pictures))


def written(path: Path, contents: bytes) -> Path:
    path.write_bytes(contents)
    return path


def same(found: FrameReader, expected: Sequence[Picture]) -> bool:
    """Whether frames are those, in whatever order and however often they are read."""
    assert found.n_frames == len(found) == len(expected)
    backwards = [found[i].to_bytes() for i in reversed(range(len(found)))]
    forwards = [picture.to_bytes() for picture in found]
    return forwards == backwards[::-1] == [picture.to_bytes() for picture in expected]


def write_pictures(folder: Path, pattern: str, pictures: Sequence[Picture], first: int) -> None:
    for number, picture in enumerate(pictures, first):
        (folder / (pattern % number)).write_bytes(encode_image(picture, "png"))


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 9, 10, 16])
def test_planar_files(tmp_path: Path, data_type: FrameDataType, bitdepth: int) -> None:
    expected = frames(5, data_type, bitdepth)
    samples = b"".join(picture.to_bytes() for picture in expected)
    bare = written(tmp_path / "a.yuv", samples)
    named = written(tmp_path / f"park_6x4_{data_type[3:]}_{bitdepth}b.yuv", samples)
    headed = written(tmp_path / "a.y4m", y4m(expected))
    size: Any = {"size": (4, 6), "data_type": data_type, "bitdepth": bitdepth}
    for found in (open_video(bare, **size), open_video(str(named)), open_video(headed)):
        assert same(found, expected)
        assert (found[0].data_type, found[0].bitdepth) == (data_type, bitdepth)
        assert found[-1].to_bytes() == expected[-1].to_bytes()
        with pytest.raises(IndexError):
            found[5]
    assert is_video(bare, **size)
    assert is_video(named)
    assert is_video(headed)
    assert open_video(named).metadata is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, range(5)), (slice(2, None), range(2, 5)), (slice(3), range(3)), (slice(1, 2), [1])],
)
def test_frames_in_a_row(tmp_path: Path, asked: slice | None, expected: Sequence[int]) -> None:
    pictures = frames(5)
    wanted = [pictures[i] for i in expected]
    path = written(tmp_path / "a.y4m", y4m(pictures))
    assert same(open_video(path, frames=asked), wanted)
    assert same(open_video(io.BytesIO(path.read_bytes()), frames=asked), wanted)
    bare = written(tmp_path / "a_6x4.yuv", b"".join(p.to_bytes() for p in pictures))
    assert same(open_video(bare, frames=asked), wanted)
    rgb = frames(5, "rgb")
    write_pictures(tmp_path, "f%d.png", rgb, 3)
    found = open_video(tmp_path / "f%d.png", frames=asked)
    assert same(found, [rgb[i] for i in expected])


@pytest.mark.parametrize(
    "asked",
    [
        *(slice(5, None), slice(0, 6), slice(7, 9), slice(2, 2), slice(3, 1), slice(-2, None)),
        *(slice(None, -1), slice(0, 4, 2), slice(4, 0, -1), slice("a", None), slice(0.0, 2), 3),
    ],
)
def test_frames_that_are_not_there(tmp_path: Path, asked: Any) -> None:
    path = written(tmp_path / "a.y4m", y4m(frames(5)))
    bare = written(tmp_path / "a_6x4.yuv", b"".join(p.to_bytes() for p in frames(5)))
    write_pictures(tmp_path, "f%d.png", frames(5, "rgb"), 1)
    for source in (path, bare, tmp_path / "f%d.png", io.BytesIO(path.read_bytes())):
        with pytest.raises(UsageError, match="frames"):
            open_video(source, frames=asked)


def test_what_is_not_asked_for_may_be_damaged(tmp_path: Path) -> None:
    whole = y4m(frames(3))
    junk = written(tmp_path / "a.y4m", whole + b"JUNK")
    assert len(open_video(junk, frames=slice(3))) == 3
    with pytest.raises(UsageError, match="malformed"):
        open_video(junk)
    cut = written(tmp_path / "b.y4m", whole[:-1])
    bare = written(tmp_path / "b_6x4.yuv", b"".join(p.to_bytes() for p in frames(3))[:-1])
    write_pictures(tmp_path, "f%d.png", frames(3, "rgb"), 0)
    written(tmp_path / "f2.png", (tmp_path / "f2.png").read_bytes()[:60])
    for source, message in (
        *((path, "ends within a frame") for path in (cut, bare)),
        (tmp_path / "f%d.png", "damaged"),
    ):
        assert len(open_video(source, frames=slice(2))) == 2
        for asked in (None, slice(3), slice(2, 3)):
            with pytest.raises(UsageError, match=message):
                open_video(source, frames=asked)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "malformed"),
        (b"YUV4MPEG2 W4 H2\n", "no frames"),
        (b"YUV4MPEG2 W4 H2\nFRAME\n", "ends within a frame"),
        (b"YUV4MPEG2 W4 H2\nFRAME\n" + bytes(12) + b"FRAM", "malformed"),
        (b"YUV4MPEG2 W4 H2\nFRAME\n" + bytes(12) + b"FRAME", "a line does not end"),
        (b"YUV4MPEG2 W4", "a line does not end"),
        (b"YUV4MPEG2 W4 H2 Cmono\nFRAME\n" + bytes(8), "grey samples"),
        (b"YUV4MPEG2 W4 H2 C422\nFRAME\n" + bytes(16), "unknown kind of samples"),
        (b"YUV4MPEG2 W4 H2 Im\nFRAME Ippp\n" + bytes(12), "interlaced in different ways"),
        (b"YUV4MPEG2 W5 H2\n" + (b"FRAME\n" + bytes(16)) * 2, "even height and width"),
        (b"YUV4MPEG2 W4 H2 C420p10\nFRAME\n" + bytes(24) + b"FRAME\n\0\4" + bytes(22), "too large"),
        (b"YUV4MPEG2 W1 H1 C444\n" + (b"FRAME\n" + bytes(3)) * 4096, "too many frames"),
    ],
)
def test_bad_y4m_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = written(tmp_path / "a.y4m", data)
    with pytest.raises(UsageError, match=message):
        open_video(path)
    if data:
        with pytest.raises(UsageError, match=message):
            open_video(io.BytesIO(data))


def test_bad_yuv_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yuv", bytes(24))
    with pytest.raises(UsageError, match="size is not known"):
        open_video(path)
    with pytest.raises(UsageError, match="even height and width"):
        open_video(path, size=(2, 3))  # rounded up
    with pytest.raises(UsageError, match="even height and width"):
        open_video(path, size=(3, 2))  # and down
    with pytest.raises(UsageError, match="no frames"):
        open_video(written(tmp_path / "b.yuv", b""), size=(2, 2))
    headed = written(tmp_path / "a.y4m", y4m(frames(2)))
    with pytest.raises(UsageError, match="itself says that"):
        open_video(headed, size=(4, 6))
    with pytest.raises(UsageError, match="this is a video"):
        read_picture(headed)


@pytest.mark.parametrize("rounded_up", [True, False])
def test_one_frame_of_an_odd_size(tmp_path: Path, rounded_up: bool) -> None:
    """It is a picture, as :func:`read_picture` reads it."""
    path = written(tmp_path / "a.yuv", bytes(range(15 + 2 * (6 if rounded_up else 2))))
    found = open_video(path, size=(3, 5))
    assert same(found, [read_picture(path, size=(3, 5))])
    assert not is_video(path, size=(3, 5))


def test_too_many_frames_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a_1000x1000_444.yuv"
    with path.open("wb") as file:
        file.truncate(3_000_000 * 4096)  # zeros that take no room
    with pytest.raises(UsageError, match="too many frames"):
        open_video(path)


def test_a_sample_for_every_frame_of_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "a_1x1_444.yuv", bytes(3 * 4095))
    assert len(open_video(path)) == 4095
    written(path, bytes(3 * 4096))
    with pytest.raises(UsageError, match="too many frames"):
        open_video(path)
    assert len(open_video(path, frames=slice(1, 4096))) == 4095


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            b"W6 H4 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED",
            {"frame-rate": "30000/1001", "y4m": "Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED"},
        ),
        (b"W6 H4 F25:1 It A0:0 C420jpeg", {"frame-rate": "25/1", "y4m": "It A0:0 C420jpeg"}),
        (b"W6 H4 F0:0 X\xe9", {}),
    ],
)
def test_metadata_of_y4m_files(tmp_path: Path, parameters: bytes, text: dict[str, str]) -> None:
    expected = None if not text else Metadata(text=tuple(text.items()))
    path = written(tmp_path / "a.y4m", y4m(frames(2), parameters).replace(b"FRAME", b"FRAME Ip"))
    for found in (open_video(path), open_video(io.BytesIO(path.read_bytes()))):
        assert found.metadata == expected
        assert found[1].metadata == expected
        assert same(found, frames(2))
    assert read_picture(written(path, y4m(frames(1), parameters))).metadata == expected


@pytest.mark.parametrize("bitdepth", [8, 10, 16])
@pytest.mark.parametrize(
    ("pattern", "first"), [("frame-%04d.png", 0), ("f%d_x.png", 1), ("%02d.png", 97), ("%d.png", 8)]
)
def test_numbered_pictures(tmp_path: Path, pattern: str, first: int, bitdepth: int) -> None:
    expected = frames(5, "rgb", bitdepth)
    write_pictures(tmp_path, pattern, expected, first)
    (tmp_path / "7.png").mkdir()
    for other in ("frame-7.png", "frame-00000007.png", "fx_x.png", "a07.png", "007.png"):
        written(tmp_path / other, b"another")
    found = open_video(tmp_path / pattern)
    assert same(found, expected)
    assert found[0].bitdepth == bitdepth
    assert is_video(tmp_path / pattern)
    (tmp_path / (pattern % (first + 2))).unlink()
    with pytest.raises(UsageError, match=f"is missing.*{pattern % (first + 2)}"):
        open_video(tmp_path / pattern)
    assert same(open_video(tmp_path / pattern, frames=slice(2)), expected[:2])


def test_numbered_pictures_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such pictures"):
        open_video(tmp_path / "frame-%04d.png")
    with pytest.raises(FileNotFoundError):
        open_video(tmp_path / "missing" / "frame-%04d.png")
    with pytest.raises(FileNotFoundError):
        open_video(tmp_path / "a.y4m")
    written(tmp_path / "frame-0000.png", b"")
    written(tmp_path / "frame-999999999.png", b"")
    with pytest.raises(UsageError, match=r"frame-0001\.png"):
        open_video(tmp_path / "frame-%04d.png")


@pytest.mark.parametrize(
    "other", [frame(1, "rgb", size=(4, 7)), frame(1, "rgb", 10), frame(1, "yuv444")]
)
def test_frames_that_differ(tmp_path: Path, other: Picture) -> None:
    pictures = [*frames(2, "rgb"), other]
    for source in (pictures, iter(pictures)):
        with pytest.raises(UsageError, match=r"differs from the first \(field frames\[2\]"):
            to_frames(source)
    if other.data_type == "rgb":
        write_pictures(tmp_path, "%d.png", pictures, 0)
        with pytest.raises(UsageError, match="differs from the first"):
            open_video(tmp_path / "%d.png")


def test_a_stream_has_one_colour_profile() -> None:
    first = frame(0, "rgb")
    other = Picture(first.planes, "rgb", 8, Metadata(icc=b"profile"))
    assert to_frames([other, other]).metadata == other.metadata
    with pytest.raises(UsageError, match="colour profile"):
        to_frames([first, other])


def test_other_files_are_videos_of_one_frame(tmp_path: Path) -> None:
    path = written(tmp_path / "a%d.png", encode_image(frame(0, "rgb"), "png"))
    assert not is_video(path)  # it is the name of a file
    assert same(open_video(path), [frame(0, "rgb")])
    assert same(open_video(io.BytesIO(path.read_bytes())), [frame(0, "rgb")])
    assert not is_video(written(tmp_path / "a.y4m", y4m(frames(1))))
    assert is_video(written(tmp_path / "b.y4m", y4m(frames(1))[: len(y4m_header(frame(0)))]))
    assert not is_video(tmp_path / "missing.y4m")
    assert not is_video(Path("-"))


def test_what_users_have(tmp_path: Path) -> None:
    expected = frames(3, "rgb")
    arrays = [picture.to_rgb() for picture in expected]
    write_pictures(tmp_path, "%d.png", expected, 0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    reader = to_frames(expected)
    sources: list[Any] = [
        *(expected, tuple(expected), arrays, np.stack(arrays), paths, list(map(str, paths))),
        *([Image.fromarray(array) for array in arrays], [expected[0], arrays[1], paths[2]]),
        *(iter(expected), map(np.asarray, arrays), tmp_path / "%d.png", str(tmp_path / "%d.png")),
        reader,
    ]
    for source in sources:
        with to_frames(source) as found:
            assert same(found, expected)
    assert to_frames(reader) is reader
    for single in (expected[0], arrays[0], Image.fromarray(arrays[0]), paths[0]):
        assert same(to_frames(single), expected[:1])
    deep: list[Any] = [picture.to_rgb() for picture in frames(2, "rgb", 10)]
    assert same(to_frames(deep, bitdepth=10), frames(2, "rgb", 10))
    assert same(to_frames(iter(deep), bitdepth=10), frames(2, "rgb", 10))
    assert same(to_frames(io.BytesIO(y4m(frames(2)))), frames(2))


@pytest.mark.parametrize("source", [None, 7, [], iter([]), [1], iter([None]), b"a", np.zeros(3)])
def test_what_is_no_video(source: Any) -> None:
    with pytest.raises(UsageError):
        to_frames(source)


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("numchic-*")]


def test_frames_without_pixels() -> None:
    with pytest.raises(UsageError, match=r"no such size \(field image, found 4x0"):
        to_frames(np.zeros((2, 0, 4, 3), np.uint8))


def test_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there as long as the reader is, whatever becomes of its copies."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with to_frames(iter(frames(3))) as found:
        assert len(temporary_files(tmp_path)) == 1
        copy = pickle.loads(pickle.dumps(found))
        assert same(copy, frames(3))
        copy.close()
        del copy
        assert same(found, frames(3))
    assert not temporary_files(tmp_path)
    with pytest.raises(FileNotFoundError):
        found[0]
    forgotten = to_frames(iter(frames(2)))
    del forgotten
    gc.collect()
    assert not temporary_files(tmp_path)

    def failing() -> Iterator[Picture]:
        yield frame(0)
        yield frame(1)
        raise KeyError

    for source in (failing(), itertools.repeat(frame(0)), iter([frame(0), frame(0, size=(2, 2))])):
        with pytest.raises((KeyError, UsageError)):
            to_frames(source)
    assert not temporary_files(tmp_path)


def test_readers_go_to_other_processes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.y4m", y4m(frames(3)))
    for found in (open_video(path), to_frames(frames(3))):
        assert same(pickle.loads(pickle.dumps(found)), frames(3))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_no_more_is_read_of_a_pipe_than_is_asked_for(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, y4m(frames(4)) + b"JUNK")
    with open(reading, "rb") as pipe:  # noqa: PTH123
        assert same(open_video(pipe, frames=slice(1, 3)), frames(3)[1:])
    os.close(writing)
    reading, writing = os.pipe()
    os.write(writing, encode_image(frame(0, "rgb"), "png"))
    os.close(writing)
    found = open_video(Path(f"/dev/fd/{reading}"))
    os.close(reading)
    assert same(found, [frame(0, "rgb")])


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), cut=st.integers(0, 80), place=st.integers(0, 80))
def test_whatever_is_in_a_y4m_file(data: bytes, cut: int, place: int) -> None:
    whole = y4m(frames(2, size=(2, 2)))
    for contents in (data, Y4M_START + data, whole[:cut], whole[:place] + data + whole[place:]):
        try:
            with open_video(io.BytesIO(contents)) as found:
                assert all(picture.planes[0].size for picture in found)
        except UsageError:
            pass


def clip() -> Path:
    folder = shared_folder()
    path = (folder or Path()) / "data" / "video" / CLIP
    if folder is None or not path.exists():
        pytest.skip("the clips are not there")
    return path


def test_a_clip() -> None:
    found = open_video(clip())
    contents = clip().read_bytes()
    n_bytes = 176 * 144 * 3 // 2
    assert (len(found), found[0].width, found[0].height) == (9, 176, 144)
    assert b"".join(picture.to_bytes() for picture in found) == contents
    assert open_video(clip(), frames=slice(4, 6))[1].to_bytes() == contents[5 * n_bytes :][:n_bytes]
    with pytest.raises(UsageError, match="this is a video"):
        read_picture(clip())


@pytest.mark.skipif(FFMPEG is None, reason="there is no ffmpeg")
@pytest.mark.parametrize("kind", ["yuv420p", "yuv444p", "yuv420p10le", "yuv444p12le"])
def test_ffmpeg_and_we_read_each_other(tmp_path: Path, kind: str) -> None:
    def ffmpeg(*arguments: str) -> bytes:
        command = [str(FFMPEG), "-v", "error", *arguments, "-strict", "-1", "-f", "yuv4mpegpipe"]
        return subprocess.run([*command, "-"], check=True, capture_output=True).stdout

    source = ("-f", "lavfi", "-i", "testsrc2=size=34x18:rate=30000/1001")
    theirs = ffmpeg(*source, "-frames:v", "3", "-pix_fmt", kind, "-color_range", "tv")
    with open_video(io.BytesIO(theirs)) as found:
        assert len(found) == 3
        assert found[0].data_type == kind[:6]
        ours = y4m(list(found))
    assert b" F30000:1001 " in ours
    # Filled up to the longest line that is written.
    line, _, rest = ours.partition(b"\n")
    longest = line + b" X" + b"a" * (94 - len(line) - 1) + b"\n" + rest
    for contents in (ours, longest):
        assert ffmpeg("-i", str(written(tmp_path / "a.y4m", contents))) == theirs
