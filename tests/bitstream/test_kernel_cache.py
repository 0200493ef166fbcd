# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numchic
import numchic_bitstream
from children import DECODE, EXAMPLE, jit_only, needs_numba, run_python
from numchic_bitstream import kernels
from numchic_bitstream.kernels.cache import fingerprint, user_cache
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


@jit_only
def test_the_folder_of_the_environment_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    first = run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(folder))
    assert first[0] == "5087973"
    assert Path(first[1]).is_relative_to(folder)
    assert files_in(folder)
    assert first[2] == "0"
    again = run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(folder))
    assert again == [*first[:2], "1"]


@jit_only
def test_kernels_work_without_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for _ in range(2):
        assert run(CALL_A_KERNEL, NUMCHIC_CACHE_DIR=str(file / "cache"))[::2] == ["5087973", "0"]
    assert file.is_file()


@jit_only
def test_a_relative_folder_does_not_move(tmp_path: Path) -> None:
    code = f"import os, numchic_bitstream.v5.laplace; os.chdir({str(tmp_path)!r})" + CALL_A_KERNEL
    run(code, NUMCHIC_CACHE_DIR=os.path.relpath(tmp_path / "cache"))
    assert files_in(tmp_path / "cache")


def test_importing_makes_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    run("import numchic_bitstream.v5.laplace", NUMCHIC_CACHE_DIR=str(folder))
    assert not folder.exists()


@jit_only
def test_every_kind_of_processor_has_its_own_file(tmp_path: Path) -> None:
    variables = {"NUMCHIC_CACHE_DIR": str(tmp_path)}
    run(CALL_A_KERNEL, **variables)
    run(CALL_A_KERNEL, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", **variables)
    kernels = sorted(path.name.partition("-")[0] for path in files_in(tmp_path))
    assert kernels == ["exponential"] * 2 + ["left"] * 2
    assert run(CALL_A_KERNEL, **variables)[2] == "1"


def test_without_compilation_kernels_are_functions(tmp_path: Path) -> None:
    code = "from numchic_bitstream.v5.laplace import left; print(type(left).__name__)"
    folder = str(tmp_path)
    assert run(code, NUMBA_DISABLE_JIT="1", NUMCHIC_CACHE_DIR=folder) == ["function"]


def test_importing_the_package_does_not_import_numba() -> None:
    assert run("import sys, numchic_bitstream; print('numba' in sys.modules)") == ["False"]


# --- A Numba that is different inside -----------------------------------------------------------

# What is used of Numba's inside, and what is lost without it.
INSIDE = [
    ("numba.core.compiler", "CompileResult", "cache"),
    ("numba.core.serialize", "dumps", "cache"),
    ("numba.core.compiler_lock", "global_compiler_lock", "lock"),
    ("numba.core.options", "DefaultOptions", "reference counts"),
]
CHANGE = """
import builtins, types
import_ = builtins.__import__
def import_changed(name, names={{}}, *others):
    if name in {modules} and names["__name__"].startswith("numchic"):
        return types.SimpleNamespace({stand_in})
    return import_(name, names, *others)
builtins.__import__ = import_changed
"""


@jit_only
@pytest.mark.parametrize("kind", ["missing", "another"])
@pytest.mark.parametrize(("module", "name", "lost"), INSIDE)
def test_kernels_work_where_numba_has_changed(
    module: str, name: str, lost: str, kind: str, tmp_path: Path
) -> None:
    stand_in = f"{name}=lambda a, b, c, d, e: None" if kind == "another" else ""
    code = CHANGE.format(modules=[module], stand_in=stand_in) + CALL_A_KERNEL
    hits = [run(code, NUMCHIC_CACHE_DIR=str(tmp_path / "cache"))[::2] for _ in range(2)]
    assert hits == [["5087973", "0"], ["5087973", "0" if lost == "cache" else "1"]]


@jit_only
def test_pictures_are_decoded_where_numba_has_changed(tmp_path: Path) -> None:
    changes = CHANGE.format(modules=[module for module, *_ in INSIDE], stand_in="")
    cache = tmp_path / "cache"
    output = run_python(changes + DECODE, NUMCHIC_CACHE_DIR=cache).strip()
    assert output == hashlib.sha256(numchic.decode(EXAMPLE).to_bytes()).hexdigest()
    assert not cache.exists()


# --- What the cache depends on -----------------------------------------------------------------

SOURCE = """
STEP = 1
SERIES = np.arange(3)
Pair = namedtuple("Pair", "first second")

@kernel()
def inner(a, b=5):
    return Pair(a + STEP, b + SERIES[1]).first

@kernel()
def outer(a):
    return inner(a) * 2
"""


def fingerprint_of_outer(source: str, compiler: str = "0.68") -> str:
    names = {"np": np, "kernel": kernels.kernel, "namedtuple": namedtuple, "__name__": "source"}
    exec(source, names)
    return fingerprint(names["outer"], compiler)


@jit_only
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEP = 1", "STEP = 2"),
        ("STEP = 1", "STEP = 1.0"),
        ("STEP = 1", "STEP = np.float32(1)"),
        ("arange(3)", "arange(4)"),
        ("arange(3)", "arange(3, dtype=np.int32)"),
        ("first second", "first second third"),
        ("a + STEP", "a - STEP"),
        ("b=5", "b=6"),
        ("a, b=5", "b, a=5"),
        ("kernel()\ndef inner", "kernel(contract=True)\ndef inner"),
        ("* 2", "* 3"),
    ],
)
def test_the_cache_depends_on_all_that_the_compiler_sees(old: str, new: str) -> None:
    assert old in SOURCE
    assert fingerprint_of_outer(SOURCE.replace(old, new)) != fingerprint_of_outer(SOURCE)


