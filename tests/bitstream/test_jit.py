# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import numchic_bitstream
from numchic_bitstream import _jit
from strategies import COMPILED

PACKAGE = Path(numchic_bitstream.__file__).parent

# Calls a compiled kernel; prints its result, where it was cached, and how often from the cache.
CALL_A_KERNEL = """
from numchic_bitstream.laplace import left
print(left(0, 16384, 1.0), left.stats.cache_path, sum(left.stats.cache_hits.values()))
"""


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
    assert list(folder.rglob("*.nbi"))
    assert first[2] == "0"
    again = run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(folder))
    assert again == [*first[:2], "1"]


def test_kernels_work_without_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(file / "cache")) == ["5087973", "None", "0"]


def test_without_compilation_kernels_are_functions(tmp_path: Path) -> None:
    code = "from numchic_bitstream.laplace import left; print(type(left).__name__)"
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
        assert Path(folder).parent == cache
        assert Path(folder).is_dir()
        assert _jit._cache_folder(package) == folder
        names.add(folder)
        _jit._cache_folder.cache_clear()
    assert len(names) == 3


def test_a_folder_that_cannot_be_made_is_no_folder(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.touch()
    assert _jit._cache_folder(PACKAGE) is None


def test_a_read_only_folder_is_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # the test may run as root
    assert _jit._cache_folder(PACKAGE) is None
    assert cache.is_dir()


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
