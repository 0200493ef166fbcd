# SPDX-License-Identifier: BSD-3-Clause
"""Encoding of videos from the frames to the stream, with tiny frames and few iterations."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import numchic
from numchic import Metadata, Picture
from numchic.v5.coolchic import decode_signal
from numchic_bitstream import CoolChic, UsageError, read_stream, read_trailer, write_stream
from numchic_trainer import (
    TrainConfig,
    VideoConfig,
    VideoEvent,
    VideoResult,
    encode,
    encode_video,
)
from numchic_trainer.quality import mean_squared_error
from numchic_trainer.video.config import at_level
from numchic_trainer.video.finish import join
from numchic_trainer.video.frame import CodedFrame, FrameTask, decode, encode_frame
from numchic_trainer.video.frames import to_frames
from numchic_trainer.video.records import Records, digest_of, frame_bytes, read_frame
from numchic_trainer.video.search import search
from numchic_trainer.video.structure import PlannedFrame, plan_frames, plan_structure
from numchic_trainer.video.tasks import FrameQueue, lambdas

QUICK = VideoConfig(
    preset="lop", iterations=8, inter_preset=("tiny",), inter_iterations=(8,), rdoq=False
)


def frame(t: int, bitdepth: int = 8) -> Picture:
    """One picture of waves that move."""
    y, x = np.mgrid[:24, :32]
    kind = np.uint8 if bitdepth == 8 else np.uint16
    luma = ((128 + 60 * np.sin((x + 2 * t) / 5) + 40 * np.cos(y / 4)) * 2 ** (bitdepth - 8)).astype(
        kind
    )
    return Picture((luma, luma[::2, ::2].copy(), luma[1::2, ::2].copy()), "yuv420", bitdepth)


def clip(n_frames: int) -> list[Picture]:
    return [frame(t) for t in range(n_frames)]


def quick(**settings: Any) -> VideoConfig:
    return dataclasses.replace(QUICK, **settings)


@pytest.mark.parametrize(
    ("settings", "order", "kinds"),
    [
        ({"structure": "intra"}, [0, 1, 2, 3], "IIII"),
        ({"structure": "low-delay"}, [0, 1, 2, 3], "IPPP"),
        ({"structure": "random-access:2"}, [0, 2, 3, 1], "IPPB"),
        ({"intra": "0,-1"}, [0, 3, 1, 2], "IIBB"),
        ({}, [0, 3, 1, 2], "IPBB"),
    ],
)
def test_what_is_reported_is_what_is_decoded(
    settings: dict[str, Any], order: list[int], kinds: str
) -> None:
    source, config = clip(4), quick(**settings)
    result = encode_video(source, config)
    stream = read_stream(result.stream)
    assert [place.display_index for place in stream.places] == order
    assert [report.index for report in result.frames] == order
    assert "".join(report.kind for report in result.frames) == kinds
    assert stream.header.intra_pos == result.intra
    assert stream.header.p_pos == result.p
    assert result.trailer_bytes == len(result.stream) - stream.n_bytes == 45
    decoded = list(numchic.decode_frames(result.stream))
    for report in result.frames:
        mse = mean_squared_error(source[report.index], decoded[report.index])
        assert report.mse == pytest.approx(mse, rel=1e-12)
    n_bytes = sum(report.n_bytes for report in result.frames)
    assert stream.n_bytes == stream.header.n_bytes_header + n_bytes
    assert result.bits_per_pixel == 8 * stream.n_bytes / (4 * 24 * 32)
    assert result.mse == pytest.approx(np.mean([report.mse for report in result.frames]))
    assert result.psnr_db == pytest.approx(-10 * np.log10(result.mse))
    assert result.plane_psnr_db[0] == pytest.approx(np.mean([r.psnr[0] for r in result.frames]))
    assert result.loss == pytest.approx(result.mse + 1e-3 * result.bits_per_pixel)
    assert result.goal_met


@pytest.mark.parametrize(
    "settings", [{}, {"tune": "ssim"}, {"target_psnr": 25.0}, {"trailer": False}]
)
def test_a_video_of_one_frame_is_a_picture(settings: dict[str, Any]) -> None:
    config = TrainConfig(preset="lop", iterations=8, seed=3, **settings)
    expected = encode(frame(0), config)
    events: list[VideoEvent] = []
    result = encode_video(
        clip(1), VideoConfig(preset="lop", iterations=8, seed=3, **settings), progress=events.append
    )
    assert result.stream == expected.stream
    assert (result.lmbda, result.goal_met) == (expected.lmbda, expected.goal_met)
    assert result.mse == pytest.approx(expected.mse, rel=1e-12)
    assert len(events) > 1
    assert events[-1] == VideoEvent("finished", 0, 1, 1, report=result.frames[0])


def test_i_frames_are_pictures() -> None:
    source = clip(2)
    result = encode_video(source, quick(structure="intra", seed=7))
    coded = read_stream(result.stream).frames
    for index, picture in enumerate(source):
        still = encode(picture, TrainConfig(preset="lop", iterations=8, rdoq=False, seed=7 + index))
        (expected,) = read_stream(still.stream).frames
        assert coded[index].residue.latent_payload == expected.residue.latent_payload
        assert coded[index].residue.nn_payload == expected.residue.nn_payload


def test_lambdas() -> None:
    config = VideoConfig(lmbda=2.0, intra_lambda=0.5, lambda_by_level=(1.0, 1.5, 2.0))
    plan = plan_frames(10, *plan_structure(10, intra="0,9", p="8"))
    found = lambdas(plan, config)
    assert (found[0], found[8], found[9]) == (1.0, 2.0, 2.0)  # nothing is predicted from 9
    assert (found[4], found[2], found[1]) == (3.0, 4.0, 4.0)


def test_depth_and_rgb() -> None:
    deep = encode_video([frame(t, 10) for t in range(2)], quick())
    assert next(numchic.decode_frames(deep.stream)).bitdepth == 10
    colours = np.stack([np.stack(3 * [frame(t).planes[0]], -1) for t in range(2)])
    result = encode_video(colours, quick())
    assert next(numchic.decode_frames(result.stream)).data_type == "rgb"


def test_scene_cuts_begin_anew() -> None:
    rng = np.random.default_rng(0)
    other = rng.integers(0, 256, (24, 32)).astype(np.uint8)
    noise = Picture((other, other[::2, ::2].copy(), other[::2, ::2].copy()), "yuv420", 8)
    result = encode_video([*clip(2), noise, noise], quick())
    assert result.intra == (0, 2)


def in_disorder(
    work: Callable[[FrameTask], CodedFrame], tasks: Iterable[FrameTask | None], *_: object
) -> Iterator[tuple[FrameTask, CodedFrame]]:
    """Begin all that can be begun, and finish what was begun last."""
    waiting, begun = iter(tasks), list[FrameTask]()
    while True:
        while (task := next(waiting, None)) is not None:
            begun.append(task)
        if not begun:
            return
        task = begun.pop()
        yield task, work(task)


def test_the_order_of_frames_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, config = clip(7), quick(structure="random-access:4")
    expected = encode_video(source, config, checkpoint=tmp_path / "frames")
    assert len(list((tmp_path / "frames").iterdir())) == 7
    monkeypatch.setattr("numchic_trainer.command.cluster.run_on_cluster", in_disorder)
    events: list[VideoEvent] = []
    other = encode_video(source, config, scheduler="a cluster", progress=events.append)
    assert other.stream == expected.stream
    assert [event.frame for event in events] != [report.index for report in expected.frames]
    assert [event.n_done for event in events] == list(range(1, 8))
    resumed = encode_video(source, config, checkpoint=tmp_path / "frames", progress=events.append)
    assert resumed == expected
    assert len(events) == 7  # no more of them


def test_processes_change_nothing() -> None:
    config = quick(structure="random-access:2")
    expected = encode_video(clip(3), config)
    events: list[VideoEvent] = []
    result = encode_video(clip(3), config, jobs=2, progress=events.append)
    assert result.stream == expected.stream
    assert [event.phase for event in events] == 3 * ["finished"]


class Count:
    """Counts frames that are encoded, and stops when so many are finished."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.finished: list[int] = []
        self.stop_after = stop_after

    def __call__(self, event: VideoEvent) -> None:
        if len(self.finished) >= self.stop_after and event.phase == "main":
            raise KeyboardInterrupt  # between two iterations
        if event.report is not None:
            self.finished.append(event.frame)


