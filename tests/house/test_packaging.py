# SPDX-License-Identifier: BSD-3-Clause
"""Wheels are small, hold the packages and nothing else, and a library where one can be compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from numchic_build import wheel

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bitstream", "decoder", "trainer", "conformance", "tools")
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
KERNELS = "numchic_bitstream/kernels"

needs_index = pytest.mark.skipif(
    "CI" not in os.environ, reason="needs a package index; runs where CI is set"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    return copy


Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a wheel as pip does, in a clean environment, with these variables."""

    def build(**variables: str) -> Path:
        output = tmp_path_factory.mktemp("wheel")
        others = {k: v for k, v in os.environ.items() if k not in ("NUMCHIC_BUILD", "CC")}
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", output, source],
            check=True, capture_output=True, text=True, env=others | variables,
        )  # fmt: skip
        (made,) = output.glob("*.whl")
        return made

    return build


@pytest.fixture(scope="module")
def native(build: Build) -> Path:
    return build(NUMCHIC_BUILD="native")


@pytest.fixture(scope="module")
def pure(build: Build) -> Path:
    return build(NUMCHIC_BUILD="pure")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Python that has what the build backend requires."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    executable = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", executable, "install", "-q", *requires],
        check=True,
    )
    return executable


def call_backend(python: Path, source: Path, hook: str, output: Path) -> Path:
    command = f"import build_backend; build_backend.{hook}({str(output)!r})"
    environment = os.environ | {"PYTHONPATH": str(source / "tools")}
    subprocess.run(
        [python, "-c", command],
        cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (made,) = output.iterdir()
    return made


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def libraries(path: Path) -> list[str]:
    found = [name for name in names(path) if name.startswith(f"{KERNELS}/library.")]
    return [name for name in found if not name.endswith(".sha256")]


def required_numba(path: Path) -> list[str]:
    """Give what a wheel requires of Numba without an extra."""
    with zipfile.ZipFile(path) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    found: list[str] = re.findall(r"^Requires-Dist: (numba.*)$", text, re.MULTILINE)
    return [requirement for requirement in found if "extra ==" not in requirement]


def reason(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{KERNELS}/no_library.txt").decode()


def assert_pure(path: Path) -> None:
    assert path.name.endswith("-py3-none-any.whl")
    assert not libraries(path)
    assert required_numba(path) == [wheel.NUMBA]


@needs_index
@pytest.mark.parametrize("kind", ["pure", "native"])
def test_content(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    with zipfile.ZipFile(path) as archive:
        sizes = {i.filename: i.compress_size for i in archive.infolist()}
    packs = [size for name, size in sizes.items() if "/packs/" in name]
    # Packs are what the trainer has learned. The code is small, that of the decoder smallest.
    learned_or_compiled = sum(packs) + sum(sizes[name] for name in libraries(path))
    decoder = sum(
        size
        for name, size in sizes.items()
        if name.split("/")[0] in ("numchic", "numchic_start", "numchic_bitstream")
    )
    assert decoder - sum(sizes[name] for name in libraries(path)) < 200_000
    assert path.stat().st_size - learned_or_compiled < 700_000
    assert len(packs) == 2
    assert max(packs) < 1_500_000
    tops = {name.split("/")[0] for name in sizes if ".dist-info/" not in name}
    assert tops == {
        "numchic", "numchic_start", "numchic_bitstream", "numchic_trainer", "numchic_conformance",
    }  # fmt: skip
    assert {f"{top}/py.typed" for top in tops} <= set(sizes)
    assert not [name for name in sizes if name.endswith(".pyc")]


@needs_index
def test_pure(pure: Path) -> None:
    assert_pure(pure)
    assert reason(pure) == "NUMCHIC_BUILD is pure\n"


@needs_index
def test_native(native: Path, tmp_path: Path) -> None:
    assert "-py3-none-" in native.name
    assert not native.name.endswith("-any.whl")
    assert required_numba(native) == []
    assert f"{KERNELS}/no_library.txt" not in names(native)
    (library,) = libraries(native)
    with zipfile.ZipFile(native) as archive:
        assert archive.getinfo(library).file_size <= 350_000
        archive.extractall(tmp_path)
    say = "from numchic_bitstream.kernels import describe; print(describe())"
    done = subprocess.run(
        [sys.executable, "-c", say],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "NUMCHIC_KERNELS": "native"},
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("native")


@needs_index
def test_no_compiler(build: Build, tmp_path: Path) -> None:
    made = build(PATH=str(tmp_path))
    assert_pure(made)
    assert reason(made) == "there is no C compiler cc\n"


@needs_index
def test_compiler_that_fails(build: Build) -> None:
    made = build(CC="false")
    assert_pure(made)
    assert reason(made).startswith("it cannot be built: ")


@needs_index
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NUMCHIC_BUILD": "native", "CC": "false"}, "the library of kernels cannot be built"),
        ({"NUMCHIC_BUILD": "nonsense"}, "NUMCHIC_BUILD is 'nonsense', allowed are native and pure"),
    ],
)
def test_no_wheel(build: Build, variables: dict[str, str], message: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(**variables)
    assert message in caught.value.stdout + caught.value.stderr


@needs_index
def test_editable(python: Path, source: Path, tmp_path: Path) -> None:
    made = call_backend(python, source, "build_editable", tmp_path)
    assert required_numba(made) == [wheel.NUMBA]
    assert not libraries(made)


@needs_index
def test_sdist(python: Path, source: Path, tmp_path: Path) -> None:
    made = call_backend(python, source, "build_sdist", tmp_path)
    with tarfile.open(made) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    tools = [path for path in (source / "tools").rglob("*") if path.suffix not in (".pyc", "")]
    assert len(tools) > 8
    assert {path.relative_to(source).as_posix() for path in tools} <= found


@pytest.mark.parametrize(
    ("system", "machine", "needed"),
    [
        ("linux", "x86_64", False),
        ("linux", "aarch64", False),
        ("darwin", "x86_64", False),
        ("darwin", "arm64", False),
        ("win32", "AMD64", False),
        ("win32", "ARM64", False),
        ("linux", "riscv64", True),
        ("linux", "armv7l", True),
        ("freebsd14", "amd64", True),
        ("emscripten", "wasm32", True),
    ],
)
def test_published_wheels_require_numba_where_there_is_none_with_a_library(
    system: str, machine: str, needed: bool
) -> None:
    marker = Requirement(wheel.PUBLISHED).marker
    assert marker is not None
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) is needed
