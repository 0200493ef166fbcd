# SPDX-License-Identifier: BSD-3-Clause
"""Files, folders and streams that fail: caches of kernels, and what the command writes to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from children import (
    CALL_A_KERNEL,
    DECODE,
    EXAMPLE,
    PACKAGES,
    SMALL_DISK,
    WITHOUT_PRIVILEGES,
    compiled_only,
    environment,
    jit_only,
    linux_only,
    run_command,
    run_python,
)

pytestmark = [compiled_only, linux_only]

RESULT = "5087973"  # of the kernel


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Folder with copies of both packages that nobody may write to once the test says so."""
    folder = tmp_path / "install"
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, folder / package.name, ignore=ignore)
    yield folder
    set_rights(folder, 0o755)


def set_rights(folder: Path, rights: int) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(rights)


# --- Kernels and their cache -------------------------------------------------------------------


def test_a_read_only_install_without_a_home(read_only: Path, tmp_path: Path) -> None:
    """Everything is compiled and nothing is kept."""
    expected = run_python(DECODE)
    files = files_in(read_only)
    set_rights(read_only, 0o555)
    variables = {"PYTHONPATH": read_only, "HOME": tmp_path / "none", "XDG_CACHE_HOME": ""}
    set_rights(tmp_path, 0o555)
    try:
        where, digest = run_python(
            f"{WITHOUT_PRIVILEGES}\nimport numchic; print(numchic.__path__[0])\n{DECODE}",
            **variables,
        ).split()
    finally:
        tmp_path.chmod(0o755)
    assert (Path(where).parent, digest) == (read_only, expected.strip())
    assert files_in(read_only) == files
    assert not (tmp_path / "none").exists()


@jit_only
def test_a_cache_of_somebody_else_is_read(tmp_path: Path) -> None:
    """One that was filled when a container was built, for example."""
    cache = tmp_path / "cache"
    run_python(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=cache)
    files = files_in(cache)
    set_rights(cache, 0o555)
    try:
        output = run_python(WITHOUT_PRIVILEGES + CALL_A_KERNEL, NUMCHIC_CACHE_DIR=cache)
    finally:
        set_rights(cache, 0o755)
    assert output.split() == [RESULT, "1"]
    assert files_in(cache) == files


@jit_only
def test_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    output = run_python(SMALL_DISK + CALL_A_KERNEL, NUMCHIC_CACHE_DIR=tmp_path)
    assert output.split() == [RESULT, "0"]
    assert not files_in(tmp_path)


@jit_only
def test_a_cache_that_is_deleted_before_the_first_call(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    delete = f"import shutil, numchic_bitstream.v5.laplace; shutil.rmtree({str(cache)!r})"
    output = run_python(delete + CALL_A_KERNEL, NUMCHIC_CACHE_DIR=cache)
    assert output.split() == [RESULT, "0"]
    assert run_python(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=cache).split() == [RESULT, "1"]


@jit_only
def test_processes_that_compile_at_the_same_time(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CALL_A_KERNEL],
            env=environment(NUMCHIC_CACHE_DIR=tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:
        output, _ = child.communicate(timeout=300)
        assert output.split()[0] == RESULT
    assert len(files_in(tmp_path)) == 2  # of the kernel and the one that it calls
    assert run_python(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=tmp_path).split() == [RESULT, "1"]


# --- What the command writes to ----------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    return path


def assert_nothing_happened(target: Path) -> None:
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_a_disk_that_is_full_while_the_output_is_written(target: Path) -> None:
    result = run_command("decode", EXAMPLE, target, before=SMALL_DISK)
    assert result.returncode == 5
    assert result.stderr.count(b"\n") == 1
    assert_nothing_happened(target)


def test_a_folder_without_the_right_to_write(target: Path) -> None:
    target.parent.chmod(0o555)
    try:
        result = run_command("decode", EXAMPLE, target, before=WITHOUT_PRIVILEGES)
    finally:
        target.parent.chmod(0o755)
    assert result.returncode == 5
    assert_nothing_happened(target)


@pytest.mark.parametrize("moment", ["urandom", "replace"])
def test_a_folder_that_vanishes(moment: str, tmp_path: Path) -> None:
    """Before the temporary file is made, or before it gets its name."""
    folder = tmp_path / "folder"
    folder.mkdir()
    owner = {"urandom": "os", "replace": "pathlib.Path"}[moment]
    before = f"""
import os, pathlib, shutil
original = {owner}.{moment}
def vanish(*arguments, **options):
    shutil.rmtree({str(folder)!r}, ignore_errors=True)
    return original(*arguments, **options)
{owner}.{moment} = vanish
"""
    result = run_command("decode", EXAMPLE, folder / "out.png", before=before)
    assert result.returncode == 5
    assert result.stderr.count(b"\n") == 1
    assert b"folder/out.png" in result.stderr
    assert b".numchic-" not in result.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [("decode", EXAMPLE, "-"), ("info", EXAMPLE), ("dump", EXAMPLE)],
    ids=lambda a: a[0],
)
def test_standard_output_that_is_full_or_not_read(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run_command(*arguments, stdout=full)
    assert result.returncode == 5
    assert result.stderr.count(b"\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = run_command(*arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (5, b"")


def test_a_device_that_is_full() -> None:
    assert run_command("decode", EXAMPLE, "/dev/full", "--format", "ppm").returncode == 5


@pytest.mark.parametrize(
    ("closed", "output", "status"), [(0, "out.png", 0), (1, "-", 2), (2, "out.png", 0)]
)
def test_closed_standard_streams(closed: int, output: str, status: int, tmp_path: Path) -> None:
    result = run_command(
        "decode", EXAMPLE, output, cwd=tmp_path, preexec_fn=lambda: os.close(closed)
    )
    assert result.returncode == status
    assert (tmp_path / "out.png").exists() == (status == 0)