class Levels(NamedTuple):
    """Settings of three levels, a clip encoded with them, and the files of its frames."""

    config: VideoConfig
    result: VideoResult
    folder: Path


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Levels:
    folder = tmp_path_factory.mktemp("levels") / "frames"
    config = quick(structure="random-access:4", lambda_by_level=(1.0, 1.5, 2.0))
    return Levels(config, encode_video(clip(5), config, checkpoint=folder), folder)


def test_finished_frames_are_never_encoded_again(levels: Levels, tmp_path: Path) -> None:
    source, folder = clip(5), tmp_path / "frames"
    first, second = Count(2), Count()
    with pytest.raises(KeyboardInterrupt):
        encode_video(source, levels.config, checkpoint=folder, progress=first)
    assert len(list(folder.iterdir())) == len(first.finished) == 2
    result = encode_video(source, levels.config, checkpoint=folder, progress=second)
    assert result.stream == levels.result.stream
    assert sorted(first.finished + second.finished) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "again"),
    [
        ({"inter_iterations": (8, 12, 8)}, [1, 2, 3]),  # level 1, and what depends on its samples
        ({"inter_iterations": (8, 8, 9)}, [1, 3]),
        ({"lambda_by_level": (1.0, 1.5, 9.0)}, [1, 3]),
        ({"inter_preset": ("tiny", "tiny", "skip")}, [1, 3]),
        ({"trailer": False, "threads": 1}, []),
        ({"seed": 1}, [0, 1, 2, 3, 4]),
    ],
)
def test_what_depends_on_changed_settings_is_encoded_again(
    settings: dict[str, Any], again: list[int], levels: Levels, tmp_path: Path
) -> None:
    source, folder = clip(5), tmp_path / "frames"
    shutil.copytree(levels.folder, folder)
    count, changed = Count(), dataclasses.replace(levels.config, **settings)
    result = encode_video(source, changed, checkpoint=folder, progress=count)
    assert sorted(count.finished) == again
    assert result.stream == encode_video(source, changed).stream


