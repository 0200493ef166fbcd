# SPDX-License-Identifier: BSD-3-Clause
"""Reports of encoded videos, and tables of encodes of clips, with tiny frames."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.quiver import Quiver
from PIL import Image

import numchic
from numchic import Picture
from numchic.command.cli import main as command
from numchic.v5.frame import to_samples
from numchic_bitstream import UsageError, read_stream
from numchic_bitstream.structure import FrameDataType
from numchic_trainer import VideoConfig, VideoResult, encode_video
from numchic_trainer.benchmark import main
from numchic_trainer.command.table import read_table
from numchic_trainer.quality import plane_error, psnr
from numchic_trainer.video import figures
from numchic_trainer.video.benchmark import ABLATIONS, anchor_rows, parse_settings
from numchic_trainer.video.figures import colours_of
from numchic_trainer.video.frame import FrameReport
from numchic_trainer.video.frames import to_frames
from numchic_trainer.video.report import notable_frames, write_video_report
from numchic_trainer.video.signals import Signals, signals_of

QUICK: dict[str, Any] = {
    "preset": "lop",
    "iterations": 4,
    "inter_preset": ("tiny",),
    "inter_iterations": (6,),
    "rdoq": False,
}


def clip(
    n_frames: int,
    size: tuple[int, int] = (24, 32),
    data_type: FrameDataType = "yuv420",
    bitdepth: int = 8,
) -> list[Picture]:
    """Waves that move."""
    y, x = np.mgrid[: size[0], : size[1]]
    scale = 2 ** (bitdepth - 8)
    kind = np.uint8 if bitdepth == 8 else np.uint16
    step = 2 if data_type == "yuv420" else 1
    pictures = []
    for t in range(n_frames):
        wave = 128 + 60 * np.sin((x + 2 * t) / 5) + 40 * np.cos(y / 4)
        luma = (scale * wave).astype(kind)
        planes = (luma, luma[::step, ::step].copy(), luma[::step, ::step].copy())
        pictures.append(Picture(planes, data_type, bitdepth))
    return pictures


@pytest.fixture(scope="module")
def source() -> list[Picture]:
    return clip(5)


@pytest.fixture(scope="module")
def result(source: list[Picture]) -> VideoResult:
    return encode_video(source, VideoConfig(structure="random-access:4", **QUICK))


def test_all_bytes_are_told(result: VideoResult) -> None:
    parts = [f"{part}_bytes" for part in figures.PARTS]
    for frame in result.frames:
        assert frame.n_bytes == sum(getattr(frame, part) for part in parts)
    header = 7 + 3  # 52 bits, and 12 for every I and P frame
    n_bytes = header + sum(getattr(frame, part) for frame in result.frames for part in parts)
    assert n_bytes == len(result.stream) - result.trailer_bytes


def test_signals_make_the_frame(source: list[Picture], result: VideoResult) -> None:
    decoded = list(numchic.decode_frames(result.stream))
    coded = {frame.header.display_index: frame for frame in read_stream(result.stream).frames}
    for report in result.frames:
        if report.kind == "I":
            assert (report.alpha, report.beta, report.prediction_psnr) == (None, None, None)
            continue
        references = [decoded[index] for index in report.references]
        signals = signals_of(coded[report.index], references)
        assert (signals.beta is None) == (report.kind == "P")
        assert signals.motion.shape == (len(references), 2, 24, 32)
        assert report.alpha == pytest.approx(signals.alpha.mean(), rel=1e-5)
        if signals.beta is not None:
            assert report.beta == pytest.approx(signals.beta.mean(), rel=1e-5)
        planes = zip(source[report.index].planes, signals.prediction.planes, strict=True)
        found = [psnr(plane_error(ours, theirs, 8)) for ours, theirs in planes]
        assert report.prediction_psnr == pytest.approx(found)
        prediction = signals.prediction.planes[0].astype(np.float32) / np.float32(255)
        luma = signals.alpha * prediction + signals.residue[0]
        whole = np.stack([luma, luma, luma])
        difference = to_samples(whole, "yuv444", 8)[0].astype(int) - decoded[report.index].planes[0]
        assert np.abs(difference).max() <= 1  # the prediction is rounded before


@pytest.mark.parametrize(
    ("frames", "structure"),
    [
        (clip(5), "random-access:4"),
        (clip(3, (1, 1), "rgb"), "low-delay"),
        (clip(3, (3, 40), "yuv444", 10), "random-access:2"),
        (clip(2, (17, 5), "yuv444", 16), "intra"),
        (clip(1), "intra"),
    ],
)
def test_all_files_are_there(frames: list[Picture], structure: str, tmp_path: Path) -> None:
    encoded = encode_video(frames, VideoConfig(structure=structure, **QUICK))
    folder = tmp_path / "new" / "folder"
    paths = write_video_report(folder, to_frames(frames), encoded)
    assert sorted(folder.iterdir()) == sorted(paths)
    for path in paths[:-1]:
        with Image.open(path) as image:
            image.load()
            assert 100 < min(image.size) <= max(image.size) < 5000
    page = paths[-1].read_text()
    assert all(f'src="{path.name}"' in page for path in paths[:-1])
    assert page.count("background:#") == len(frames) + 1  # and that of every second row
    assert f"{len(encoded.stream) - encoded.trailer_bytes} bytes," in page
    assert f"<td>{len(encoded.stream) - encoded.trailer_bytes}</td>" in page


def test_on_the_command_line(tmp_path: Path) -> None:
    source, log = tmp_path / "waves_32x24.yuv", tmp_path / "log.csv"
    source.write_bytes(b"".join(picture.to_bytes() for picture in clip(3)))
    outcome = CliRunner().invoke(
        command,
        [
            "encode", str(source), str(tmp_path / "a.cool"), "--preset", "lop",
            "--iterations", "4", "--inter-preset", "tiny", "--inter-iterations", "6",
            "--report", str(tmp_path / "report"), "--log", str(log),
        ],
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "report" / "index.html").is_file()
    intra, p, b = read_table(log)
    assert (intra["kind"], p["kind"], b["kind"]) == ("I", "P", "B")
    assert (intra["alpha"], intra["prediction_psnr_1"], p["beta"]) == ("", "", "")
    assert 0 <= float(b["beta"]) <= 1
    assert float(p["alpha"]) > 0.5
    assert float(p["prediction_psnr_3"]) > 5


def test_same_input_same_report_and_chosen_frames(
    source: list[Picture], result: VideoResult, tmp_path: Path
) -> None:
    frames = to_frames(source)
    chosen = {3: "it is <mine>"}
    first = [p.read_bytes() for p in write_video_report(tmp_path, frames, result, chosen)]
    again = [p.read_bytes() for p in write_video_report(tmp_path, frames, result, chosen)]
    assert first == again
    assert [path.name for path in sorted(tmp_path.glob("frame-*"))] == ["frame-0003.png"]
    assert "Frame 3: B from 2 and 4; it is &lt;mine&gt;" in first[-1].decode()


def reports(result: VideoResult, n: int) -> list[FrameReport]:
    """Reports of a long video: the frames of a short one again and again."""
    frames = sorted(result.frames, key=lambda frame: frame.index)[:4]
    return [
        dataclasses.replace(
            frames[i % 4],
            index=i,
            references=tuple(i - i % 4 + index for index in frames[i % 4].references),
        )
        for i in range(n)
    ]


def test_long_videos(result: VideoResult) -> None:
    frames = reports(result, 4095)
    for figure in (figures.structure(frames), figures.courses(frames, ("Y", "U", "V"))):
        figure.canvas.draw()
        width, height = figure.get_size_inches()
        assert width <= 40
        assert height <= 10


def test_the_highest_bars_are_cut(result: VideoResult) -> None:
    frames = sorted(result.frames, key=lambda frame: frame.index)
    frames[0] = dataclasses.replace(frames[0], n_bytes=9000, residue_latent_bytes=9000)
    axes = figures.courses(frames, ("Y", "U", "V")).axes[0]
    assert axes.get_ylim()[1] < 1000
    assert [text.get_text() for text in axes.texts] == ["9000"]
    assert axes.get_title().endswith("cut")


def test_motion_is_drawn(source: list[Picture], result: VideoResult) -> None:
    report = next(frame for frame in result.frames if frame.kind == "P")
    picture, height, width = source[report.index], 24, 32
    ones = np.ones((height, width), np.float32)
    motion = np.stack([3 * ones, -4 * ones])[None].astype(np.float32)
    nothing = np.zeros((3, height, width), np.float32)
    alpha = np.full((height, width), 0.5, np.float32)
    signals = Signals(nothing, alpha, None, motion, picture, picture)
    moved = dataclasses.replace(report, global_flow=(7, -5))
    *_, share, axes, empty, _ = figures.pictures(moved, picture, picture, signals).axes
    assert share.get_title().startswith("alpha, share of the prediction: mean 0.500")
    title = f"motion from frame {report.references[0]}: up to 5.00 pixels\nafter a shift by (7, -5)"
    assert axes.get_title() == title
    (arrows,) = axes.collections
    assert isinstance(arrows, Quiver)
    np.testing.assert_array_equal(np.asarray(arrows.U), 3)
    np.testing.assert_array_equal(np.asarray(arrows.V), -4)
    assert not empty.axison


def test_notable_frames(result: VideoResult) -> None:
    facts = [(0.1, 900, "I"), (0.2, 20, "P"), (0.5, 10, "P"), (0.3, 30, "B"), (0.4, 5, "P")]
    frames = [
        dataclasses.replace(result.frames[0], index=i, mse=mse, n_bytes=size, kind=kind)
        for i, (mse, size, kind) in enumerate(facts)
    ]
    assert notable_frames(frames) == {
        0: "the first I frame",
        2: "the largest error",
        3: "the median error, the largest P or B frame",
    }
    assert list(notable_frames(frames[:1])) == [0]


def test_colours_of_motion() -> None:
    field = np.array([[[1.0, -1.0, 0.0, 0.5]], [[0.0, 0.0, 0.0, 0.0]]])
    right, left, still, half = colours_of(field)[0]
    assert right.argmax() == 0
    assert left.argmin() == 0
    assert not still.any()
    np.testing.assert_allclose(half, right / 2)


def test_settings_of_the_benchmark() -> None:
    text = "inter_iterations=300,200,donors=False,inter_preset=auto,lmbda=2e-3,network_rate=0.5"
    assert parse_settings(text) == {
        "inter_iterations": (300, 200),
        "donors": False,
        "inter_preset": ("auto",),
        "lmbda": 2e-3,
        "network_rate": 0.5,
    }
    assert parse_settings("") == {}
    for wrong in ("fast", "speed=1", "lmbda=much", "donors=no"):
        with pytest.raises(UsageError):
            parse_settings(wrong)


ANCHORS = """clip n_frames codec setting frame bytes psnr_y bytes_nn loss_x1000
a.yuv 2 x q1 all 100 30.5 - 0.5
a.yuv 2 x q2 all 200 31.5 - 0.9
a.yuv 2 x q3 I0 200 31.5 - 0.7
a.yuv 2 w q4 all 200 31.5 7 9
a.yuv 3 x q5 all 200 31.5 - 0.7
""".replace(" ", "\t").replace("-", "")


def test_anchors(tmp_path: Path) -> None:
    table = tmp_path / "anchors.tsv"
    table.write_text(ANCHORS)
    found = list(anchor_rows(table, "a.yuv", 2, 0.8))
    settings = [(row["codec"], row["setting"]) for row in found]
    assert settings == [("w", "q4"), ("x", "q1"), ("x", "q2")]
    assert found[0]["networks"] == 7
    assert found[2]["psnr_y"] == 31.5
    assert "networks" not in found[1]
    table.write_text("a\tb\n1\t2\n")
    with pytest.raises(UsageError, match="table of anchors"):
        list(anchor_rows(table, "a.yuv", 2, 0.7))


def test_benchmark_of_videos(tmp_path: Path) -> None:
    path = tmp_path / "waves_32x24.yuv"
    path.write_bytes(b"".join(picture.to_bytes() for picture in clip(3)))
    anchors = tmp_path / "anchors.tsv"
    anchors.write_text(ANCHORS.replace("a.yuv", path.name))
    settings = "preset=lop,iterations=2,inter_iterations=3,2,inter_preset=tiny,rdoq=False"
    arguments = [
        "videos", str(path), "--frames", "1:3", "--structures", "low-delay,intra",
        "--settings", settings, "--ablations", "--anchors", str(anchors),
    ]  # fmt: skip
    save = ["--save", str(tmp_path / "rows.json")]
    outcome = CliRunner().invoke(main, [*arguments, *save])
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    n_settings = 1 + len(ABLATIONS)
    assert len(rows) >= 2 * n_settings + 2
    for row in rows[: 2 * n_settings]:
        assert row["bytes"] == row["headers"] + row["networks"] + row["latents"]
        loss = 10 ** (-row["psnr_yuv"] / 10) + 1e-3 * 8 * row["bytes"] / (2 * 32 * 24)
        assert row["loss_x1000"] == pytest.approx(1000 * loss, rel=1e-3)
    arguments.remove("--ablations")
    outcome = CliRunner().invoke(main, [*arguments, "--against", save[1]])
    assert outcome.exit_code == 0, outcome.output
    assert "x bytes 1.000" in outcome.output
