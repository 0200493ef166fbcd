# SPDX-License-Identifier: BSD-3-Clause
"""The Pillow plugin."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import builders
import numchic
from numchic.files.pillow_image import FORMAT
from numchic_bitstream import FrameHeader

STREAM = builders.stream()


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    numchic.register_pillow()
    yield
    Image.OPEN.pop(FORMAT)
    Image.ID.remove(FORMAT)


def test_pixels_are_those_of_decode(tmp_path: Path) -> None:
    path = tmp_path / "picture.cool"
    path.write_bytes(STREAM)
    expected = numchic.decode(STREAM).to_rgb()
    with Image.open(path) as image:
        assert image.format == FORMAT
        assert np.array_equal(np.asarray(image), expected)
    with Image.open(io.BytesIO(STREAM)) as image:
        assert np.array_equal(np.asarray(image.copy()), expected)
        assert image.getpixel((0, 0)) == tuple(expected[0, 0])


def test_opening_does_not_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numchic.OpenedStream.decode", None)
    with Image.open(io.BytesIO(STREAM)) as image:
        assert (image.size, image.mode) == ((6, 5), "RGB")


def test_pillows_pixel_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(STREAM))


def test_our_limits_hold() -> None:
    numchic.register_pillow(limits=numchic.Limits(pixels=10))
    with pytest.raises(numchic.LimitError):
        Image.open(io.BytesIO(STREAM))
    numchic.register_pillow()


@pytest.mark.parametrize(
    "frame", [FrameHeader(bitdepth=10), FrameHeader(frame_data_type="yuv444")], ids=str
)
def test_pictures_without_a_mode(frame: FrameHeader) -> None:
    with pytest.raises(numchic.UnsupportedError, match="no mode"):
        Image.open(io.BytesIO(builders.stream(frame=frame)))


def test_broken_streams() -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(STREAM[:20]))
    corrupt = bytearray(STREAM)
    corrupt[-4 * (len(STREAM) // 8) :] = b"\xff" * (4 * (len(STREAM) // 8))
    with (
        Image.open(io.BytesIO(corrupt)) as image,
        pytest.raises(OSError, match=r"nn_payload|state"),
    ):
        image.load()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"not a picture at all"))


def test_copies_and_pickles_of_an_unloaded_picture() -> None:
    expected = numchic.decode(STREAM).to_rgb()
    with Image.open(io.BytesIO(STREAM)) as image:
        assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(image))), expected)
    with Image.open(io.BytesIO(STREAM)) as image:
        assert np.array_equal(np.asarray(copy.copy(image)), expected)


def test_a_closed_picture_cannot_be_loaded() -> None:
    image = Image.open(io.BytesIO(STREAM))
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.getpixel((0, 0))


def test_registering_twice_changes_nothing() -> None:
    numchic.register_pillow()
    assert Image.ID.count(FORMAT) == 1
