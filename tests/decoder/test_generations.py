# SPDX-License-Identifier: BSD-3-Clause
"""Streams of the older generations through the functions and commands that are the same for all."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import builders
import numchic
from numchic.command.cli import main
from numchic.files.pillow_image import FORMAT
from numchic_bitstream import CorruptError, StreamError, TruncatedError, UnsupportedError
from numchic_bitstream.generations import detect_generation, read_any
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import make_stream
from vectors import MISSING, shared_folder

FOLDER = shared_folder()
SYNTHETIC = None if FOLDER is None else FOLDER / "vectors" / "v4-synthetic"
needs_vectors = pytest.mark.skipif(SYNTHETIC is None, reason=MISSING)
pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="too large for kernels in plain Python"
)


def stream(data_type: str, bitdepth: int, *, video: bool) -> Path:
    """Smallest synthetic stream of a kind."""
    assert SYNTHETIC is not None
    entries = json.loads((SYNTHETIC / "suite.json").read_text())["vectors"]
    paths = [
        SYNTHETIC / entry["input"]
        for entry in entries
        if (entry["frame_data_type"], entry["bitdepth"]) == (data_type, bitdepth)
    ]
    sizes = {path: path.stat().st_size for path in paths}
    found: Path = next(
        path
        for path in sorted(paths, key=sizes.__getitem__)
        if (numchic.read_info(path).n_frames > 1) == video
    )
    return found


def digest(picture: numchic.Picture) -> str:
    return hashlib.sha256(picture.to_bytes()).hexdigest()


def test_generation_of_5() -> None:
    for data in (builders.stream(), builders.video(), b"", b"\6", b"anything"):
        assert detect_generation(data) == "5.0"


def test_the_oldest_streams_are_not_supported() -> None:
    data = bytes.fromhex("0009 0010 0010 00 20 00 0020") + bytes(30)
    assert detect_generation(data) == "3.x"
    with pytest.raises(UnsupportedError) as caught:
        read_any(data)
    assert (caught.value.field, caught.value.found) == ("generation", "3.x")


def test_a_damaged_header_gives_the_error_of_its_generation() -> None:
    data = bytearray(make_stream(Draw("damaged"), "4.1", (8, 8), frames=((0, "I"), (1, "I"))))
    data[6] += 1  # n_bytes_header of the first frame
    with pytest.raises(CorruptError) as caught:
        read_any(bytes(data))
    assert (caught.value.field, caught.value.offset) == ("n_bytes_header", 6)
    with pytest.raises(TruncatedError) as cut:
        read_any(bytes(data[:10]))
    assert cut.value.offset == 10
    with pytest.raises(StreamError):
        read_any(b"\0\t")  # begins like 3.x, and is taken for 5.0


@needs_vectors
def test_functions_for_videos() -> None:
    path = stream("yuv420", 8, video=True)
    info = numchic.read_info(path)
    assert info.generation == "4.2"
    pictures = [digest(picture) for picture in numchic.decode_frames(path, threads=1)]
    assert len(pictures) == info.n_frames
    assert [digest(p) for p in numchic.decode_frames(path, threads=3)] == pictures
    last = info.n_frames - 1
    assert digest(numchic.decode(path, frame=last)) == pictures[last]
    assert [digest(p) for p in numchic.decode_frames(path, frames=slice(1, 3))] == pictures[1:3]
    with pytest.raises(numchic.UsageError, match="choose a frame"):
        numchic.decode(path)
    with pytest.raises(numchic.LimitError, match="memory_bytes"):
        numchic.decode_frames(path, limits=numchic.Limits(memory_bytes=1000))


@needs_vectors
def test_commands(tmp_path: Path) -> None:
    path = stream("yuv420", 8, video=True)
    text = CliRunner().invoke(main, ["info", str(path)])
    assert text.exit_code == 0, text.output
    assert text.output.startswith("Cool-chic 4.2 video of")
    listing = CliRunner().invoke(main, ["info", "--json", str(path)])
    assert json.loads(listing.output)["generation"] == "4.2"
    lines = CliRunner().invoke(main, ["dump", str(path)])
    assert lines.exit_code == 0
    assert "display_index" in lines.output
    output = tmp_path / "out.yuv"
    assert CliRunner().invoke(main, ["decode", str(path), str(output)]).exit_code == 0
    expected = b"".join(picture.to_bytes() for picture in numchic.decode_frames(path))
    assert output.read_bytes() == expected


@pytest.fixture
def plugin() -> Iterator[None]:
    numchic.register_pillow()
    yield
    Image.OPEN.pop(FORMAT)
    Image.ID.remove(FORMAT)


@needs_vectors
@pytest.mark.usefixtures("plugin")
def test_pillow(tmp_path: Path) -> None:
    path = stream("rgb", 8, video=False)
    with Image.open(path) as image:
        assert image.tobytes() == numchic.decode(path).to_bytes()
    with pytest.raises(UnsupportedError):
        Image.open(stream("yuv420", 8, video=True))
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(b"\6" + bytes(100)))