@jit_only
def test_the_cache_depends_on_nothing_else() -> None:
    other = "# comment\n" + SOURCE + "\nOTHER = 7\n@kernel()\ndef other(a):\n    return outer(a)\n"
    assert fingerprint_of_outer(other) == fingerprint_of_outer(SOURCE)


@jit_only
@pytest.mark.parametrize("variable", ["sys.implementation.cache_tag", "np.__version__"])
def test_the_cache_depends_on_versions(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_of_outer(SOURCE)
    monkeypatch.setattr(f"numchic_bitstream.kernels.cache.{variable}", "another")
    assert fingerprint_of_outer(SOURCE) != before


@jit_only
def test_the_cache_depends_on_the_compiler() -> None:
    assert fingerprint_of_outer(SOURCE, "0.69") != fingerprint_of_outer(SOURCE)


@jit_only
def test_the_cache_depends_on_bound_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "")
    before = fingerprint_of_outer(SOURCE)
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert fingerprint_of_outer(SOURCE) != before


@jit_only
def test_a_changed_constant_of_another_module_is_seen(tmp_path: Path) -> None:
    """Numba's own cache would go on with the old one."""
    (tmp_path / "constants.py").write_text("STEP = 1\n")
    (tmp_path / "kernels.py").write_text(
        "from numchic_bitstream.kernels import kernel\nfrom constants import STEP\n"
        "@kernel()\ndef add(a):\n    return a + STEP\n"
    )
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; sys.dont_write_bytecode = True\n"
    code += "from kernels import add; print(add(1), sum(add.stats.cache_hits.values()))"
    cache = str(tmp_path / "cache")
    assert [run(code, NUMCHIC_CACHE_DIR=cache) for _ in "12"] == [["2", "0"], ["2", "1"]]
    (tmp_path / "constants.py").write_text("STEP = 2\n")
    assert [run(code, NUMCHIC_CACHE_DIR=cache) for _ in "12"] == [["3", "0"], ["3", "1"]]


INTRINSIC = """
from numba.extending import intrinsic
from numchic_bitstream.kernels import kernel

STEP = 1

@intrinsic
def moved(_, a):
    return a(a), lambda _, builder, __, given: builder.add(given[0], given[0].type(STEP))

@kernel()
def move(a):
    return moved(a)
"""


@jit_only
def test_the_cache_depends_on_the_text_of_intrinsics(tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; sys.dont_write_bytecode = True\n"
    code += "from kernels import move; print(move(1), sum(move.stats.cache_hits.values()))"
    cache = str(tmp_path / "cache")
    for step in 1, 2:
        (tmp_path / "kernels.py").write_text(INTRINSIC.replace("STEP = 1", f"STEP = {step}"))
        results = [run(code, NUMCHIC_CACHE_DIR=cache) for _ in "12"]
        assert results == [[str(1 + step), "0"], [str(1 + step), "1"]]


class Colour(IntEnum):
    RED = 1


def add_red(a: int) -> int:
    return a + Colour.RED


@jit_only
def test_what_is_not_understood_is_not_kept(cache: Path) -> None:
    compiled: Any = kernels.kernel()(add_red)
    assert compiled(2) == 3
    assert not cache.exists()


# --- Where the cache is ------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the cache, which nobody has made yet."""
    monkeypatch.setenv("NUMCHIC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    assert user_cache() == Path(expected)


@pytest.mark.parametrize("name", ["NUMCHIC_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_an_empty_variable_is_like_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NUMCHIC_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv(name, "")
    assert user_cache() == Path("/home/me/.cache/numchic")


# --- Files that cannot be used ------------------------------------------------------------------


def add_one(a: int) -> int:
    return a + 1


def cache_hits() -> int:
    """Call a kernel with a fresh memory; 1 if it came from the cache, 0 if it was compiled."""
    compiled: Any = kernels.kernel()(add_one)
    assert compiled(2) == 3
    return sum(compiled.stats.cache_hits.values())


@jit_only
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


@jit_only
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


@jit_only
def test_a_folder_that_vanishes_is_made_again(cache: Path) -> None:
    cache_hits()
    shutil.rmtree(cache)
    assert [cache_hits(), cache_hits()] == [0, 1]


@jit_only
def test_files_are_for_every_user_to_read(cache: Path) -> None:
    cache_hits()
    (cache / "reference").touch()
    assert len({path.stat().st_mode for path in files_in(cache)}) == 1


# --- The decorator -----------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    return a + b


@needs_numba
@pytest.mark.parametrize("contract", [False, True])
@pytest.mark.parametrize("inline", [False, True])
def test_kernels_keep_their_function(cache: Path, contract: bool, inline: bool) -> None:
    compiled = kernels.kernel(contract=contract, inline=inline)(add)
    assert compiled(2, 3) == 5
    assert getattr(compiled, "py_func", compiled) is add
    assert hasattr(compiled, "py_func") == COMPILED
