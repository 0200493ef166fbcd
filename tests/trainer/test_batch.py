# SPDX-License-Identifier: BSD-3-Clause
"""Commands over several pictures: what is overwritten, named, kept and encoded again."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import numchic
from children import EXAMPLE, environment, linux_only
from numchic.command.cli import main
from numchic_trainer.command.job import Job
from numchic_trainer.encoding import EncodeResult
from pictures import picture, yuv_picture

QUICK = ["--iterations", "1", "--preset", "lop", "--init", "zero", "--effort", "fast"]
STREAM = EXAMPLE.read_bytes()
RESULT = EncodeResult(
    STREAM, 45, "lop", "zero", 1e-3, "mse", 1e-3, 30.0, 1e-3, 1.0, 2e-3, True, {}, []
)


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def save(path: Path, height: int = 8) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture(height, 9)).save(path)
    return path


Runner = Callable[..., Iterator[tuple[Job, EncodeResult]]]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Encode nothing, but give a stream; the jobs are collected."""
    jobs: list[Job] = []

    def runner(_: object, tasks: Iterable[Job], *__: object) -> Iterator[tuple[Job, EncodeResult]]:
        for job in tasks:
            jobs.append(job)
            yield job, RESULT

    def job(task: Job, _: object = None) -> EncodeResult:
        jobs.append(task)
        return RESULT

    for module in ("encode", "batch"):
        monkeypatch.setattr(f"numchic_trainer.command.{module}.run_in_processes", runner)
        monkeypatch.setattr(f"numchic_trainer.command.{module}.run_job", job)
    return jobs


def table(folder: Path) -> dict[str, dict[str, str]]:
    text = (folder / "summary.csv").read_text(errors="surrogateescape")
    return {row["picture"]: row for row in csv.DictReader(text.splitlines())}


# --- what is not overwritten


@pytest.mark.parametrize(
    "names",
    [["a.png", "b.png"], ["a.png", "a.png"], ["a.png", "link.png"], ["a.png", "hard.png"],
     ["a.png", "b.png", "c.png"], ["a.png", "notes.cool"]],
)  # fmt: skip
@pytest.mark.usefixtures("encoded")
def test_nothing_but_a_stream_is_replaced_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("abc"):
        save(tmp_path / f"{name}.png", 8 + i)
    Path("link.png").symlink_to("a.png")
    Path("hard.png").hardlink_to("a.png")
    Path("notes.cool").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = run("encode", *names)
    assert result.exit_code == 2, result.output
    assert names[-1] in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("encoded")
@pytest.mark.parametrize("contents", [b"", STREAM])
def test_streams_and_empty_files_are_replaced(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a.cool").write_bytes(contents)
    result = run("encode", save(tmp_path / "a.png"), tmp_path / "a.cool")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.cool").read_bytes() == STREAM


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"name,age\nx,1\n",
        b"picture,key\n",
        b"picture,key\na\n",
        b"picture,key\na,b,c\n",
        b'picture,key\n"a',
    ],
)
def test_a_table_of_somebody_else(tmp_path: Path, encoded: list[Job], contents: bytes) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "summary.csv").write_bytes(contents)
    result = run("encode-batch", tmp_path)
    assert result.exit_code == 2
    assert "table" in result.stderr
    assert (tmp_path / "summary.csv").read_bytes() == contents
    assert not encoded


@pytest.mark.usefixtures("encoded")
def test_a_file_in_the_way_of_a_batch_costs_one_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    (tmp_path / "a.cool").write_text("mine")
    result = run("encode-batch", tmp_path)
    assert result.exit_code == 1
    assert "a.png: the output is there and is no Cool-chic stream" in result.stderr
    assert (tmp_path / "a.cool").read_text() == "mine"
    assert (tmp_path / "b.cool").read_bytes() == STREAM


def test_no_folder_is_made_before_an_error(tmp_path: Path) -> None:
    assert run("encode-batch", tmp_path / "photso").exit_code == 5
    assert (
        run("encode", tmp_path / "a/a.png", tmp_path / "b/a.png", tmp_path / "out").exit_code == 2
    )
    assert not list(tmp_path.iterdir())


# --- pipes and names


