# SPDX-License-Identifier: BSD-3-Clause
"""What can be wrong with wheels for many platforms, found without running them.

Needs lief, auditwheel, twine and pip.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lief

from numchic_build import wheel
from numchic_build.targets import TARGETS, Target

LIBRARY_LIMIT = 350_000
"""Bytes of a library, with the code for all kinds of processor."""

_KERNELS = "numchic_bitstream/kernels"
_FORMATS = {
    ".so": lief.Binary.FORMATS.ELF,
    ".dylib": lief.Binary.FORMATS.MACHO,
    ".dll": lief.Binary.FORMATS.PE,
}
_ARCHITECTURES = {
    "x86_64": lief.Header.ARCHITECTURES.X86_64,
    "aarch64": lief.Header.ARCHITECTURES.ARM64,
    "arm64": lief.Header.ARCHITECTURES.ARM64,
}
# What every library for macOS has from its linker, and may ask the system for.
_MACOS_EXPORTS = {"__mh_dylib_header", "___dso_handle"}
_MACOS_IMPORTS = {"dyld_stub_binder"}
_MACOS_NAME = "@rpath/library.dylib"
_MACOS_SYSTEM = "/usr/lib/libSystem.B.dylib"

lief.logging.disable()


def find_problems(folder: Path, targets: list[str]) -> Iterator[str]:
    """Find what is wrong with the distributions in a folder.

    Parameters
    ----------
    folder : Path
        With a source distribution, a pure wheel and those of the targets, and nothing else.
    targets : list of str
        Names of targets.

    Yields
    ------
    str
        A problem, with the name of the file.
    """
    expected = {None: "any"} | {name: TARGETS[name].tag for name in targets}
    common = {}
    for target, tag in expected.items():
        paths = list(folder.glob(f"*-py3-none-{tag}.whl"))
        if len(paths) != 1:
            yield f"there are {len(paths)} wheels for {tag}"
            continue
        with tempfile.TemporaryDirectory() as temporary:
            content = wheel.unpack(paths[0], Path(temporary))  # compares files with their digests
            common[tag] = _common_rows(content)
            found = _of_content(content, tag, TARGETS[target] if target else None)
            yield from (f"{paths[0].name}: {problem}" for problem in found)
        if "linux" in tag:
            yield from (f"{paths[0].name}: {problem}" for problem in _of_auditwheel(paths[0]))
        yield from _of_choice(folder, tag, paths[0].name)
    for tag, rows in common.items():
        if rows != common["any"]:
            yield f"the wheel for {tag} differs in {sorted(rows ^ common['any'])}"
    yield from _of_twine(folder)


def _common_rows(content: Path) -> set[tuple[str, ...]]:
    """Names, digests and sizes of the files that all wheels must have, metadata among them."""
    (record,) = content.glob("*.dist-info/RECORD")
    with record.open(newline="", encoding="utf-8") as file:
        rows = set(map(tuple, csv.reader(file)))
    own = rf".*\.dist-info/(WHEEL|RECORD)|{_KERNELS}/(library\.\w+|no_library\.txt)"
    return {row for row in rows if not re.fullmatch(own, row[0])}


def _of_content(content: Path, tag: str, target: Target | None) -> Iterator[str]:
    (info,) = content.glob("*.dist-info")
    if re.findall(r"^Tag: (.*)$", _read(info / "WHEEL"), re.MULTILINE) != [f"py3-none-{tag}"]:
        yield "its tag is not that of its name"
    purelib = str(target is None).lower()
    if f"Root-Is-Purelib: {purelib}\n" not in _read(info / "WHEEL"):
        yield f"Root-Is-Purelib is not {purelib}"
    if f"Requires-Dist: {wheel.PUBLISHED}\n" not in _read(info / "METADATA"):
        yield f"it does not require {wheel.PUBLISHED}"
    libraries = [path for suffix in _FORMATS for path in content.rglob(f"*{suffix}")]
    allowed = [content / _KERNELS / f"library{target.suffix}"] if target else []
    if libraries != allowed:
        yield f"its libraries are {libraries}"
    elif target:
        yield from _of_library(libraries[0], target, *_declared(content))
        checksum = hashlib.sha256(libraries[0].read_bytes()).hexdigest()
        if _read(libraries[0].with_suffix(".sha256")) != checksum:
            yield "the checksum is not that of the library"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _declared(content: Path) -> tuple[str, list[str]]:
    """Identity and names of entries that the sources in a wheel give."""
    done = subprocess.run(
        [sys.executable, "-m", "numchic_build.declared", content],
        cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    identity, *names = done.stdout.splitlines()
    return identity, names


def _of_library(path: Path, target: Target, identity: str, names: list[str]) -> Iterator[str]:
    binary: Any = lief.parse(path)
    if binary is None or binary.format != _FORMATS[target.suffix]:
        yield "the library has another format"
        return
    architecture = binary.abstract.header.architecture
    if architecture != _ARCHITECTURES[target.triple.partition("-")[0]]:
        yield f"the library is for {architecture}"
    if f"{identity}\0".encode() not in path.read_bytes():
        yield "the library was made from other sources"
    if path.stat().st_size > LIBRARY_LIMIT:
        yield f"the library has {path.stat().st_size} bytes"
    expected = {name + code.suffix for name in names for code in target.codes}
    expected |= {"numchic_identity", "numchic_level"}
    if target.suffix == ".so":
        yield from _of_elf(binary, expected)
    elif target.suffix == ".dll":
        yield from _of_pe(binary, expected)
    else:
        yield from _of_macho(binary, expected)


def _of_elf(binary: Any, expected: set[str]) -> Iterator[str]:
    # The first symbol has no name. Of the others those without a section are somewhere else.
    symbols = list(binary.dynamic_symbols)[1:]
    yield from _difference("exports", {s.name for s in symbols if s.shndx}, expected)
    yield from _difference("imports", {s.name for s in symbols if not s.shndx}, set())
    yield from _difference("needs", set(binary.libraries), set())


def _of_pe(binary: Any, expected: set[str]) -> Iterator[str]:
    yield from _difference("exports", {e.name for e in binary.get_export().entries}, expected)
    yield from _difference("needs", set(binary.libraries), set())
    if not binary.optional_header.addressof_entrypoint:
        yield "the library has no DllMainCRTStartup"


def _of_macho(binary: Any, expected: set[str]) -> Iterator[str]:
    exported = {s.name for s in binary.exported_symbols} - _MACOS_EXPORTS
    yield from _difference("exports", exported, {f"_{name}" for name in expected})
    needed = {library.name for library in binary.libraries}
    yield from _difference("needs", needed, {_MACOS_NAME, _MACOS_SYSTEM})
    yield from _difference(
        "imports", {s.name for s in binary.imported_symbols} - _MACOS_IMPORTS, set()
    )
    if list(binary.build_version.minos) != [11, 0, 0]:
        yield f"the library is for macOS {binary.build_version.minos}"
    # Without a signature, which may be that of nobody, Apple's own processors run nothing.
    if not binary.has_code_signature and "ARM" in binary.abstract.header.architecture.name:
        yield "the library is not signed"


def _difference(what: str, found: set[str], expected: set[str]) -> Iterator[str]:
    if found != expected:
        more, less = sorted(found - expected), sorted(expected - found)
        yield f"the library {what} {more} more and {less} less than it should"


def _of_auditwheel(path: Path) -> Iterator[str]:
    """What auditwheel has against the tag of a wheel for Linux."""
    text = _output("auditwheel", "show", "--json", path)
    audit = json.loads(text[text.index("{") :])
    if "error" in audit:
        yield audit["error"]
        return
    if audit["external_libs"] or audit["versioned_symbols"] or audit["unsupported_isa"]:
        yield text
    # The wheel may run on older systems than its tag says.
    system, oldest, machine = _parts(audit["overall_tag"])
    if (system, machine) != _parts(path.stem)[::2] or oldest > _parts(path.stem)[1]:
        yield f"auditwheel calls it {audit['overall_tag']}"


def _parts(tag: str) -> tuple[str, tuple[int, int], str]:
    """Kind of system, its oldest version and the processor that a tag for Linux names."""
    system, major, minor, machine = re.findall(r"(\w+linux)_(\d+)_(\d+)_(\w+)", tag)[0]
    return system, (int(major), int(minor)), machine


def _of_choice(folder: Path, tag: str, name: str) -> Iterator[str]:
    """Whether pip takes a wheel on the platform of its tag."""
    # A newer system must take it as well. There is no wheel for the processor riscv64.
    system = {"any": "linux_riscv64"}.get(tag, tag.replace("macosx_11_0", "macosx_14_0"))
    with tempfile.TemporaryDirectory() as chosen:
        _output(
            "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-index",
            "--find-links", folder, "--platform", system, "--dest", chosen, "numchic",
        )  # fmt: skip
        names = [path.name for path in Path(chosen).iterdir()]
    if names != [name]:
        yield f"pip takes {names} for {system}"


def _of_twine(folder: Path) -> Iterator[str]:
    text = _output("twine", "check", "--strict", *sorted(folder.iterdir()))
    if text.count("PASSED") != len(list(folder.iterdir())):
        yield text


def _output(*command: str | Path) -> str:
    """Run a module and give what it prints, also where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.stdout
