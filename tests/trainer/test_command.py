# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode`` and ``numchic encode-batch`` as a user calls them."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

import numchic
from children import EXAMPLE
from numchic.command.cli import main
from numchic_trainer import Event, TrainConfig, encode
from numchic_trainer.training.train import Training
from pictures import picture, yuv_picture
from terminal import has_terminals, run_in_terminal

QUICK = ["--iterations", "20", "--preset", "lop"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ramps.png"
    Image.fromarray(picture(9, 14)).save(path)
    return path


def test_encode_and_decode(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "ramps.cool"
    result = run("encode", source, out, *QUICK)
    assert result.exit_code == 0, result.output
    size = out.stat().st_size
    assert f"{size} bytes ({size - 45} without trailer)" in result.stderr
    assert result.stdout == ""
    assert numchic.decode(out).to_rgb().shape == (9, 14, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ramps.cool", "ramps.png"]


def test_trailer_and_metadata(tmp_path: Path) -> None:
    path, out = tmp_path / "a.png", tmp_path / "a.cool"
    texts = PngInfo()
    texts.add_text("Title", "ramps")
    Image.fromarray(picture(9, 14)).save(path, pnginfo=texts)
    plain = run("encode", path, out, *QUICK, "--no-trailer")
    assert plain.exit_code == 0, plain.output
    assert "trailer" not in plain.stderr
    assert numchic.read_info(out).trailing_bytes == 0
    assert run("encode", path, out, *QUICK).exit_code == 0
    assert numchic.decode(out).metadata is None
    assert run("encode", path, out, *QUICK, "--metadata").exit_code == 0
    assert numchic.decode(out).metadata == numchic.Metadata(text=(("Title", "ramps"),))
    assert run("encode", path, out, *QUICK, "--metadata", "--no-trailer").exit_code == 2


def test_yuv_input(tmp_path: Path) -> None:
    planes = yuv_picture(6, 8, "yuv420", 10)
    path = tmp_path / "a.yuv"
    path.write_bytes(planes.to_bytes())
    options = ["--size", "8x6", "--data-type", "yuv420", "--bitdepth", "10"]
    assert run("encode", path, tmp_path / "a.cool", *options, *QUICK).exit_code == 0
    decoded = numchic.decode(tmp_path / "a.cool")
    assert (decoded.data_type, decoded.bitdepth, decoded.width) == ("yuv420", 10, 8)


@has_terminals
def test_encode_in_a_terminal(source: Path, tmp_path: Path) -> None:
    """Progress is drawn before there is anything to tell of it, and after it went on."""
    out, options = tmp_path / "a.cool", ["--effort", "fast", "--preset", "lop"]
    outcome = run_in_terminal("encode", source, out, *options)
    assert outcome.status == 0, outcome.text
    assert "bpp" in outcome.text
    expected = out.read_bytes()
    out.unlink()

    def saved(event: Event) -> None:
        if event.iteration == 10:
            raise KeyboardInterrupt

    config = TrainConfig(effort="fast", preset="lop")
    with pytest.raises(KeyboardInterrupt):
        encode(source, config, progress=saved, checkpoint=tmp_path / "a.cool.training")
    outcome = run_in_terminal("encode", source, out, *options, "--resume")
    assert outcome.status == 0, outcome.text
    assert out.read_bytes() == expected


def test_what_a_stream_does_not_hold_is_said(tmp_path: Path) -> None:
    path, out = tmp_path / "grey.png", tmp_path / "grey.cool"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture(9, 14)[..., 0]).save(path, icc_profile=profile)
    result = run("encode", path, out, *QUICK)
    assert result.exit_code == 0, result.output
    assert "grey.png: the picture is grey" in result.stderr
    assert "profile" in result.stderr
    assert numchic.decode(out).metadata is None
    kept = run("encode", path, out, *QUICK, "--metadata")
    assert "profile" not in kept.stderr
    assert numchic.decode(out).metadata is not None


def test_log_and_report(source: Path, tmp_path: Path) -> None:
    for name in ("log.csv", "log.jsonl"):
        options = ["--log", tmp_path / name, "--report", tmp_path / "report"]
        result = run("encode", source, tmp_path / "a.cool", *options, *QUICK)
        assert result.exit_code == 0, result.output
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in table] == [row["phase"] for row in lines]
    stream_bytes = numchic.read_info(tmp_path / "a.cool").n_bytes
    assert float(table[-1]["bpp"]) == 8 * stream_bytes / (9 * 14)
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.png", "a.cool"], 5, "missing.png"),
        (["text.png", "a.cool"], 2, "text.png"),
        (["ramps.png", "nowhere/a.cool"], 5, "nowhere"),
        (["ramps.png", "a.cool", "--target-bpp", "1", "--target-psnr", "30"], 2, "only one"),
        (["ramps.png", "a.cool", "--latent-resolution", "3"], 2, "0 .. 15"),
        (["ramps.png", "a.cool", "--latent-resolution", "4:2"], 2, "latent_resolution"),
        (["ramps.png", "a.cool", "--log", "log.txt"], 2, ".csv"),
        (["ramps.png", "a.cool", "--device", "abacus"], 2, "device"),
        (["ramps.png", "a.cool", "--init", "missing.cool"], 5, "missing.cool"),
        (["ramps.png", "a.cool", "--init", "text.png"], 1, ""),
        (["ramps.png", "a.cool", "--size", "12"], 2, "size"),
        (["ramps.png"], 2, "Missing argument"),
    ],
)
def test_errors(
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(source.parent)
    Path("text.png").write_text("not a picture")
    result = run("encode", *arguments, *QUICK)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert not Path("a.cool").exists()


def test_no_space_left(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "a.cool"
    before = EXAMPLE.read_bytes()
    out.write_bytes(before)
    monkeypatch.setattr("numchic_trainer.command.encode.write_output", full)
    result = run("encode", source, out, *QUICK)
    assert result.exit_code == 5
    assert "No space left" in result.stderr
    assert out.read_bytes() == before
    monkeypatch.undo()
    assert run("encode", source, out, *QUICK, "--resume").exit_code == 0  # the training is there


def test_interrupted_and_resumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, expected = tmp_path / "a.cool", tmp_path / "expected.cool"
    advance = Training.advance

    def interrupted(training: Training[Any]) -> bool:
        if training.iteration == 10:
            signal.raise_signal(signal.SIGINT)
        return advance(training)

    monkeypatch.setattr(Training, "advance", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    result = run("encode", source, out, *QUICK)
    assert result.exit_code == 130
    assert not out.exists()
    assert out.with_name("a.cool.training").exists()
    monkeypatch.undo()
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    again = run("encode", source, out, *QUICK)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert run("encode", source, out, *QUICK, "--resume").exit_code == 0
    assert run("encode", source, expected, *QUICK).exit_code == 0
    assert out.read_bytes() == expected.read_bytes()
    assert not out.with_name("a.cool.training").exists()


def test_several_pictures(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    for i, name in enumerate(names):
        Image.fromarray(picture(6 + i, 7)).save(tmp_path / name)
    (tmp_path / "d.png").write_text("not a picture")
    inputs = [tmp_path / name for name in [*names, "d.png"]]
    result = run("encode", *inputs, tmp_path / "out", *QUICK, "--jobs", "2")
    assert result.exit_code == 1
    assert "d.png" in result.stderr
    assert "1 of 4" in result.stderr
    streams = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert streams == ["a.cool", "b.cool", "c.cool"]
    alone = tmp_path / "alone.cool"
    assert run("encode", inputs[0], alone, *QUICK).exit_code == 0
    assert alone.read_bytes() == (tmp_path / "out" / "a.cool").read_bytes()


def check_batch(folder: Path, *options: object) -> None:
    result = run("encode-batch", folder, *QUICK, *options)
    assert result.exit_code == 0, result.output
    with (folder / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["a.png", "b.png"]
    for row in rows:
        stream = folder / row["stream"]
        assert stream.stat().st_size == int(row["bytes"])
        assert numchic.read_info(stream).trailing_bytes == int(row["trailer_bytes"]) == 45
        assert numchic.decode(stream).width == int(row["width"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(["a.png", "b.png"]):
        Image.fromarray(picture(6 + i, 7)).save(tmp_path / name)
    return tmp_path


def test_batch_on_this_machine_and_restarted(folder: Path) -> None:
    check_batch(folder, "--jobs", "2")
    times = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.cool")}
    check_batch(folder, "--jobs", "1")
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.cool")} == times
    (folder / "b.cool").unlink()
    check_batch(folder, "--jobs", "1")
    assert (folder / "a.cool").stat().st_mtime_ns == times["a.cool"]


@pytest.mark.filterwarnings("ignore")
def test_batch_on_a_cluster(folder: Path) -> None:
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster:
        check_batch(folder, "--scheduler", cluster.scheduler_address)


def test_batch_without_pictures(tmp_path: Path) -> None:
    result = run("encode-batch", tmp_path, *QUICK)
    assert result.exit_code == 2
    assert "no pictures" in result.stderr


def test_without_torch_the_message_says_what_to_install(source: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None;"
        "from numchic.command.cli import main; main(['encode', sys.argv[1], 'a.cool'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'numchic[trainer]'" in done.stderr


def test_array_of_the_picture_is_what_is_encoded(source: Path) -> None:
    from numchic_trainer import read_picture

    assert np.array_equal(read_picture(source).to_rgb(), picture(9, 14))