def test_a_changed_frame_is_encoded_again(tmp_path: Path) -> None:
    source, config, folder = clip(3), quick(structure="low-delay"), tmp_path / "frames"
    encode_video(source, config, checkpoint=folder)
    count = Count()
    encode_video([*source[:2], frame(9)], config, checkpoint=folder, progress=count)
    assert count.finished == [2]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoResult, Path]:
    """Two frames, encoded, and their files."""
    folder = tmp_path_factory.mktemp("pair") / "frames"
    return encode_video(clip(2), quick(), checkpoint=folder), folder


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "empty", "another frame"])
def test_damaged_files_are_as_if_they_were_not_there(
    damage: str, pair: tuple[VideoResult, Path], tmp_path: Path
) -> None:
    expected, finished = pair
    folder = tmp_path / "frames"
    shutil.copytree(finished, folder)
    first, second = sorted(folder.iterdir())
    contents = bytearray(first.read_bytes())
    if damage == "flip":
        contents[len(contents) // 2] ^= 1
    damaged: dict[str, bytes | bytearray] = {
        "cut": contents[:-1],
        "flip": contents,
        "empty": b"",
        "foreign": b"something",
    }
    first.write_bytes(bytes(damaged.get(damage, second.read_bytes())))
    (folder / "notes.txt").write_text("mine")
    count = Count()
    result = encode_video(clip(2), quick(), checkpoint=folder, progress=count)
    assert count.finished == [0]
    assert result.stream == expected.stream


def test_frames_as_bytes(pair: tuple[VideoResult, Path]) -> None:
    stream = read_stream(pair[0].stream)
    copies = tuple(read_frame(frame_bytes(coded)) for coded in stream.frames)
    copy = dataclasses.replace(stream, frames=copies, trailer_announced=False)
    assert write_stream(copy) == write_stream(dataclasses.replace(stream, trailer_announced=False))


def test_drift_is_noticed(pair: tuple[VideoResult, Path]) -> None:
    source = to_frames(clip(2))
    plan = plan_frames(2, (0, 1), ())
    queue = FrameQueue(source, plan, QUICK, Records(None))
    for task in queue.tasks():
        assert task is not None
        queue.take(task, encode_frame(task, lambda _: None))
    records = [queue.finished[0], queue.finished[1]._replace(samples=digest_of(frame(0)))]
    header = dataclasses.replace(read_stream(pair[0].stream).header, intra_pos=(0, 1), p_pos=())
    with pytest.raises(RuntimeError, match="frame 1"):
        join(header, records, None, trailer=True, threads=1)


def test_pictures_are_forgotten() -> None:
    source = to_frames([frame(0)] * 129)
    plan = plan_frames(129, *plan_structure(129, "random-access:8"))
    queue = FrameQueue(source, plan, quick(donors=False), Records(None))
    alive: weakref.WeakSet[Picture] = weakref.WeakSet()
    most = 0
    for task in queue.tasks():
        assert task is not None
        decoded = frame(task.plan.index)
        alive.add(decoded)
        coded: Any = CodedFrame(None, decoded, None)  # type: ignore[arg-type]
        queue.take(task, coded)
        del coded, decoded, task
        gc.collect(0)
        most = max(most, len(alive))
    assert len(queue.finished) == 129
    assert most <= 7  # an anchor before, one behind, a frame per level


def test_that_nothing_can_be_begun_is_seen_at_once() -> None:
    """In a chain of frames nobody looks at all that are to come."""
    n_frames, n_calls = 60, 0
    plan = plan_frames(n_frames, (0,), range(1, n_frames))
    source = to_frames([frame(0)] * n_frames)
    queue = FrameQueue(source, plan, quick(donors=False), Records(None))

    def count(_: object, event: str, __: object) -> None:
        nonlocal n_calls
        n_calls += event == "call"

    tasks = queue.tasks()
    for task in tasks:
        assert task is not None
        sys.setprofile(count)
        assert next(tasks, None) is None
        sys.setprofile(None)
        queue.take(task, CodedFrame(None, task.picture, None))  # type: ignore[arg-type]
    assert len(queue.finished) == n_frames
    assert n_calls < 10 * n_frames


def test_a_predicted_frame_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[CoolChic] = []

    def counted(coolchic: CoolChic, *arguments: Any, **more: Any) -> Any:
        decoded.append(coolchic)
        return decode_signal(coolchic, *arguments, **more)

    for module in ("numchic.v5.frame", "numchic_trainer.video.signals"):
        monkeypatch.setattr(f"{module}.decode_signal", counted)
    plan = PlannedFrame(1, "P", (0,), 0, None)
    coded = encode_frame(FrameTask(plan, frame(1), (frame(0),), None, QUICK, 1e-3), lambda _: None)
    assert decoded == list(coded.frame.parts)
    assert digest_of(coded.decoded) == digest_of(decode(coded.frame, (frame(0),)))


def test_metadata_of_the_samples_are_kept() -> None:
    text = (("frame-rate", "30000/1001"), ("y4m", "Ip A1:1"), ("Title", "waves"))
    source = [dataclasses.replace(p, metadata=Metadata(text=text)) for p in clip(2)]

    def kept(**settings: Any) -> Any:
        result = encode_video(source, quick(**settings))
        trailer = read_trailer(result.stream, read_stream(result.stream))
        return trailer and trailer.metadata

    assert kept() == Metadata(text=text[:2])
    assert kept(metadata=True) == Metadata(text=text)
    assert kept(trailer=False) is None


@pytest.mark.parametrize(
    ("source", "settings", "field"),
    [
        ([], {}, "frames"),
        (clip(3), {"intra": "1"}, "intra"),
        (clip(3), {"intra": "0,7"}, "intra"),
        (clip(3), {"structure": "intra", "p": "1"}, "structure"),
        (clip(3), {"structure": "pyramid"}, "structure"),
        (clip(3), {"tune": "ssim"}, "tune"),
        (clip(3), {"weights": "sphere"}, "weights"),
        (clip(3), {"lmbda": 1000.0, "intra_lambda": 2.0}, "lmbda"),
        ([*clip(2), frame(0, 10)], {}, "frames"),
        ([Picture(3 * (np.zeros((5, 5), np.uint8),), "rgb", 8), frame(0)], {}, "frames"),
    ],
)
def test_what_cannot_be_encoded_is_refused_before_any_training(
    source: Any, settings: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numchic_trainer.video.encoding.encode_frame", None)
    with pytest.raises(UsageError, match=field):
        encode_video(source, quick(**settings))


def test_odd_sizes() -> None:
    planes = [np.zeros(shape, np.uint8) for shape in ((5, 6), (2, 3), (2, 3))]
    odd = Picture((planes[0], planes[1], planes[2]), "yuv420", 8)
    with pytest.raises(UsageError):
        encode_video([odd, odd], QUICK)


def test_metadata_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numchic_trainer.video.encoding.encode_frame", None)
    large = Metadata(text=(("Title", "a" * (1 << 23)),))
    source = [dataclasses.replace(p, metadata=large) for p in clip(2)]
    with pytest.raises(UsageError, match="metadata"):
        encode_video(source, quick(metadata=True))


@pytest.mark.parametrize(
    "arguments",
    [{"config": TrainConfig()}, {"progress": 3}, {"checkpoint": 3}, {"jobs": 0}, {"scheduler": 3}],
)
def test_arguments(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(UsageError, match=name):
        encode_video(clip(2), **{"config": QUICK, **arguments})


def test_a_checkpoint_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UsageError, match="checkpoint"):
        encode_video(clip(2), QUICK, checkpoint=path)
    with pytest.raises(FileNotFoundError):
        encode_video(clip(2), QUICK, checkpoint=tmp_path / "no" / "folder")


class Formula:
    """Encodes whose outcome follows from lambda and the number of iterations."""

    def __init__(self) -> None:
        self.configs: list[VideoConfig] = []

    def __call__(self, config: VideoConfig) -> VideoResult:
        self.configs.append(config)
        iterations = at_level(config.inter_iterations or (0,), 0)
        quality = 30.0 - 3.1 * np.log(config.lmbda / 1e-3) - 40.0 / iterations
        rate = 0.2 * (config.lmbda / 1e-3) ** -0.6 * (1 + 4 / iterations)
        return VideoResult(
            b"", 0, (0,), (), config.lmbda, quality, (quality,) * 3, 0.0, rate, 0.0, True, 0.0, ()
        )


@pytest.mark.parametrize(
    ("goal", "n_at_most"),
    [({"target_psnr": 37.0}, 6), ({"target_bpp": 0.5}, 6), ({"target_bpp": 0.2}, 5)],
)
def test_search(goal: dict[str, float], n_at_most: int) -> None:
    encodes = Formula()
    config = VideoConfig(iterations=1000, inter_iterations=(1000,), **goal)  # type: ignore[arg-type]
    result = search(config, "lop", encodes)
    assert result.goal_met
    if "target_psnr" in goal:
        assert abs(result.psnr_db - 37.0) <= 0.1
    else:
        assert abs(result.bits_per_pixel / goal["target_bpp"] - 1) <= 0.02
    assert len(encodes.configs) <= n_at_most
    assert encodes.configs[0].inter_iterations == (200,) * 16
    assert encodes.configs[-1] == dataclasses.replace(config, lmbda=result.lmbda)


def test_a_goal_that_is_out_of_reach() -> None:
    encodes = Formula()
    config = VideoConfig(iterations=100, inter_iterations=(100,), target_psnr=99.0)
    result = search(config, "lop", encodes)
    assert not result.goal_met
    assert result.lmbda == pytest.approx(1e-6)
    assert len(encodes.configs) <= 10


def test_targets_of_a_video(tmp_path: Path) -> None:
    attempts: list[int] = []
    result = encode_video(
        clip(2),
        quick(target_psnr=18.0),
        progress=lambda event: attempts.append(event.attempt),
        checkpoint=tmp_path / "frames",
    )
    assert result.goal_met == (abs(result.psnr_db - 18.0) <= 0.1)
    assert sorted(attempts) == attempts
    assert 2 <= attempts[-1] <= 10
