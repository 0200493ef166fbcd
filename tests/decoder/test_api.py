# SPDX-License-Identifier: BSD-3-Clause
"""The public functions."""

from __future__ import annotations

import io
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import builders
import numchic
from numchic.schedule import BAND_ROWS
from numchic.v5.upsampling import Upsampler
from numchic_bitstream import (
    Frame,
    FrameHeader,
    Stream,
    SynthesisLayer,
    VideoHeader,
    write_stream,
)

STREAM = builders.stream()


def same(a: numchic.Picture, b: numchic.Picture) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "picture.cool"
    path.write_bytes(STREAM)
    return path


def test_sources_are_equal(path: Path) -> None:
    expected = numchic.decode(STREAM)
    assert (expected.height, expected.width) == (5, 6)
    for source in (bytearray(STREAM), memoryview(STREAM), path, str(path), io.BytesIO(STREAM)):
        assert same(numchic.decode(source), expected)
        assert numchic.read_info(STREAM) == numchic.read_info(STREAM)


def test_an_unknown_source_is_a_usage_error() -> None:
    with pytest.raises(numchic.UsageError, match="source"):
        numchic.decode(42)  # type: ignore[arg-type]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        numchic.decode(tmp_path / "nothing.cool")


def test_a_text_file_object_is_refused() -> None:
    with pytest.raises(numchic.UsageError, match="binary"):
        numchic.decode(io.StringIO("text"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"stream_bytes": len(STREAM) - 1}, "stream_bytes"),
        ({"pixels": 29}, "pixels"),
        ({"frames": 0}, "frames"),
        ({"work": 1000}, "work"),
        ({"memory_bytes": 1000}, "memory_bytes"),
    ],
)
def test_limits(limits: dict[str, int], field: str) -> None:
    with pytest.raises(numchic.LimitError) as caught:
        numchic.decode(io.BytesIO(STREAM), limits=numchic.Limits(**limits))
    assert caught.value.field == field
    assert isinstance(caught.value.found, int)
    assert caught.value.found > limits[field]


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2"])
def test_threads_must_be_a_positive_integer(threads: Any) -> None:
    with pytest.raises(numchic.UsageError, match="threads"):
        numchic.decode(STREAM, threads=threads)


@pytest.mark.parametrize("value", [-1, 1.5, None])
def test_limits_must_be_integers(value: Any) -> None:
    with pytest.raises(numchic.UsageError, match="pixels"):
        numchic.Limits(pixels=value)


def test_a_path_with_a_null_character() -> None:
    with pytest.raises(numchic.UsageError, match="null"):
        numchic.decode("a\0b")


def test_a_source_that_gives_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(7, size or 0))

    assert same(numchic.decode(Slow(STREAM)), numchic.decode(STREAM))
    unlimited = numchic.Limits(stream_bytes=1 << 60)
    assert same(numchic.decode(io.BytesIO(STREAM), limits=unlimited), numchic.decode(STREAM))


def test_more_threads_than_bands_cost_nothing() -> None:
    limits = numchic.Limits(memory_bytes=20_000_000)
    numchic.decode(STREAM, limits=limits, threads=100_000)


