# SPDX-License-Identifier: BSD-3-Clause
"""The command line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import builders
import children
import numchic
import terminal
from numchic.command.cli import main
from numchic.command.options import LIMIT_OPTIONS
from numchic.files.images import encode_image
from numchic_bitstream import FrameHeader, Metadata, append_trailer, read_stream

STREAM = builders.stream()
VIDEO = builders.video()
RGB_VIDEO = builders.video(frame_data_type="rgb")
PICTURES = list(numchic.decode_frames(VIDEO))
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


@pytest.mark.parametrize("level", range(10))
def test_levels_of_png(level: int, source: Path, tmp_path: Path) -> None:
    """One file, a folder, and the frames of a video have the level that is asked for."""
    shutil.copy(source, tmp_path / "other.cool")
    (tmp_path / "video.cool").write_bytes(RGB_VIDEO)
    option = ("--png-level", level)
    assert run("decode", source, tmp_path / "out.png", *option).exit_code == 0
    several = (source, tmp_path / "other.cool", tmp_path / "video.cool")
    assert run("decode", *several, f"{tmp_path}/folder/", *option).exit_code == 0
    written = encode_image(numchic.decode(STREAM), "png", png_level=level)
    assert (tmp_path / "out.png").read_bytes() == written
    assert (tmp_path / "folder" / "other.png").read_bytes() == written
    for i, frame in enumerate(numchic.decode_frames(RGB_VIDEO)):
        written = encode_image(frame, "png", png_level=level)
        assert (tmp_path / "folder" / f"video-{i:04d}.png").read_bytes() == written


@pytest.mark.parametrize("level", [-1, 10, "x"])
def test_levels_that_png_has_not(level: object, source: Path, tmp_path: Path) -> None:
    result = run("decode", source, tmp_path / "out.png", "--png-level", level)
    assert result.exit_code == 2
    assert "--png-level" in result.stderr
    assert not (tmp_path / "out.png").exists()


def test_decode_from_and_to_standard_streams() -> None:
    rgb = run("decode", "-", "-", stdin=STREAM)
    assert rgb.stdout_bytes.startswith(b"P6\n6 5\n255\n")
    yuv = run("decode", "-", "-", stdin=YUV_STREAM)
    assert yuv.stdout_bytes == numchic.decode(YUV_STREAM).to_bytes()
    npy = run("decode", "-", "-", "--format", "npy", "--threads", 1, stdin=STREAM)
    assert npy.stdout_bytes.startswith(b"\x93NUMPY")


@pytest.mark.parametrize("name", ["out.yuv", "out.y4m", "-"])
@pytest.mark.parametrize("frames", [None, "1:", "1:2", ":"])
def test_decode_a_video(name: str, frames: str | None, tmp_path: Path) -> None:
    output = name if name == "-" else tmp_path / name
    options = [] if frames is None else ["--frames", frames]
    result = run("decode", "-", output, "--fps", "30000/1001", *options, stdin=VIDEO)
    assert (result.exit_code, result.stderr) == (0, "")
    written = result.stdout_bytes if name == "-" else (tmp_path / name).read_bytes()
    first, _, stop = (frames or "0:3").partition(":")
    shown = PICTURES[int(first or 0) : int(stop or 3)]
    start, head = b"", b""
    if not name.endswith("yuv"):
        start = b"YUV4MPEG2 W6 H4 F30000:1001 Ip A1:1 C420jpeg\n"
        head = b"FRAME\n"
    assert written == start + b"".join(head + picture.to_bytes() for picture in shown)


def test_decode_a_frame_of_a_video(tmp_path: Path) -> None:
    assert run("decode", "-", tmp_path / "out.yuv", "--frames", 1, stdin=VIDEO).exit_code == 0
    assert (tmp_path / "out.yuv").read_bytes() == PICTURES[1].to_bytes()
    result = run("decode", "-", "-", "--frames", 2, "--format", "yuv", stdin=VIDEO)
    assert result.stdout_bytes == PICTURES[2].to_bytes()
    result = run("decode", "-", "-", "--frames", 2, "--format", "y4m", "--fps", 50, stdin=VIDEO)
    assert result.stdout_bytes.startswith(b"YUV4MPEG2 W6 H4 F50:1 ")


def test_decode_a_video_to_numbered_files(tmp_path: Path) -> None:
    data = builders.video(frame_data_type="rgb")
    assert run("decode", "-", tmp_path / "out.png", stdin=data).exit_code == 0
    assert run("decode", "-", tmp_path / "f%dx.ppm", "--frames", "1:", stdin=data).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out-0000.png", "out-0001.png", "out-0002.png", "f1x.ppm", "f2x.ppm"}
    for i, picture in enumerate(numchic.decode_frames(data)):
        with Image.open(tmp_path / f"out-000{i}.png") as image:
            assert np.array_equal(np.asarray(image), picture.to_rgb())
    piped = run("decode", "-", "-", stdin=data)
    assert piped.stdout_bytes.count(b"P6\n6 4\n255\n") == 3


def test_a_video_in_one_file_appears_at_once(tmp_path: Path) -> None:
    """Not at all if a frame is broken, and not under a name with a number."""
    last = max(read_stream(VIDEO).frames, key=lambda frame: frame.residue.nn_offset)
    broken = bytearray(VIDEO)
    broken[last.residue.nn_offset : last.residue.nn_offset + 16] = bytes(16)
    output = tmp_path / "out.y4m"
    output.write_bytes(b"old")
    assert run("decode", "-", output, stdin=bytes(broken)).exit_code == 1
    assert run("decode", "-", tmp_path / "out%d.yuv", stdin=VIDEO).exit_code == 2
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == b"old"


def test_nothing_is_decoded_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("numchic.files.output._Appending.__call__", fail)
    before = set(threading.enumerate())
    result = run("decode", "-", "-", "--threads", 2, stdin=VIDEO)
    assert result.exit_code == 5
    # The result holds the exception, and that everything that was alive when it was raised.
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    "option",
    [
        *("--frames=1:2:3", "--frames=-1", "--frames=", "--frames=" + 5000 * "1"),
        *("--fps=0", "--fps=-1", "--fps=nan", "--fps=1/0", "--fps=0/1", "--fps=", "--fps=1/2/3"),
        *("--fps=1e9999", "--fps=1e999999999", "--fps=" + 5000 * "1", "--fps=9.999999999"),
        *("--max-pixels=-1", "--max-pixels=x", "--max-pixels=" + 5000 * "1"),
    ],
)
def test_options_that_make_no_sense(option: str) -> None:
    result = run("decode", "-", "-", option, stdin=VIDEO)
    assert result.exit_code == 2
    assert "Error: Invalid value for" in result.stderr


@pytest.mark.parametrize(
    ("rate", "written"),
    [("50", b"50:1"), ("29.97", b"2997:100"), ("60000/1001", b"60000:1001"), ("08/0002", b"4:1")],
)
def test_rates(rate: str, written: bytes) -> None:
    assert (
        b" F" + written + b" " in run("decode", "-", "-", "--fps", rate, stdin=VIDEO).stdout_bytes
    )


def test_every_limit_has_an_option() -> None:
    text = " ".join(run("info", "--help").output.split())
    for field in dataclasses.fields(numchic.Limits):
        option = LIMIT_OPTIONS[field.name]
        about = re.search(rf"{option} INTEGER RANGE [A-Z]((?! --).)+\. \[default: (\d+); ", text)
        assert about is not None, option
        assert about[2] == str(field.default)
    assert LIMIT_OPTIONS["metadata_bytes"] == "--max-metadata"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(numchic.Limits)])
def test_every_limit_can_be_set(field: str) -> None:
    option = LIMIT_OPTIONS[field]
    assert run("decode", "-", "-", option, 1 << 40, stdin=VIDEO).exit_code == 0
    data = append_trailer(VIDEO, 0, metadata=Metadata(text=(("Title", "that of the video"),)))
    result = run("decode", "-", "-", option, 2, stdin=data)
    assert result.exit_code == 4
    assert f"field {field}" in result.stderr
    assert f"see {option}" in result.stderr


@pytest.mark.parametrize(
    ("status", "stream", "options"),
    [
        (1, STREAM[:40], []),
        (2, YUV_STREAM, []),
        (2, builders.video(), []),
        (2, builders.video(), ["--frames", "3"]),
        (2, builders.video(), ["--frames", "3:"]),
        (3, bytes.fromhex("0009 0010 0010 00 20 00 0020") + bytes(30), []),  # 3.x
        (4, STREAM, ["--max-pixels", "10"]),
        (4, STREAM, ["--max-work", "10"]),
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
    video = run("info", "-", stdin=VIDEO).output
    assert "Cool-chic 5.0 video of 3 frames" in video
    assert (
        "frame 1 (B), predicted from 0, 2\n  warping    8 taps, global flow 1, -2, 1, -2" in video
    )


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


@terminal.has_terminals
@pytest.mark.parametrize(
    "options", [["out.png"], ["out.y4m"], ["folder/"], ["folder/", "--jobs=2"]]
)
def test_commands_in_a_terminal(options: list[str], tmp_path: Path) -> None:
    """Where they draw a progress bar, and also what goes wrong is readable."""
    before = "import numchic.command.cli as cli; cli._PATIENCE = -1.0"
    (tmp_path / "in.cool").write_bytes(VIDEO if options[0] == "out.y4m" else STREAM)
    (tmp_path / "bad.cool").write_bytes(STREAM[:60])
    output, *rest = options
    names = ["in.cool", "bad.cool"] if output == "folder/" else ["in.cool"]
    arguments = [tmp_path / name for name in names]
    status, text = terminal.run_in_terminal(
        "decode", *arguments, f"{tmp_path}/{output}", *rest, before=before
    )
    assert "decoding" in text
    assert "Traceback" not in text
    assert status == (output == "folder/"), text
    if output == "folder/":
        last = click.unstyle(text).rstrip().splitlines()[-1]
        assert last.startswith(f"numchic: {tmp_path}/bad.cool: ")
    assert terminal.run_in_terminal("info", tmp_path / "in.cool").status == 0


# --- Several streams to a folder -----------------------------------------------------------------

STREAMS = {
    "rgb": STREAM,
    "deep": builders.stream(frame=FrameHeader(bitdepth=10)),
    "yuv": YUV_STREAM,
    "video": VIDEO,
    "frames": builders.video(frame_data_type="rgb"),
}
NAMES = ["deep.png", "frames-0000.png", "frames-0001.png", "frames-0002.png", "rgb.png"]
NAMES += ["video.y4m", "yuv.yuv"]


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    for name, data in STREAMS.items():
        (tmp_path / f"{name}.cool").write_bytes(data)
    return sorted(tmp_path.iterdir())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("jobs", [1, 2])
def test_decode_to_a_folder(jobs: int, sources: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = run("decode", *sources, f"{folder}/", "--jobs", jobs)
    assert (result.exit_code, result.output) == (0, "")
    assert names_in(folder) == NAMES
    for name in ("deep.png", "rgb.png", "video.y4m", "yuv.yuv"):
        alone = tmp_path / name
        assert run("decode", alone.with_suffix(".cool"), alone).exit_code == 0
        assert (folder / name).read_bytes() == alone.read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    assert run("decode", tmp_path / "rgb.cool", again, "--format", "npy").exit_code == 0
    assert names_in(again) == ["rgb.npy"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_damaged_is_named_and_the_others_go_on(
    jobs: int, sources: list[Path], tmp_path: Path
) -> None:
    broken = bytearray(STREAM)
    broken[-4 * (len(STREAM) // 8) :] = b"\xff" * (4 * (len(STREAM) // 8))
    (tmp_path / "cut.cool").write_bytes(STREAM[:-1])
    (tmp_path / "broken.cool").write_bytes(broken)
    bad = [tmp_path / name for name in ("cut.cool", "broken.cool", "missing.cool")]
    folder = tmp_path / "out"
    result = run("decode", *bad, *sources, f"{folder}/", "--jobs", jobs)
    assert result.exit_code == 5
    assert names_in(folder) == NAMES
    lines = result.stderr.splitlines()
    assert {line.split(": ")[1] for line in lines} == set(map(str, bad))
    result = run("decode", *sources, f"{folder}/", "--jobs", jobs, "--max-pixels", 24)
    assert result.exit_code == 4
    assert result.stderr.count("; see --max-pixels") == len(result.stderr.splitlines()) == 3


def test_a_folder_that_makes_no_sense(sources: list[Path], tmp_path: Path) -> None:
    """All of it is noticed before anything is decoded."""
    before = {path: path.read_bytes() for path in sources}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rgb.bin").write_bytes(STREAM)
    (tmp_path / "frames-0001.cool").write_bytes(STREAM)
    for arguments, message in (
        (sources, "several streams are decoded to a folder"),  # *.cool, and nothing else
        ([*sources, tmp_path / "no-slash"], "several streams are decoded to a folder"),
        ([*sources, "-"], "several streams are decoded to a folder"),
        (["-", f"{tmp_path}/out/"], "standard input has no name"),
        ([*sources, tmp_path / "other" / "rgb.bin", f"{tmp_path}/out/"], r"out/rgb.png"),
        ([sources[0], sources[0], f"{tmp_path}/out/"], "two streams"),
        ([*sources, tmp_path / "frames-0001.cool", f"{tmp_path}/out/"], "out/frames-0001.png"),
    ):
        result = run("decode", *arguments, stdin=STREAM)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "out").exists()
    assert before == {path: path.read_bytes() for path in sources}


def test_an_output_is_never_an_input(sources: list[Path], tmp_path: Path) -> None:
    linked = tmp_path / "out" / "rgb.png"
    linked.parent.mkdir()
    linked.symlink_to(tmp_path / "rgb.cool")
    (tmp_path / "frames-0001.png").write_bytes(STREAMS["frames"])
    for arguments in (
        [tmp_path / "rgb.cool", tmp_path / "rgb.cool", "--format", "png"],
        [tmp_path / "rgb.cool", linked],
        [*sources, linked.parent],
        [tmp_path / "frames-0001.png", tmp_path / "frames.png"],
    ):
        result = run("decode", *arguments)
        assert (result.exit_code, "would replace an input" in result.stderr) == (2, True)
    assert (tmp_path / "rgb.cool").read_bytes() == STREAM
    assert names_in(linked.parent) == ["rgb.png"]


def alive(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            states.append(path.read_text().rpartition(")")[2].split())
    return [state[0] for state in states if int(state[2]) == group and state[0] != "Z"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@children.linux_only
@children.compiled_only
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "parent alone"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_stops_all(whole_group: bool, jobs: int, tmp_path: Path) -> None:
    data = children.EXAMPLE.read_bytes()
    for i in range(300):
        (tmp_path / f"{i}.cool").write_bytes(data)
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "numchic", "decode", *map(str, tmp_path.glob("*.cool")),
         f"{folder}/", "--jobs", str(jobs)],
        env=children.environment(), stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: folder.exists() and any(folder.glob("*.png")))
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert (process.returncode, text) == (130, "numchic: interrupted\n")
    assert len(list(folder.iterdir())) < 300
    assert {path.suffix for path in folder.iterdir()} == {".png"}  # and nothing half-written
    wait_until(lambda: not alive(process.pid))


def test_hints() -> None:
    assert "--max-pixels" in run("info", "-", "--max-pixels", 1, stdin=STREAM).stderr
    assert "is this a Cool-chic" in run("info", "-", stdin=b"\x89PNG something").stderr


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (MemoryError, 4)])
def test_interruptions(
    error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("numchic.OpenedStream.decode", fail)
    assert run("decode", "-", "-", stdin=STREAM).exit_code == status


def test_closed_standard_streams(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    path = [p for p in sys.path if p]
    for stream, arguments in (("stdin", ["-", "-"]), ("stdout", [str(source), "-"])):
        code = f"import sys; sys.path[:0] = {path!r}; sys.{stream} = None"
        code += f"; from numchic.command.cli import main; main(['decode', *{arguments!r}])"
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
