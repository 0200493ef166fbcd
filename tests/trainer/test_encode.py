# SPDX-License-Identifier: BSD-3-Clause
"""Encoding from the picture to the stream, with tiny pictures and few iterations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import numchic
from numchic import Picture
from numchic_bitstream import (
    Metadata,
    read_stream,
    read_trailer,
    samples_digest,
    write_stream,
)
from numchic_trainer import EncodeResult, Event, TrainConfig, encode
from numchic_trainer.architecture import architecture
from numchic_trainer.write import check_format
from pictures import picture, yuv_picture

ROOT = Path(__file__).resolve().parents[2]


def header_of(result: EncodeResult) -> Any:
    return read_stream(result.stream).frames[0].residue.header


@pytest.mark.parametrize("preset", ["lop", "mop", "hop", "vhop"])
def test_every_preset_gives_a_stream_that_decodes(preset: Any) -> None:
    result = encode(picture(17, 23), TrainConfig(preset=preset, iterations=60))
    decoded = numchic.decode(result.stream)
    error = np.mean(((decoded.to_rgb() - picture(17, 23).astype(float)) / 255) ** 2)
    assert result.preset == preset
    assert result.mse == pytest.approx(error)
    assert result.bits_per_pixel == 8 * read_stream(result.stream).n_bytes / (17 * 23)
    assert result.trailer_bytes == len(result.stream) - read_stream(result.stream).n_bytes == 45
    assert result.loss == pytest.approx(result.mse + 1e-3 * result.bits_per_pixel)
    assert result.mse < np.var(picture(17, 23) / 255)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 2)])
def test_tiny_pictures(height: int, width: int) -> None:
    result = encode(picture(height, width), TrainConfig(iterations=20))
    assert numchic.decode(result.stream).to_rgb().shape == (height, width, 3)


def test_deep_samples() -> None:
    result = encode(picture(9, 9, 1023), TrainConfig(iterations=20), bitdepth=10)
    assert numchic.decode(result.stream).bitdepth == 10


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize(("height", "width", "bitdepth"), [(19, 22, 8), (2, 2, 8), (6, 5, 10)])
def test_yuv(data_type: Any, height: int, width: int, bitdepth: int) -> None:
    source = yuv_picture(height, width, data_type, bitdepth)
    result = encode(source, TrainConfig(preset="lop", iterations=100, lmbda=1e-4))
    decoded = numchic.decode(result.stream)
    assert (decoded.data_type, decoded.bitdepth) == (data_type, bitdepth)
    errors = [
        ((ours.astype(float) - theirs) / ((1 << bitdepth) - 1)).ravel() ** 2
        for ours, theirs in zip(source.planes, decoded.planes, strict=True)
    ]
    assert result.mse == pytest.approx(np.mean(np.concatenate(errors)))


@pytest.mark.parametrize(
    "settings",
    [
        {"hyperlatent_resolution": None},
        {"hyperlatent_resolution": (2, 5), "latent_resolution": (0, 3)},
        {"ifce_resolution": None},
        {"ifce_resolution": (1, 3)},
        {"common_randomness": True},
        {"latent_resolution": (1, 4), "final_upsampling_type": "nearest"},
        {"latent_resolution": (1, 4), "final_upsampling_type": "bilinear"},
        {"latent_resolution": (2, 4), "final_upsampling_type": "bicubic"},
        {"latent_resolution": (0, 0), "hyperlatent_resolution": None},
    ],
    ids=str,
)
def test_architectures(settings: dict[str, Any]) -> None:
    config = TrainConfig(preset="lop", iterations=30, **settings)
    header = header_of(encode(picture(21, 34), config))
    names = {"common_randomness": "flag_common_randomness"}
    for name, value in settings.items():
        assert getattr(header, names.get(name, name)) == value


@pytest.mark.parametrize("common_randomness", [False, True])
def test_the_trailer_knows_what_is_decoded(common_randomness: bool) -> None:
    """Except for samples that depend on noise, and on the machine with it."""
    config = TrainConfig(preset="lop", iterations=20, common_randomness=common_randomness)
    result = encode(picture(9, 14), config)
    trailer = read_trailer(result.stream, read_stream(result.stream))
    assert trailer is not None
    assert trailer.metadata is None
    decoded = numchic.decode(result.stream)
    if common_randomness:
        assert trailer.samples is None
    else:
        assert trailer.samples == samples_digest(decoded.pieces())
    plain = encode(picture(9, 14), dataclasses.replace(config, trailer=False))
    assert plain.trailer_bytes == 0
    assert (plain.bits_per_pixel, plain.loss) == (result.bits_per_pixel, result.loss)
    stream = dataclasses.replace(read_stream(result.stream), trailer_announced=False)
    assert write_stream(stream) == plain.stream


def test_metadata_are_carried_if_wanted() -> None:
    metadata = Metadata(icc=b"profile", text=(("Title", "ramps"),))
    source = dataclasses.replace(yuv_picture(8, 8, "yuv444"), metadata=metadata)
    config = TrainConfig(preset="lop", iterations=20)
    assert numchic.decode(encode(source, config).stream).metadata is None
    result = encode(source, dataclasses.replace(config, metadata=True))
    assert numchic.decode(result.stream).metadata == metadata
    assert result.trailer_bytes == 45 + 5 + 7 + 5 + 11


def test_too_much_metadata_is_refused_at_once() -> None:
    metadata = Metadata(icc=bytes(5_000_000))
    source = dataclasses.replace(yuv_picture(8, 8, "yuv444"), metadata=metadata)
    with pytest.raises(numchic.UsageError, match="metadata"):
        encode(source, TrainConfig(iterations=20, metadata=True))
    encode(source, TrainConfig(preset="lop", iterations=20))


@pytest.mark.parametrize(
    "settings",
    [{"latent_resolution": (3, 2)}, {"latent_resolution": (0, 99)}, {"ifce_resolution": (0, 77)}],
    ids=str,
)
def test_what_the_format_cannot_express_is_refused_at_once(settings: dict[str, Any]) -> None:
    events: list[Event] = []
    with pytest.raises(numchic.UsageError):
        encode(picture(8, 8), TrainConfig(iterations=20, **settings), progress=events.append)
    assert not events


def test_pictures_that_the_decoder_would_refuse_are_refused_at_once() -> None:
    plane = np.broadcast_to(np.uint8(0), (10_001, 10_000))
    source = Picture((plane, plane, plane), "rgb", 8)
    parameter = architecture(TrainConfig(), "lop", (source.height, source.width))
    with pytest.raises(numchic.UsageError, match="limit"):
        check_format(parameter, source, None)
    fits = architecture(TrainConfig(), "vhop", (10_000, 10_000))
    check_format(fits, source, None)


def test_a_picture_without_chroma_samples_is_refused() -> None:
    with pytest.raises(numchic.UsageError, match="no chroma sample"):
        encode(yuv_picture(1, 5, "yuv420"), TrainConfig(iterations=20))


def test_the_same_seed_gives_the_same_stream() -> None:
    streams = [
        encode(picture(16, 16), TrainConfig(preset="lop", iterations=30, seed=seed)).stream
        for seed in (1, 1, 2)
    ]
    assert streams[0] == streams[1] != streams[2]


def test_more_iterations_give_a_lower_loss() -> None:
    losses = [encode(picture(32, 32), TrainConfig(iterations=n)).loss for n in (30, 300)]
    assert losses[1] < losses[0]


def test_progress_and_log() -> None:
    events: list[Event] = []
    config = TrainConfig(preset="lop", iterations=60, init="zero")
    result = encode(picture(8, 8), config, progress=events.append)
    phases = [event.phase for event in events]
    assert list(dict.fromkeys(phases)) == ["warm-up", "main", "quantise", "rdoq", "write"]
    assert [event.iteration for event in events[:60]] == list(range(1, 61))
    assert {event.n_iterations for event in events} == {60}
    assert [event.row for event in events if event.row] == result.log
    assert result.log[-1]["loss"] == result.loss
    assert result.log[-1]["bpp"] == result.bits_per_pixel
    assert set(result.cpu_seconds) == {"start", *phases}


def test_an_exception_of_the_callback_stops_the_encode() -> None:
    def stop(event: Event) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        encode(picture(8, 8), TrainConfig(iterations=30), progress=stop)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.full((4, 4, 3), 300, np.uint16),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        [[[0, 0, 0]]],
        b"photo.png",
        None,
        PILImage.new("RGBA", (4, 4), (0, 0, 0, 99)),
        Picture((np.zeros((4, 4), np.uint8),) * 3, "yuv420", 8),
        Picture((np.zeros((4, 4), np.uint8),) * 3, "rgb", 10),
        Picture((np.zeros((4, 4)),) * 3, "rgb", 8),  # type: ignore[arg-type]
        Picture((np.full((4, 4), 1 << 12, np.uint16),) * 3, "rgb", 12),
    ],
    ids=[
        "grey", "deep", "float", "empty", "tensor", "list", "bytes", "nothing", "transparent",
        "no 4:2:0", "shallow", "planes of floats", "too deep",
    ],
)  # fmt: skip
def test_what_is_not_a_picture_is_refused(image: Any) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        encode(image, TrainConfig(iterations=20))
    assert caught.value.field == "image"


def test_paths_and_pillow_images_are_pictures(tmp_path: Any) -> None:
    config = TrainConfig(preset="lop", iterations=20)
    expected = encode(picture(9, 14), config).stream
    image, path = PILImage.fromarray(picture(9, 14)), tmp_path / "ramps.png"
    image.save(path)
    for source in (path, str(path), image):
        assert encode(source, config).stream == expected
    with pytest.raises(FileNotFoundError):
        encode(tmp_path / "missing.png", config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", {"iterations": 3}),
        ("bitdepth", 8.0),
        ("bitdepth", 17),
        ("progress", "bar"),
        ("checkpoint", 3),
        ("checkpoint_seconds", float("nan")),
        ("checkpoint_seconds", "60"),
        ("extractor", "vgg"),
    ],
)
def test_arguments_are_checked(name: str, value: Any) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        encode(picture(4, 4), **{"config": TrainConfig(iterations=20), name: value})
    assert caught.value.field == name


def test_a_device_is_looked_for_where_the_training_runs() -> None:
    """Settings may be made on another machine than that of the device."""
    for device in ("abacus", "cuda:99", "meta"):
        config = TrainConfig(iterations=20, device=device)
        with pytest.raises(numchic.UsageError) as caught:
            encode(picture(4, 4), config)
        assert caught.value.field == "device"


@pytest.mark.parametrize(("goal", "wanted"), [("target_bpp", 1.6), ("target_psnr", 36.0)])
def test_targets(goal: str, wanted: float) -> None:
    config = TrainConfig(preset="lop", iterations=200, **{goal: wanted})  # type: ignore[arg-type]
    result = encode(picture(48, 64), config)
    assert result.goal_met
    if goal == "target_bpp":
        assert result.bits_per_pixel == pytest.approx(wanted, rel=0.02)
    else:
        assert result.psnr_db == pytest.approx(wanted, abs=0.1)


def test_a_target_out_of_reach_is_not_an_error() -> None:
    config = TrainConfig(preset="lop", iterations=20, target_bpp=0.001)
    result = encode(picture(8, 8), config)
    assert not result.goal_met
    assert numchic.decode(result.stream).height == 8


def test_a_missed_target_gives_the_nearest_attempt() -> None:
    config = TrainConfig(preset="lop", iterations=60, target_psnr=35.0, init="zero")
    result = encode(picture(24, 33), config)
    found = [abs(float(row["psnr_db"]) - 35) for row in result.log if row["phase"] == "write"]
    assert not result.goal_met
    assert len(found) > 2
    assert found[-2] > min(found)  # not the last attempt, whose row comes before that of the stream
    assert abs(result.psnr_db - 35) == found[-1] == min(found)
    assert result.log[-1]["loss"] == result.loss


def test_networks_can_come_from_another_stream(tmp_path: Any) -> None:
    first = encode(picture(32, 32), TrainConfig(preset="lop", iterations=200))
    path = tmp_path / "first.cool"
    path.write_bytes(first.stream)
    other = picture(40, 24)[:, ::-1].copy()
    config = {"preset": "lop", "iterations": 40}
    warm = encode(other, TrainConfig(**config, init=str(path)))  # type: ignore[arg-type]
    cold = encode(other, TrainConfig(**config, init="zero"))  # type: ignore[arg-type]
    assert warm.loss < cold.loss
    with pytest.raises(numchic.UsageError, match="another architecture"):
        encode(other, TrainConfig(preset="hop", iterations=40, init=str(path)))
    path.write_bytes(first.stream[:-45])
    with pytest.raises(numchic.IntegrityError):
        encode(other, TrainConfig(**config, init=str(path)))  # type: ignore[arg-type]


def test_streams_of_other_generations_are_no_start() -> None:
    old = ROOT / "conformance" / "vectors" / "v4" / "4.0-b.cool"
    with pytest.raises(numchic.UsageError, match=r"another generation.*found 4\.0.*allowed 5\.0"):
        encode(picture(8, 8), TrainConfig(iterations=20, init=str(old)))


SURROUNDINGS: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_encodes_do_not_depend_on_what_surrounds_them(name: str) -> None:
    config = TrainConfig(preset="lop", iterations=20)
    expected = encode(picture(8, 8), config).stream
    with SURROUNDINGS[name]():
        assert encode(picture(8, 8), config).stream == expected


def test_the_number_of_threads_changes_nothing() -> None:
    config = TrainConfig(preset="lop", iterations=20, threads=1)
    expected = encode(picture(150, 131), config)
    for threads in (2, 4, None):
        found = encode(picture(150, 131), dataclasses.replace(config, threads=threads))
        assert found.stream == expected.stream


def test_encodes_side_by_side_do_not_disturb_each_other() -> None:
    """Each gives what it gives alone, and torch is as before in every thread."""
    torch.set_num_threads(2)
    configs = [TrainConfig(preset="lop", iterations=20, seed=seed) for seed in range(4)]
    expected = [encode(picture(20, 20), config).stream for config in configs]
    torch.manual_seed(5)
    random = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(torch.get_num_threads) for _ in range(4)]
        assert {future.result() for future in threads} == {2}
        found = list(pool.map(lambda config: encode(picture(20, 20), config).stream, configs))
        threads = [pool.submit(torch.get_num_threads) for _ in range(16)]
        assert {future.result() for future in threads} == {2}
    assert found == expected
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == 2
    assert torch.get_default_dtype() == torch.float32


def test_the_process_is_as_before() -> None:
    """Whether an encode succeeds or not."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    config = TrainConfig(preset="lop", iterations=20)
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(5)
        encode(picture(4, 4), config)
        with pytest.raises(numchic.UsageError):
            encode(picture(4, 4), dataclasses.replace(config, ifce_resolution=(3, 2)))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before[1])
    assert torch.get_num_threads() == before[0]
    assert torch.is_grad_enabled()
    assert torch.equal(torch.rand(1), expected)