def test_bands_wait_for_the_coarser_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the other thread upsamples them."""
    data = builders.stream(img_size=(BAND_ROWS + 20, 6), ups_preconcat_k_size=15)
    expected = numchic.decode(data, threads=1)
    prepare = Upsampler.prepare

    def late(self: Upsampler, latents: Any) -> None:
        time.sleep(0.2)
        prepare(self, latents)

    monkeypatch.setattr("numchic.v5.latents._BATCH", 1)
    monkeypatch.setattr(Upsampler, "prepare", late)
    assert same(numchic.decode(data, threads=3), expected)


def test_a_frame_of_a_video_must_be_chosen() -> None:
    with pytest.raises(numchic.UsageError, match="choose a frame"):
        numchic.decode(builders.video())
    assert numchic.decode(builders.video(), frame=1).data_type == "yuv420"
    assert numchic.read_info(builders.video()).n_frames == 3


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_ends_at_the_total(threads: int) -> None:
    calls: list[tuple[str, int, int]] = []
    caller = threading.get_ident()

    def progress(stage: str, done: int, total: int) -> None:
        assert threading.get_ident() == caller
        calls.append((stage, done, total))

    numchic.decode(STREAM, threads=threads, progress=progress)
    for stage in ("latents", "rendering"):
        done = [d for s, d, _ in calls if s == stage]
        totals = {t for s, _, t in calls if s == stage}
        assert done == sorted(done)
        assert totals == {done[-1]}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stage", ["latents", "rendering"])
def test_an_exception_in_the_callback_stops_decoding(threads: int, stage: str) -> None:
    def cancel(current: str, *_: Any) -> None:
        if current == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        numchic.decode(STREAM, threads=threads, progress=cancel)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_overflowing_synthesis_is_a_corrupt_stream(threads: int) -> None:
    layers = tuple(SynthesisLayer(n, 1, "linear", "none") for n in (4, 4, 4, 4, 4, 3))
    header = builders.header(syn_layer=layers)
    parameters = builders.parameters(header)
    for layer in parameters.synthesis.trunk:
        layer.weight[...] = 1 << 34
        layer.bias[...] = 1 << 34
    residue = builders.coolchic(header, parameters, builders.latents(header))
    data = write_stream(Stream(VideoHeader(), (Frame(FrameHeader(), residue),)))
    with pytest.raises(numchic.CorruptError, match="overflows") as caught:
        numchic.decode(data, threads=threads)
    assert caught.value.field == "nn_payload.synthesis"


@pytest.mark.parametrize("data_type", ["rgb", "yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_every_kind_of_picture(data_type: Any, bitdepth: int) -> None:
    frame = FrameHeader(frame_data_type=data_type, bitdepth=bitdepth)
    picture = numchic.decode(builders.stream(frame=frame))
    chroma = (2, 3) if data_type == "yuv420" else (5, 6)
    assert [plane.shape for plane in picture.planes] == [(5, 6), chroma, chroma]
    assert {plane.dtype for plane in picture.planes} == {
        np.dtype(np.uint8 if bitdepth == 8 else np.uint16)
    }
    n_samples = 30 + 2 * chroma[0] * chroma[1]
    assert len(picture.to_bytes()) == n_samples * (1 if bitdepth == 8 else 2)
    if data_type == "yuv420":
        with pytest.raises(numchic.UsageError):
            np.asarray(picture)
    else:
        assert np.asarray(picture).shape == (5, 6, 3)
        assert np.asarray(picture, np.float32).dtype == np.float32
    if data_type == "rgb":
        assert np.array_equal(picture.to_rgb()[..., 1], picture.planes[1])
    else:
        with pytest.raises(numchic.UsageError, match="convert"):
            picture.to_rgb()


def test_a_picture_is_read_only() -> None:
    picture = numchic.decode(STREAM)
    with pytest.raises(ValueError, match="read-only"):
        picture.planes[0][0, 0] = 1
    with pytest.raises(AttributeError):
        picture.bitdepth = 9  # type: ignore[misc]
    assert not pickle.loads(pickle.dumps(picture)).planes[0].flags.writeable
    ours = np.zeros((2, 2), np.uint8)
    numchic.Picture((ours, ours, ours), "rgb", 8)
    assert ours.flags.writeable
    with pytest.raises(ValueError, match="copy"):
        np.array(picture, copy=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_bands(threads: int) -> None:
    """A tall picture is rendered in several bands, a 4:2:0 one with an odd last row."""
    height = 2 * BAND_ROWS + 3
    frame = FrameHeader(frame_data_type="yuv420")
    picture = numchic.decode(builders.stream(frame=frame, img_size=(height, 4)), threads=threads)
    assert [plane.shape for plane in picture.planes] == [(height, 4)] + [(height // 2, 2)] * 2


def test_common_randomness_and_resize() -> None:
    assert numchic.decode(builders.stream(flag_common_randomness=1)).height == 5
    resized = builders.stream(latent_resolution=(1, 2), hyperlatent_resolution=None)
    assert numchic.decode(resized).width == 6
