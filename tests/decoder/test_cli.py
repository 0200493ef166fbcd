# SPDX-License-Identifier: BSD-3-Clause
"""The command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import builders
import numchic
from numchic.cli import main
from numchic_bitstream import FrameHeader

STREAM = builders.stream()
YUV_STREAM = builders.stream(frame=FrameHeader(frame_data_type="yuv420", bitdepth=10))


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.cool"
    path.write_bytes(STREAM)
    return path


def test_decode_to_png(source: Path, tmp_path: Path) -> None:
    result = run("decode", source, tmp_path / "out.png")
    assert (result.exit_code, result.output) == (0, "")
    with Image.open(tmp_path / "out.png") as image:
        assert np.array_equal(np.asarray(image), numchic.decode(STREAM).to_rgb())


def test_decode_from_and_to_standard_streams() -> None:
    rgb = run("decode", "-", "-", stdin=STREAM)
    assert rgb.stdout_bytes.startswith(b"P6\n6 5\n255\n")
    yuv = run("decode", "-", "-", stdin=YUV_STREAM)
    assert yuv.stdout_bytes == numchic.decode(YUV_STREAM).to_bytes()
    npy = run("decode", "-", "-", "--format", "npy", "--threads", 1, stdin=STREAM)
    assert npy.stdout_bytes.startswith(b"\x93NUMPY")


@pytest.mark.parametrize(
    ("status", "stream", "options"),
    [
        (1, STREAM[:40], []),
        (2, YUV_STREAM, []),
        (3, builders.video(), []),
        (4, STREAM, ["--max-pixels", "10"]),
        (4, STREAM, ["--max-macs", "10"]),
        (4, STREAM, ["--max-memory", "10"]),
    ],
)
def test_exit_status(status: int, stream: bytes, options: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    output.write_bytes(b"old")
    result = run("decode", "-", output, *options, stdin=stream)
    assert result.exit_code == status
    assert result.stderr.startswith("numchic: ")
    assert result.stderr.count("\n") == 1
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


def test_unknown_extension_is_refused_before_decoding(source: Path) -> None:
    assert run("decode", source, "out.jpeg").exit_code == 2


def test_missing_and_unwritable_files(source: Path, tmp_path: Path) -> None:
    assert run("decode", tmp_path / "nothing.cool", tmp_path / "out.png").exit_code == 5
    assert run("decode", source, tmp_path / "no" / "folder.png").exit_code == 5
    assert run("info", tmp_path / "nothing.cool").exit_code == 5


def test_info(source: Path) -> None:
    text = run("info", source)
    assert text.exit_code == 0
    assert "6x5, rgb, 8 bits per sample" in text.output
    listing = json.loads(run("info", source, "--json").output)
    assert listing == json.loads(json.dumps(numchic.read_info(STREAM).to_dict()))
    plain = builders.stream(output_feature_ifce=0, hyperlatent_resolution=None)
    assert "IFCE " not in run("info", "-", stdin=plain + b"x").output
    assert "video of 3 frames" in run("info", "-", stdin=builders.video()).output


def test_dump(source: Path) -> None:
    lines = run("dump", source).output.splitlines()
    assert lines[0] == "video header"
    assert lines[1].split() == ["0:0", "12", "n_frames", "1"]
    assert lines[-1].split()[2] == "latent_payload"
    broken = run("dump", "-", stdin=STREAM[:40])
    assert broken.exit_code == 1
    assert "display_index" in broken.stdout


def test_help_and_version() -> None:
    assert numchic.__version__ in run("--version").output
    assert "decode" in run("--help").output


def test_warmup() -> None:
    assert run("warmup").exit_code == 0


def test_progress_bar(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numchic.cli._PATIENCE", -1.0)
    monkeypatch.setattr("numchic.cli.is_terminal", lambda: True)
    result = run("decode", source, tmp_path / "out.png")
    assert result.exit_code == 0
    assert result.stdout == ""


def test_hints() -> None:
    assert "--max-pixels" in run("info", "-", "--max-pixels", 1, stdin=STREAM).stderr
    assert "is this a Cool-chic" in run("info", "-", stdin=b"\x89PNG something").stderr


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (MemoryError, 4)])
def test_interruptions(
    error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("numchic.cli.decode", fail)
    assert run("decode", "-", "-", stdin=STREAM).exit_code == status


def test_closed_standard_streams(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    path = [p for p in sys.path if p]
    for stream, arguments in (("stdin", ["-", "-"]), ("stdout", [str(source), "-"])):
        code = f"import sys; sys.path[:0] = {path!r}; sys.{stream} = None"
        code += f"; from numchic.cli import main; main(['decode', *{arguments!r}])"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert result.returncode == 2
        assert b"is closed" in result.stderr


def test_module_runs_as_a_command() -> None:
    path = [p for p in sys.path if p]
    code = f"import sys, runpy; sys.path[:0] = {path!r}; sys.argv = ['numchic', '--version']"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; runpy.run_module('numchic', run_name='__main__')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert numchic.__version__ in result.stdout
