# SPDX-License-Identifier: BSD-3-Clause
"""How it is decided in which way kernels are run."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import native_packages
import numchic
from children import DECODE, EXAMPLE, environment, run_python
from numchic_bitstream import kernels
from numchic_bitstream.kernels.native import PACKAGES, PATH

DIGEST = hashlib.sha256(numchic.decode(EXAMPLE).to_bytes()).hexdigest()
DESCRIBE = "from numchic_bitstream import kernels; print(kernels.describe())\n"
WHY = "from numchic_bitstream import kernels; print(kernels.why_not_native())\n"
# Every import of Numba fails, as if it were not installed.
NO_NUMBA = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages with a library: those under test, or others made of them."""
    if kernels.is_native():
        return PATH.parents[2]
    folder = tmp_path_factory.mktemp("packages")
    native_packages.make(folder)
    return folder


@pytest.fixture
def changed(packages: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    for package in PACKAGES:
        shutil.copytree(packages / package, tmp_path / package)
    return tmp_path


def output(code: str, folder: Path, **variables: str) -> list[str]:
    return run_python(code, PYTHONPATH=folder, **variables).split("\n")[:-1]


# --- Which mode --------------------------------------------------------------------------------


def test_a_library_is_used_without_being_asked_for(packages: Path) -> None:
    code = NO_NUMBA + DESCRIBE + DECODE
    (mode, digest) = output(code, packages)
    assert mode.startswith("native")
    assert digest == DIGEST


@pytest.mark.parametrize("mode", ["jit", "python"])
def test_another_mode_is_used_when_asked_for(mode: str, packages: Path) -> None:
    assert output(DESCRIBE, packages, NUMCHIC_KERNELS=mode)[0].partition(" ")[0] == mode


def test_plain_python_goes_before_a_library(packages: Path) -> None:
    assert output(DESCRIBE, packages, NUMBA_DISABLE_JIT="1") == ["python"]


def test_plain_python_needs_no_numba(packages: Path) -> None:
    code = NO_NUMBA + "from numchic_bitstream.v5.laplace import left; print(left(0, 16384, 1.0))"
    assert output(code, packages, NUMCHIC_KERNELS="python") == ["5087973"]


def test_an_unknown_mode_is_refused() -> None:
    code = "import numchic\ntry:\n    import numchic_bitstream.v5.laplace\n"
    code += "except numchic.UsageError as error:\n    print(error)"
    assert "found nativ, allowed native," in run_python(code, NUMCHIC_KERNELS="nativ")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="there is one kind")
@pytest.mark.parametrize("level", [2, 3, 4])
def test_all_code_of_a_library_gives_the_same(level: int, packages: Path) -> None:
    highest = int(output(DESCRIBE, packages)[0][-2])
    if level > highest:
        pytest.skip(f"this processor runs only the code up to x86-64-v{highest}")
    assert output(NO_NUMBA + DECODE, packages, NUMCHIC_KERNELS=f"native-v{level}") == [DIGEST]


# --- Libraries that must not be used -----------------------------------------------------------


@pytest.mark.parametrize("file", ["numchic/filters.py", "numchic_bitstream/v4/states.py"])
def test_a_library_of_other_sources_is_not_used(file: str, changed: Path) -> None:
    with (changed / file).open("a") as source:
        source.write("\nNEW = 1\n")
    assert output(WHY + DECODE, changed) == ["the library was made from other sources", DIGEST]


@pytest.mark.parametrize("length", [0, 1000, 100_000])
def test_a_part_of_a_library_is_not_used(length: int, changed: Path) -> None:
    path = changed / "numchic_bitstream" / "kernels" / PATH.name
    path.write_bytes(path.read_bytes()[:length])
    assert output(WHY + DECODE, changed) == ["the library is damaged", DIGEST]


def test_what_is_no_library_is_not_used(changed: Path) -> None:
    path = changed / "numchic_bitstream" / "kernels" / PATH.name
    path.write_bytes(b"text")
    path.with_suffix(".sha256").write_text(hashlib.sha256(b"text").hexdigest())
    reason, digest = output(WHY + DECODE, changed)
    assert reason.startswith("the library cannot be used: ")
    assert digest == DIGEST


def test_native_kernels_that_are_asked_for_are_not_replaced(changed: Path) -> None:
    (changed / "numchic_bitstream" / "kernels" / PATH.name).unlink()
    code = "import numchic\ntry:\n    numchic.decode(b'')\nexcept Exception: pass\n"
    code += f"try:\n    numchic.decode({str(EXAMPLE)!r})\n"
    code += "except numchic.UnsupportedError as error:\n    print(error)"
    (message,) = output(code, changed, NUMCHIC_KERNELS="native")
    assert message.startswith(f"there are no native kernels: there is no {PATH.name}")


def test_without_library_and_numba_an_error_names_the_extra(changed: Path) -> None:
    (changed / "numchic_bitstream" / "kernels" / PATH.name).unlink()
    code = NO_NUMBA + f"import numchic\nprint(numchic.read_info({str(EXAMPLE)!r}).width)\n"
    code += f"try:\n    numchic.decode({str(EXAMPLE)!r})\n"
    code += "except numchic.UnsupportedError as error:\n    print(error)"
    width, message = output(code, changed)
    assert int(width) > 0
    assert "pip install 'numchic[jit]'" in message


def test_the_reason_of_the_build_is_told(changed: Path) -> None:
    folder = changed / "numchic_bitstream" / "kernels"
    (folder / PATH.name).unlink()
    (folder / "no_library.txt").write_text("there is no C compiler cc\n")
    assert output(WHY, changed) == ["there is no C compiler cc"]


# --- Commands ----------------------------------------------------------------------------------


def command(folder: Path, *arguments: str, **variables: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "numchic", *arguments],
        env=environment(PYTHONPATH=folder, **variables),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_version_tells_the_mode(packages: Path) -> None:
    assert "kernels: native" in command(packages, "--version")
    without = command(packages, "--version", NUMCHIC_KERNELS="python")
    assert "kernels: python" in without


def test_nothing_is_left_to_warm_up(packages: Path) -> None:
    assert "nothing to compile" in command(packages, "warmup")


# --- Arguments ---------------------------------------------------------------------------------

CALL = """
import numpy as np
from numchic.filters import preconcat_rows
from numchic_bitstream import UsageError
grid, taps, out = np.zeros((3, 4), np.int8), np.ones(3, np.float32), np.zeros((3, 4), np.float32)
try:
    preconcat_rows({}, 0, {}, out)
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("grid.astype(np.int16), taps", "0"), "int16[3, 4]"),
        (("np.zeros((4, 3), np.int8).T, taps", "0"), "int8[3, 4], not contiguous"),
        (("grid, taps.astype(np.float64)", "0"), "float64[3]"),
        (("grid, taps.astype('>f4')", "0"), ">f4[3]"),
        (("grid, taps", "0.5"), "float"),
        (("grid, taps", "1 << 63"), "int"),
    ],
)
def test_arguments_are_checked(arguments: tuple[str, str], found: str, packages: Path) -> None:
    (message,) = output(CALL.format(*arguments), packages)
    assert "arguments do not fit a kernel (field numchic.filters._preconcat_rows" in message
    assert f"{found}" in message
    assert "allowed int8[:, :], int64, float32[:], " in message
