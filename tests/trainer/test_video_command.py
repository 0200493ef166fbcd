# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode`` of videos as a user calls it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import numchic
from children import compiled_only, environment
from numchic.command.cli import main
from numchic_trainer.video.frame import CodedFrame, FrameTask, encode_frame
from terminal import has_terminals, run_in_terminal

QUICK = [
    "--iterations",
    "8",
    "--preset",
    "lop",
    "--inter-iterations",
    "8",
    "--inter-preset",
    "tiny",
]


def run(*arguments: object, **more: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], **more)


def luma(t: int) -> Any:
    y, x = np.mgrid[:16, :24]
    return (128 + 60 * np.sin((x + 2 * t) / 5) + 40 * np.cos(y / 4)).astype(np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "waves.y4m"
    frames = [b"FRAME\n" + luma(t).tobytes() + 2 * luma(t)[::2, ::2].tobytes() for t in range(4)]
    header = b"YUV4MPEG2 W24 H16 F30000:1001 Ip A1:1 C420jpeg\n"
    path.write_bytes(header + b"".join(frames))
    return path


def test_encode_and_decode(source: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "waves.cool", tmp_path / "back.y4m"
    result = run("encode", source, out, *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"waves.y4m: 4 frames, {out.stat().st_size} bytes (" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["waves.cool", "waves.y4m"]
    assert run("decode", out, back).exit_code == 0
    assert back.read_bytes().startswith(b"YUV4MPEG2 W24 H16 F30000:1001 Ip A1:1 C420jpeg\nFRAME")
    assert back.stat().st_size == source.stat().st_size
    piped = run("encode", "-", "-", *QUICK, input=source.read_bytes())
    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout_bytes == out.read_bytes()


def test_numbered_pictures_and_a_bare_file(source: Path, tmp_path: Path) -> None:
    for t in range(2):
        Image.fromarray(np.stack(3 * [luma(t)], -1)).save(tmp_path / f"frame-{t:04d}.png")
    result = run("encode", tmp_path / "frame-%04d.png", tmp_path / "a.cool", *QUICK)
    assert result.exit_code == 0, result.output
    with numchic.open(tmp_path / "a.cool") as stream:
        assert (stream.n_frames, stream.data_type) == (2, "rgb")
    bare = tmp_path / "waves_24x16.yuv"
    bare.write_bytes(
        b"".join(luma(t).tobytes() + 2 * luma(t)[::2, ::2].tobytes() for t in range(4))
    )
    result = run("encode", bare, tmp_path / "b.cool", *QUICK, "--frames", "1:4", "--jobs", "2")
    assert result.exit_code == 0, result.output
    with numchic.open(tmp_path / "b.cool") as stream:
        assert (stream.n_frames, stream.data_type) == (3, "yuv420")


def test_one_frame_is_a_picture(source: Path, tmp_path: Path) -> None:
    result = run("encode", source, tmp_path / "a.cool", *QUICK, "--frames", "0")
    assert result.exit_code == 0
    assert "waves.y4m: 1 frame, " in result.stderr
    single = tmp_path / "single.y4m"
    single.write_bytes(source.read_bytes()[: len(source.read_bytes()) - 3 * (6 + 24 * 16 * 3 // 2)])
    for path in (single, "-"):
        result = run("encode", path, tmp_path / "b.cool", *QUICK[:4], input=single.read_bytes())
        assert result.exit_code == 0, result.output
        assert (tmp_path / "a.cool").read_bytes() == (tmp_path / "b.cool").read_bytes()


def test_log(source: Path, tmp_path: Path) -> None:
    for name in ("log.csv", "log.jsonl"):
        options = ["--structure", "low-delay", "--log", tmp_path / name]
        assert run("encode", source, tmp_path / "a.cool", *QUICK, *options).exit_code == 0
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in table] == [row["kind"] for row in rows] == ["I", "P", "P", "P"]
    assert [row["references"] for row in rows] == ["", "0", "1", "2"]
    assert all(float(row["psnr_1"]) > 5 for row in table)


@pytest.mark.parametrize("options", [[], ["--frames", "0"]])
def test_a_report_that_cannot_be_written(source: Path, tmp_path: Path, options: list[str]) -> None:
    report = source / "report"  # in a folder that is a file
    result = run("encode", source, tmp_path / "a.cool", *QUICK, *options, "--report", report)
    assert result.exit_code == 5, result.output
    assert "not a folder" in result.stderr
    assert not (tmp_path / "a.cool").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--structure", "pyramid"], "structure"),
        (["--intra", "1"], "intra"),
        (["--frames", "2:9"], "frames"),
        (["--tune", "ssim"], "tune"),
        (["--weights", "sphere"], "weights"),
        (["--size", "24x16"], "size"),
        (["--log", "log.txt"], "log"),
        (["--target-bpp", "1", "--target-psnr", "30"], "target_psnr"),
        (["--resume", "--restart"], "restart"),
    ],
)
def test_what_is_refused(options: list[str], text: str, source: Path, tmp_path: Path) -> None:
    result = run("encode", source, tmp_path / "a.cool", *QUICK, *options)
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["waves.y4m"]


@pytest.mark.parametrize(
    "options",
    [["--structure", "intra"], ["--p", "1"], ["--inter-iterations", "5"], ["--scheduler", "x"]],
)
def test_pictures_have_no_options_of_videos(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(luma(0)).save(path)
    result = run("encode", path, tmp_path / "a.cool", *options)
    assert result.exit_code == 2
    assert "this is for a video" in result.stderr
    assert not (tmp_path / "a.cool").exists()


def test_what_is_missing_is_not_taken_for_a_picture(source: Path, tmp_path: Path) -> None:
    result = run("encode", tmp_path / "missing.y4m", tmp_path / "a.cool", *QUICK)
    assert result.exit_code == 5
    assert "No such file" in result.stderr
    source.write_bytes(source.read_bytes().partition(b"FRAME")[0])
    for options in ([], QUICK):
        result = run("encode", source, tmp_path / "a.cool", *options)
        assert result.exit_code == 2
        assert "no frames" in result.stderr


def test_a_stream_does_not_hide_numbered_pictures(tmp_path: Path) -> None:
    for t in range(2):
        Image.fromarray(luma(t)).save(tmp_path / f"{t}.png")
    result = run("encode", tmp_path / "%d.png", tmp_path / "%d.png", *QUICK)
    assert result.exit_code == 2
    assert "would replace an input" in result.stderr


def test_what_another_encode_has_left_is_thrown_away(source: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "a.cool", tmp_path / "a.cool.training"
    checkpoint.write_bytes(b"of a picture")
    assert run("encode", source, out, *QUICK, "--restart").exit_code == 0
    checkpoint.mkdir()
    (checkpoint / "0000-0.frame").write_bytes(b"of a video")
    Image.fromarray(luma(0)).save(tmp_path / "a.png")
    assert run("encode", tmp_path / "a.png", out, *QUICK[:4], "--restart").exit_code == 0
    assert not checkpoint.exists()


def test_several_inputs(source: Path, tmp_path: Path) -> None:
    result = run("encode", source, source.with_name("b.png"), f"{tmp_path}/", "--frames", "0:2")
    assert result.exit_code == 2
    result = run("encode", source, source.with_name("b.png"), f"{tmp_path}/", *QUICK[:4])
    assert result.exit_code == 1
    assert "this is a video, not a picture" in result.stderr


def test_an_interrupted_encode_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, folder = tmp_path / "a.cool", tmp_path / "a.cool.training"
    assert run("encode", source, tmp_path / "b.cool", *QUICK).exit_code == 0
    encoded: list[int] = []

    def until(n: int) -> Any:
        def work(task: FrameTask, tick: Any) -> CodedFrame:
            if len(encoded) == n:
                raise KeyboardInterrupt
            encoded.append(task.plan.index)
            return encode_frame(task, tick)

        return work

    name = "numchic_trainer.video.encoding.encode_frame"
    monkeypatch.setattr(name, until(2))
    assert run("encode", source, out, *QUICK).exit_code == 130
    assert not out.exists()
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(name, until(100))
    refused = run("encode", source, out, *QUICK)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert run("encode", source, out, *QUICK, "--resume").exit_code == 0
    assert sorted(encoded) == [0, 1, 2, 3]
    assert out.read_bytes() == (tmp_path / "b.cool").read_bytes()
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "0000-0.frame").write_text("of somebody else")
    assert run("encode", source, out, *QUICK, "--restart").exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@compiled_only
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupts_end_at_once(jobs: int, source: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "a.cool", tmp_path / "a.cool.training"
    options = ["--structure", "low-delay", "--inter-iterations", "1000000", "--jobs", str(jobs)]
    process = subprocess.Popen(
        [sys.executable, "-m", "numchic", "encode", source, out, *QUICK, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONPATH=os.pathsep.join(sys.path)),
    )
    try:
        while not any(folder.glob("0000-*")):  # then the second frame is begun
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert not out.exists()
    assert len(list(folder.iterdir())) == 1


@has_terminals
def test_progress_in_a_terminal(source: Path, tmp_path: Path) -> None:
    outcome = run_in_terminal("encode", source, tmp_path / "a.cool", *QUICK)
    assert outcome.status == 0, outcome.text
    assert "4/4" in outcome.text
    assert "frame 3" in outcome.text