def test_standard_input_and_output(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    alone = tmp_path / "a.cool"
    assert run("encode", path, alone, *QUICK).exit_code == 0
    ppm = b"P6 9 8 255 " + picture(8, 9).tobytes()
    for name, contents in ((path, None), ("-", path.read_bytes()), ("-", ppm)):
        result = run("encode", name, "-", *QUICK, stdin=contents)
        assert result.exit_code == 0, result.output
        assert result.stdout_bytes == alone.read_bytes()
    result = run("encode", "-", tmp_path / "b.cool", *QUICK, stdin=ppm)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b.cool").read_bytes() == alone.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.cool", "a.png", "b.cool"]


def test_planes_from_standard_input(encoded: list[Job]) -> None:
    planes = yuv_picture(6, 8, "yuv420")
    result = run("encode", "-", "-", "--size", "8x6", stdin=planes.to_bytes())
    assert result.exit_code == 0, result.output
    assert encoded[0].picture.data_type == "yuv420"


@pytest.mark.parametrize(
    "arguments",
    [["-", "{}/a.png", "{}/out"], ["{}/a.png", "{}/a.png", "-"], ["-", "{}/"],
     ["{}/a.png", "-", "--resume"], ["-", "-"]],
)  # fmt: skip
def test_standard_input_and_output_out_of_place(tmp_path: Path, arguments: list[str]) -> None:
    save(tmp_path / "a.png")
    result = run("encode", *(a.format(tmp_path) for a in arguments), stdin=b"no picture")
    assert result.exit_code == 2, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_names_of_streams(tmp_path: Path, encoded: list[Job]) -> None:
    names = ["a.png", "b.png", "b.bmp", "c.d.png"]
    paths = [save(tmp_path / "in" / name) for name in names]
    expected = ["a.cool", "b.bmp.cool", "b.png.cool", "c.d.cool"]
    assert run("encode", *paths, tmp_path / "out").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == expected
    assert run("encode-batch", tmp_path / "in", "--output", tmp_path / "batch").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "batch").glob("*.cool")) == expected
    assert run("encode", paths[0], f"{tmp_path}/new/folder/").exit_code == 0
    assert (tmp_path / "new" / "folder" / "a.cool").is_file()
    del encoded[:]
    save(tmp_path / "in" / "a.bmp")  # comes later: that of a.png keeps its name
    assert run("encode-batch", tmp_path / "in", "--output", tmp_path / "batch").exit_code == 0
    assert [job.output.name for job in encoded] == ["a.bmp.cool"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "{}/a.png", "{}/no/a.cool"],
        ["encode", "{}/a.png", "{}/a.cool", "--log", "{}/no/l.csv"],
        ["decode", str(EXAMPLE), "{}/no/a.png"],
        ["train-ladder", "--images", "{}", "--out", "{}/no/a.npz"],
    ],
)
def test_a_missing_folder_is_named_at_once(
    tmp_path: Path, encoded: list[Job], arguments: list[str]
) -> None:
    save(tmp_path / "a.png")
    result = run(*(a.format(tmp_path) for a in arguments))
    assert result.exit_code == 5
    assert f"{tmp_path}/no" in result.stderr
    assert ".numchic-" not in result.stderr
    assert not encoded


@linux_only
@pytest.mark.usefixtures("encoded")
def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    save(tmp_path / name)
    for _ in range(2):
        result = run("encode-batch", tmp_path)
        assert result.exit_code == 0, result.output
        assert (tmp_path / os.fsdecode(b"\xff\xfe.cool")).is_file()
        assert list(table(tmp_path)) == [name]
    assert (
        run("encode", tmp_path / name, tmp_path / "a.cool", "--log", tmp_path / "l.csv").exit_code
        == 0
    )


def test_a_table_with_a_byte_order_mark(tmp_path: Path, encoded: list[Job]) -> None:
    save(tmp_path / "a.png")
    assert run("encode-batch", tmp_path).exit_code == 0
    path = tmp_path / "summary.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run("encode-batch", tmp_path).exit_code == 0
    assert len(encoded) == 1


def test_every_picture_is_taken_and_the_rest_is_named(tmp_path: Path, encoded: list[Job]) -> None:
    names = ["a.avif", "b.jfif", "c.jpe", "d.tga", "e.jp2", "f.PNG", "g.qoi"]
    for name in names:
        save(tmp_path / name)
    for name in ("h.mov", "i.mov", "notes", ".hidden", "old.cool"):
        (tmp_path / name).write_text("x")
    (tmp_path / "more").mkdir()
    result = run("encode-batch", tmp_path)
    assert [job.path.name for job in encoded] == names
    assert "2 .mov, 1 notes, 1 sub-folders\n" in result.stderr


