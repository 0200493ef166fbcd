# SPDX-License-Identifier: BSD-3-Clause
"""The build backend: setuptools, and a library of kernels in the wheel where one can be compiled.

``$NUMCHIC_BUILD`` says which package is built: ``native`` has a library, or there is none at all;
``pure`` has none and requires Numba. Otherwise it is native if there is a C compiler and all goes
well. Metadata is taken from the finished wheel, because only then is known what it requires.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import build_sdist, get_requires_for_build_sdist

from numchic_build import wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

_TOOLS = Path(__file__).parent
# Older ones have an LLVM that cannot do it. A Python that Numba does not know yet gets the pure
# package, in place of an installation that fails.
_COMPILER = ["numba>=0.65; python_version < '3.15'", "numpy>=2.0"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Give what the build needs beside setuptools."""
    needed: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return needed if _reason_against() else needed + _COMPILER


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel, native or pure."""
    with tempfile.TemporaryDirectory() as folder:
        name = build_meta.build_wheel(folder, config_settings, metadata_directory)
        content = wheel.unpack(Path(folder, name), Path(folder, "content"))
        reason = _reason_against()
        if not reason:
            library, reason = _build_library(content, Path(folder, "library"))
        output = Path(wheel_directory)
        if not reason:
            return wheel.pack(content, output, numba=None, library=library, tag=_tag())
        print(f"numchic: the package is made without a library of kernels: {reason}")
        return wheel.pack(content, output, numba=wheel.NUMBA, reason=reason)


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Give what the build needs beside setuptools."""
    needed: list[str] = build_meta.get_requires_for_build_editable(config_settings)
    return needed


def build_editable(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that points to the checkout; it never has a library, which would get old."""
    with tempfile.TemporaryDirectory() as folder:
        name = build_meta.build_editable(folder, config_settings, metadata_directory)
        content = wheel.unpack(Path(folder, name), Path(folder, "content"))
        return wheel.pack(content, Path(wheel_directory), numba=wheel.NUMBA)


def _reason_against() -> str:
    """Why no library should be built, before anything is tried; empty if one should be."""
    wanted = os.environ.get("NUMCHIC_BUILD", "")
    if wanted not in ("", "native", "pure"):
        raise ValueError(f"NUMCHIC_BUILD is {wanted!r}, allowed are native and pure")
    if wanted == "pure":
        return "NUMCHIC_BUILD is pure"
    command = _c_compiler()
    if not wanted and shutil.which(command[0]) is None:
        return f"there is no C compiler {command[0]}"
    return ""


def _c_compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "")) or ["cc"]


def _build_library(packages: Path, output: Path) -> tuple[Path, str]:
    """Build the library for this machine; give its path and, where that failed, the reason."""
    path = os.pathsep.join(filter(None, [str(_TOOLS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "numchic_build", packages, output],
        env=os.environ | {"PYTHONPATH": path, "CC": shlex.join(_c_compiler())},
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode and os.environ.get("NUMCHIC_BUILD") == "native":
        raise RuntimeError(f"the library of kernels cannot be built: {done.stderr}")
    lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    reason = f"it cannot be built: {lines[-1]}" if done.returncode else ""
    suffixes = (".so", ".dylib", ".dll")
    found = (path for path in output.glob("library.*") if path.suffix in suffixes)
    return next(found, output), reason


def _tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
