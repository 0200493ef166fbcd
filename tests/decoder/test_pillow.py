# SPDX-License-Identifier: BSD-3-Clause
"""The Pillow plugin."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError

import builders
import children
import numchic
from numchic.files.pillow_image import FORMAT, CoolChicImageFile
from numchic.generations import generation
from numchic.v5 import generation as v5
from numchic_bitstream import FrameHeader, Metadata, VideoHeader

STREAM = builders.stream()
VIDEO = builders.video(frame_data_type="rgb")


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    numchic.register_pillow()
    yield
    Image.ID.remove(FORMAT)
    for table, key in (
        (Image.OPEN, FORMAT), (Image.SAVE, FORMAT), (Image.MIME, FORMAT), (Image.EXTENSION, ".cool")
    ):  # fmt: skip
        table.pop(key)


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
    monkeypatch.setattr("numchic.OpenedStream.frames", None)
    with Image.open(io.BytesIO(STREAM)) as image:
        assert (image.size, image.mode) == ((6, 5), "RGB")


def test_pillows_pixel_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(STREAM))


def test_our_limits_hold() -> None:
    """In the words of both: programs that use Pillow know only its own."""
    for limits in (
        numchic.Limits(pixels=10),
        numchic.Limits(stream_bytes=20),
        numchic.Limits(metadata_bytes=0, work=1),
    ):
        numchic.register_pillow(limits=limits)
        with pytest.raises(numchic.LimitError) as caught:
            Image.open(io.BytesIO(STREAM))
        assert isinstance(caught.value, Image.DecompressionBombError)
        assert caught.value.field in {"pixels", "stream_bytes", "work"}
    numchic.register_pillow(limits=numchic.Limits(memory_bytes=10))
    with Image.open(io.BytesIO(STREAM)) as image, pytest.raises(Image.DecompressionBombError):
        image.load()


@pytest.mark.parametrize(
    "frame", [FrameHeader(bitdepth=10), FrameHeader(frame_data_type="yuv444")], ids=str
)
def test_pictures_without_a_mode(frame: FrameHeader) -> None:
    with pytest.raises(numchic.UnsupportedError, match=r"no mode.*8 bits") as caught:
        Image.open(io.BytesIO(builders.stream(frame=frame)))
    assert isinstance(caught.value, UnidentifiedImageError)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.field) == (str(caught.value), "frame_data_type")


def test_broken_streams() -> None:
    for size in (8, 20, 60, len(STREAM) - 1):
        with pytest.raises(UnidentifiedImageError, match=r"damaged Cool-chic stream: .*byte"):
            Image.open(io.BytesIO(STREAM[:size]))
    corrupt = bytearray(STREAM)
    corrupt[-4 * (len(STREAM) // 8) :] = b"\xff" * (4 * (len(STREAM) // 8))
    with Image.open(io.BytesIO(corrupt)) as image:
        for _ in range(2):  # trying again does not help
            with pytest.raises(OSError, match=r"nn_payload|state"):
                image.load()


def test_what_its_trailer_calls_damaged_opens_and_does_not_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = bytearray(builders.with_trailer(STREAM))
    stream[-30] ^= 1  # in the digest of the samples
    for damaged in (stream, stream[:-1]):
        with Image.open(io.BytesIO(damaged)) as image:
            assert image.size == (6, 5)
            for _ in range(2):
                with pytest.raises(OSError, match="trailer"):
                    image.load()
            with pytest.raises(OSError, match="trailer"):
                image.verify()
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        with Image.open(io.BytesIO(damaged)) as image:
            assert np.array_equal(np.asarray(image), numchic.decode(STREAM).to_rgb())
        monkeypatch.undo()
    with Image.open(io.BytesIO(builders.with_trailer(STREAM))) as image:
        image.verify()


def test_what_is_not_certainly_ours_is_not_ours() -> None:
    """Whatever random bytes say, they do not exceed our limits."""
    source = np.random.default_rng(0)
    starts = [b"not a picture at all", b"\6", bytes(8), b"\0\x10\1", STREAM[:5]]
    for start in starts * 50:
        file = io.BytesIO(start + source.bytes(int(source.integers(300))))
        with pytest.raises(UnidentifiedImageError, match="cannot identify"):
            Image.open(file)
    numchic.register_pillow(limits=numchic.Limits(stream_bytes=20))
    with pytest.raises(UnidentifiedImageError, match="cannot identify"):
        Image.open(io.BytesIO(b"\6" + bytes(100)))


def test_older_generations() -> None:
    stream = generation("4.2").warmup_streams()[0]
    with pytest.raises(numchic.UnsupportedError, match="no mode"):
        Image.open(io.BytesIO(stream))
    with pytest.raises(UnidentifiedImageError, match="payload reaches past"):
        Image.open(io.BytesIO(stream[:-1]))
    numchic.register_pillow(limits=numchic.Limits(pixels=1))
    with pytest.raises(numchic.LimitError):
        Image.open(io.BytesIO(stream))


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


@children.linux_only
@pytest.mark.parametrize("data", [STREAM, VIDEO], ids=["still", "video"])
def test_files_are_closed_when_they_have_been_loaded(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.cool"
    path.write_bytes(data)
    images = [Image.open(path) for _ in range(3)]
    for image in images:
        image.load()
        assert image.fp is None
    held = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert path.resolve() not in held
    del images, image
    gc.collect()  # a ResourceWarning would be an error
    with path.open("rb") as file, Image.open(file) as image:
        image.load()
        assert not file.closed  # it is not ours


def test_a_loaded_picture_is_the_callers() -> None:
    with Image.open(io.BytesIO(STREAM)) as image:
        image.putpixel((0, 0), (1, 2, 3))
        core = image.im
        image.putpixel((0, 1), (1, 2, 3))
        assert image.im is core  # not copied at every change
    assert image.getpixel((0, 0)) == (1, 2, 3)  # what is loaded outlives its file


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 2, 0, 2), (2,)], ids=str)
def test_frames_of_a_video(order: tuple[int, ...]) -> None:
    expected = [picture.to_rgb() for picture in numchic.decode_frames(VIDEO)]
    with Image.open(io.BytesIO(VIDEO)) as image:
        assert isinstance(image, CoolChicImageFile)
        assert (image.n_frames, image.is_animated, image.tell()) == (3, True, 0)
        for i in order:
            image.seek(i)
            assert image.tell() == i
            assert np.array_equal(np.asarray(image), expected[i])
        for i in (-1, 3):
            with pytest.raises(EOFError):
                image.seek(i)
        shown = [np.asarray(frame.copy()) for frame in ImageSequence.Iterator(image)]
        assert np.array_equal(shown, expected)


def test_going_on_decodes_no_frame_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    structure = VideoHeader(n_frames=6, p_pos=(1, 2, 3, 4, 5))
    stream = builders.video(frame_data_type="rgb", structure=structure)
    decoded = []
    decoder = v5.frame_decoder

    def counting(parsed: Any) -> Any:
        decode = decoder(parsed)

        def count(index: int, *rest: Any, **named: Any) -> Any:
            decoded.append(index)
            return decode(index, *rest, **named)

        return count

    monkeypatch.setattr(v5, "frame_decoder", counting)
    with Image.open(io.BytesIO(stream)) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
            frame.load()
    assert decoded == [0, 1, 2, 3, 4, 5]


def test_a_still_is_no_animation() -> None:
    with Image.open(io.BytesIO(STREAM)) as image:
        assert isinstance(image, CoolChicImageFile)
        for _ in range(2):
            assert (image.n_frames, image.is_animated, image.tell()) == (1, False, 0)
            image.seek(0)
            with pytest.raises(EOFError):
                image.seek(1)
            image.load()


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))
QUICK: dict[str, Any] = {"iterations": 0, "preset": "lop", "effort": "fast"}


@children.needs_trainer
@children.compiled_only
def test_save(tmp_path: Path) -> None:
    path = tmp_path / "picture.cool"
    PICTURE.save(path, lmbda=1e-3, **QUICK)
    with Image.open(path) as image:
        assert (image.size, image.format) == (PICTURE.size, FORMAT)
        image.load()
    file = io.BytesIO()
    PICTURE.convert("L").save(file, FORMAT, trailer=False, **QUICK)
    assert numchic.read_info(file.getvalue()).trailer is None


def test_metadata_are_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[Metadata | None, dict[str, Any]]] = []

    def encode(picture: numchic.Picture, settings: dict[str, Any]) -> bytes:
        saved.append((picture.metadata, settings))
        return b""

    monkeypatch.setattr("numchic.files.pillow_save._encoder", lambda: encode)
    icc = bytes(16) + b"RGB " + bytes(10)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    expected = Metadata(icc, exif.tobytes().removeprefix(b"Exif\0\0"), (("Title", "noise"),))
    with Image.open(io.BytesIO(builders.with_trailer(STREAM, expected))) as image:
        image.save(io.BytesIO(), FORMAT, effort="fast")
        image.save(io.BytesIO(), FORMAT, metadata=False)
        image.save(io.BytesIO(), FORMAT, trailer=False)
        image.save(io.BytesIO(), FORMAT, icc_profile=None, exif=b"")
    PICTURE.save(io.BytesIO(), FORMAT, icc_profile=icc, exif=exif)
    grey = PICTURE.convert("L")
    grey.info["icc_profile"] = bytes(16) + b"GRAY" + bytes(10)
    grey.save(io.BytesIO(), FORMAT)
    assert saved == [
        (expected, {"effort": "fast", "metadata": True}),
        (None, {"metadata": False}),
        (None, {"trailer": False, "metadata": False}),
        (Metadata(text=expected.text), {"metadata": True}),
        (Metadata(expected.icc, expected.exif), {"metadata": True}),
        (Metadata(), {"metadata": True}),
    ]


@pytest.mark.parametrize(
    ("mode", "options", "error", "message"),
    [
        ("RGB", {"quality": 90, "bogus": 1}, numchic.UsageError, "bogus, quality.*lmbda"),
        ("RGB", {"lmbda": -1.0}, numchic.UsageError, "lmbda"),
        ("RGB", {"effort": "much"}, numchic.UsageError, "effort"),
        ("RGB", {"exif": b"nonsense"}, numchic.UsageError, "exif"),
        ("RGBA", {}, OSError, "mode RGBA with transparency"),
        ("I;16", {}, OSError, "mode I;16 as"),
    ],
)
@children.needs_trainer
def test_nothing_is_left_of_what_cannot_be_saved(
    mode: str, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    image = Image.new(mode, (8, 8)) if mode == "I;16" else PICTURE.convert(mode)
    with pytest.raises(error, match=message):
        image.save(tmp_path / "picture.cool", **options)
    assert not list(tmp_path.iterdir())


def test_saving_without_the_trainer_or_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "picture.cool"
    for name in [name for name in sys.modules if name.startswith("numchic_trainer")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"numchic\[trainer\]"):
        PICTURE.save(path)
    monkeypatch.setattr("numchic.files.pillow_save.entry_points", lambda **_: ())
    with pytest.raises(ModuleNotFoundError, match=r"numchic\[trainer\]"):
        PICTURE.save(path)
    assert not path.exists()
