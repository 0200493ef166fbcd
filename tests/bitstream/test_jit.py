# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import numchic_bitstream
from numchic_bitstream import _jit
from strategies import COMPILED

PACKAGE = Path(numchic_bitstream.__file__).parent

# Calls a compiled kernel; prints its result, where it was cached, and how often from the cache.
CALL_A_KERNEL = """
from numchic_bitstream.v5.laplace import left
print(left(0, 16384, 1.0), left.stats.cache_path, sum(left.stats.cache_hits.values()))
"""


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def run(code: str, **variables: str) -> list[str]:
    """Output of a fresh interpreter with other environment variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "NUMCHIC_"))}
    path = {"PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | path | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


# --- In a process of their own -----------------------------------------------------------------


def test_the_folder_of_the_environment_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    first = run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(folder))
    assert first[0] == "5087973"
    assert Path(first[1]).is_relative_to(folder)
    assert files_in(folder)
    assert first[2] == "0"
    again = run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(folder))
    assert again == [*first[:2], "1"]


def test_kernels_work_without_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for _ in range(2):
        assert run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(file / "cache"))[::2] == ["5087973", "0"]
    assert file.is_file()


def test_a_relative_folder_does_not_move(tmp_path: Path) -> None:
    code = f"import os, numchic_bitstream.v5.laplace; os.chdir({str(tmp_path)!r})" + CALL_A_KERNEL
    run(code, NUMCHIC_CACHE_DIR=os.path.relpath(tmp_path / "cache"))
    assert files_in(tmp_path / "cache")


def test_importing_makes_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    run("import numchic_bitstream.v5.laplace", NUMCHIC_CACHE_DIR=str(folder))
    assert not folder.exists()


def test_every_kind_of_processor_has_its_own_file(tmp_path: Path) -> None:
    variables = {"NUMCHIC_CACHE_DIR": str(tmp_path)}
    run(CALL_A_KERNEL, **variables)
    run(CALL_A_KERNEL, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", **variables)
    assert len(files_in(tmp_path)) == 2
    assert run(CALL_A_KERNEL, **variables)[2] == "1"


def test_without_compilation_kernels_are_functions(tmp_path: Path) -> None:
    code = "from numchic_bitstream.v5.laplace import left; print(type(left).__name__)"
    folder = str(tmp_path)
    assert run(code, NUMBA_DISABLE_JIT="1", NUMCHIC_CACHE_DIR=folder) == ["function"]


def test_importing_the_package_does_not_import_numba() -> None:
    assert run("import sys, numchic_bitstream; print('numba' in sys.modules)") == ["False"]


# --- Where the cache is ------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the cache, with nothing remembered of another one."""
    monkeypatch.setenv("NUMCHIC_CACHE_DIR", str(tmp_path / "cache"))
    _jit._cache_folder.cache_clear()
    yield tmp_path / "cache"
    _jit._cache_folder.cache_clear()


def package_of(folder: Path, source: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "kernels.py").write_text(source)
    return folder


def test_the_cache_depends_on_every_source(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for source, boundscheck in (("a", ""), ("b", ""), ("b", "1")):
        monkeypatch.setenv("NUMBA_BOUNDSCHECK", boundscheck)
        package = package_of(tmp_path / "package", source)
        folder = _jit._cache_folder(package)
        assert folder is not None
        assert folder.parent == cache
        assert _jit._cache_folder(package) == folder
        names.add(folder)
        _jit._cache_folder.cache_clear()
    assert len(names) == 3


def test_sources_out_of_reach_mean_no_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_jit, "__file__", str(tmp_path / "archive.zip" / "_jit.py"))
    assert _jit._cache_folder(PACKAGE) is None


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"NUMCHIC_CACHE_DIR": "/there"}, "/there"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/numchic"),
        ("linux", {}, "/home/me/.cache/numchic"),
        ("linux", {"HOME": "not/absolute"}, f"{os.devnull}/numchic"),
        ("darwin", {}, "/home/me/Library/Caches/numchic"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/numchic"),
        ("win32", {}, "/home/me/AppData/Local/numchic"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of other systems")
def test_user_cache(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NUMCHIC_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert _jit._user_cache() == Path(expected)


@pytest.mark.parametrize("name", ["NUMCHIC_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_an_empty_variable_is_like_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NUMCHIC_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv(name, "")
    assert _jit._user_cache() == Path("/home/me/.cache/numchic")


# --- Files that cannot be used ------------------------------------------------------------------

needs_the_compiler = pytest.mark.skipif(not COMPILED, reason="kernels are plain Python")


def add_one(a: int) -> int:
    return a + 1


def cache_hits() -> int:
    """Call a kernel with a fresh memory; 1 if it came from the cache, 0 if it was compiled."""
    compiled: Any = _jit.kernel()(add_one)
    assert compiled(2) == 3
    return sum(compiled.stats.cache_hits.values())


@needs_the_compiler
@pytest.mark.parametrize("damage", ["empty", "truncated", "digest", "content"])
def test_a_damaged_file_is_compiled_anew(cache: Path, damage: str) -> None:
    assert cache_hits() == 0
    (file,) = files_in(cache)
    data = bytearray(file.read_bytes())
    if damage in ("empty", "truncated"):
        del data[0 if damage == "empty" else len(data) // 2 :]
    else:
        data[0 if damage == "digest" else len(data) // 2] ^= 1
    file.write_bytes(data)
    assert cache_hits() == 0
    assert cache_hits() == 1
    assert files_in(cache) == [file]


@needs_the_compiler
@pytest.mark.parametrize("operation", ["mkdir", "write_bytes", "replace"])
def test_a_file_that_cannot_be_saved_is_done_without(
    cache: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, operation, fail)
        assert cache_hits() == 0
    assert not files_in(cache)
    assert [cache_hits(), cache_hits()] == [0, 1]


@needs_the_compiler
def test_a_folder_that_vanishes_is_made_again(cache: Path) -> None:
    cache_hits()
    shutil.rmtree(cache)
    assert [cache_hits(), cache_hits()] == [0, 1]


@needs_the_compiler
def test_files_are_for_every_user_to_read(cache: Path) -> None:
    cache_hits()
    (cache / "reference").touch()
    assert len({path.stat().st_mode for path in files_in(cache)}) == 1


# --- The decorator -----------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("contract", [False, True])
@pytest.mark.parametrize("inline", [False, True])
def test_kernels_keep_their_function(cache: Path, contract: bool, inline: bool) -> None:
    compiled = _jit.kernel(contract=contract, inline=inline)(add)
    assert compiled(2, 3) == 5
    assert getattr(compiled, "py_func", compiled) is add
    assert hasattr(compiled, "py_func") == COMPILED