# --- what is encoded again


def test_the_key_is_of_what_was_encoded(
    tmp_path: Path, encoded: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png")

    def meanwhile(_: object, tasks: Iterable[Job], *__: object) -> Iterator[Any]:
        for job in tasks:
            if job.path.name == "a.png":
                save(job.path, 20)
            else:
                job.path.unlink()
            yield job, RESULT

    with monkeypatch.context() as patch:
        patch.setattr("numchic_trainer.command.batch.run_in_processes", meanwhile)
        result = run("encode-batch", tmp_path)
        assert result.exit_code == 0, result.output
    assert list(table(tmp_path)) == ["a.png", "b.png"]
    assert run("encode-batch", tmp_path).exit_code == 0
    assert [(job.path.name, job.picture.height) for job in encoded] == [("a.png", 20)]


def test_a_picture_that_changes_while_it_is_read(
    tmp_path: Path, encoded: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png")

    def read(_: Path) -> numchic.Picture:
        save(path, 20)
        return yuv_picture(6, 8, "yuv444")

    monkeypatch.setattr("numchic_trainer.command.batch.read_picture", read)
    result = run("encode-batch", tmp_path)
    assert result.exit_code == 1
    assert "being changed" in result.stderr
    assert not encoded


def test_settings_and_contents_count_but_not_threads(tmp_path: Path, encoded: list[Job]) -> None:
    save(tmp_path / "in" / "a.png")
    init = tmp_path / "init.cool"
    init.write_bytes(STREAM)

    def count(*options: object) -> int:
        before = len(encoded)
        assert run("encode-batch", tmp_path / "in", "--init", init, *options).exit_code == 0
        return len(encoded) - before

    assert count() == 1
    assert count("--threads", 2, "--jobs", 3) == 0
    init.write_bytes(STREAM + b"\0")
    assert count() == 1
    init = init.rename(tmp_path / "moved.cool")
    assert count() == 0
    assert count("--lmbda", 1e-2) == 1


def test_an_interrupted_training_goes_on_with_other_threads(tmp_path: Path) -> None:
    from numchic_trainer import TrainConfig, encode

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    config = TrainConfig(iterations=1, preset="lop", init="zero", rdoq=False)
    checkpoint = tmp_path / "a.training"
    with pytest.raises(KeyboardInterrupt):
        encode(picture(8, 9), config, progress=stop, checkpoint=checkpoint)
    encode(picture(8, 9), dataclasses.replace(config, threads=2), checkpoint=checkpoint)


def test_trainings_of_other_settings_are_removed(tmp_path: Path, encoded: list[Job]) -> None:
    save(tmp_path / "a.png")
    stale = [tmp_path / f".a.png.{digit * 16}.training" for digit in "01"]
    other = tmp_path / f".a.png.bmp.{'0' * 16}.training"
    for path in (*stale, other):
        path.touch()
    assert run("encode-batch", tmp_path).exit_code == 0
    stale[0].touch()
    assert run("encode-batch", tmp_path).exit_code == 0
    assert len(encoded) == 1
    assert list(tmp_path.glob(".*.training")) == [other]


def test_two_folders_at_once(
    tmp_path: Path, encoded: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x/a.png", "x/b.png", "y/c.png", "y/a.png"):
        save(tmp_path / name)
    options = ["--output", tmp_path / "out"]
    inner: list[Result] = []

    def other(_: object, tasks: Iterable[Job], *__: object) -> Iterator[Any]:
        for i, job in enumerate(tasks):
            yield job, RESULT
            if i == 0:
                with monkeypatch.context() as patch:
                    patch.undo()
                    patch.setattr(
                        "numchic_trainer.command.batch.run_in_processes",
                        lambda _, more, __: ((job, RESULT) for job in more),
                    )
                    inner.append(run("encode-batch", tmp_path / "y", *options))

    monkeypatch.setattr("numchic_trainer.command.batch.run_in_processes", other)
    assert run("encode-batch", tmp_path / "x", *options).exit_code == 0
    assert list(table(tmp_path / "out")) == ["../x/a.png", "../x/b.png", "../y/c.png"]
    assert inner[0].exit_code == 1
    assert "a.png: another picture has this stream" in inner[0].stderr
    assert "../x/a.png" in inner[0].stderr


@pytest.mark.usefixtures("encoded")
def test_tables_of_earlier_versions(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "summary.csv").write_text("picture,width,bytes,key\na.png,9,1,0\nz.png,9,1,0\n")
    (tmp_path / "a.png.cool").write_bytes(STREAM)
    assert run("encode-batch", tmp_path).exit_code == 0
    rows = table(tmp_path)
    assert (rows["a.png"]["stream"], rows["z.png"]["bytes"]) == ("a.png.cool", "1")
    assert not (tmp_path / "a.cool").exists()


# --- processes


@linux_only
def test_a_lost_process_costs_one_picture(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png")
    command = started("encode-batch", tmp_path, "--jobs", 1, *QUICK)
    os.kill(worker_of(command), signal.SIGKILL)
    _, errors = command.communicate(timeout=300)
    assert command.returncode == 1, errors
    assert "a.png: its process has ended (Killed; out of memory?)" in errors
    assert "1 of 3 pictures were not encoded" in errors
    assert sorted(p.name for p in tmp_path.glob("*.cool")) == ["b.cool", "c.cool"]


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(tmp_path: Path, number: signal.Signals) -> None:
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    long = ["--iterations", "1000000", "--preset", "lop", "--init", "zero"]
    command = started("encode", *paths, tmp_path / "out", "--jobs", 2, *long)
    try:
        worker_of(command)
        time.sleep(1)
        command.send_signal(number)  # to the parent alone
        _, errors = command.communicate(timeout=60)  # until the last one has closed its pipe
    finally:
        command.kill()
    assert command.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in errors


def started(*arguments: object) -> subprocess.Popen[str]:
    code = "from numchic.command.cli import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(PYTHONPATH=os.pathsep.join(sys.path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def worker_of(command: subprocess.Popen[str]) -> int:
    """Wait for the first process of the pool; multiprocessing has one of its own beside."""
    while command.poll() is None:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        for child in children:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.01)
    raise AssertionError(command.communicate())


def test_a_scheduler_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    save(tmp_path / "a.png")
    result = run("encode-batch", tmp_path, "--scheduler", "nonsense")
    assert result.exit_code == 2
    assert "scheduler" in result.stderr


def test_an_interrupt_on_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    save(tmp_path / "a.png")
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(file)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert scheduler.stderr is not None
        lines = iter(scheduler.stderr.readline, "")
        assert any("Scheduler at" in line for line in lines)
        while not file.exists():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        command = started("encode-batch", tmp_path, "--scheduler", address, *QUICK)
        assert any("Receive client connection" in line for line in lines)
        time.sleep(1)
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60)
    finally:
        scheduler.kill()
        scheduler.communicate()
    assert command.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors


# --- ladders


def test_a_ladder_goes_on_without_a_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    class StopError(Exception):
        pass

    def training(crops: Any, _: object) -> None:
        names.extend(crops.names)
        raise StopError

    monkeypatch.setattr("numchic_trainer.command.ladder.LadderTraining", training)
    (tmp_path / "a.png").write_text("no picture")
    arguments = ["train-ladder", "--images", tmp_path, "--out", tmp_path / "a.npz"]
    result = run(*arguments)
    assert result.exit_code == 2
    assert "no pictures to learn from" in result.stderr
    Image.fromarray(picture(130, 130)).save(tmp_path / "b.png")
    result = run(*arguments)
    assert isinstance(result.exception, StopError)
    assert names == ["b.png"]
    assert "numchic: a.png: not a picture" in result.stderr


def test_a_ladder_replaces_no_other_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    before = path.read_bytes()
    assert run("train-ladder", "--images", tmp_path, "--out", path).exit_code == 2
    assert run("ladder", "inspect", path, path).exit_code == 2
    assert path.read_bytes() == before


def test_one_damaged_picture_of_several(tmp_path: Path, encoded: list[Job]) -> None:
    paths = [tmp_path / "a.png", save(tmp_path / "b.png"), tmp_path / "c.png"]
    paths[0].write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    result = run("encode", *paths, tmp_path / "out")
    assert result.exit_code == 1
    assert "a.png: " in result.stderr
    assert "c.png" in result.stderr
    assert "2 of 3" in result.stderr
    assert [job.path.name for job in encoded] == ["b.png"]
    assert np.array_equal(encoded[0].picture.to_rgb(), picture(8, 9))
