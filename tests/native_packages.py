# SPDX-License-Identifier: BSD-3-Clause
"""``python tests/native_packages.py FOLDER``: put the packages with a library into a folder.

It is what a native wheel installs, for tests with ``PYTHONPATH=FOLDER`` and
``pytest -o pythonpath="FOLDER trainer conformance tests tools"``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path) -> None:
    """Copy the packages and compile their kernels."""
    for source in (ROOT / "bitstream" / "numchic_bitstream", ROOT / "decoder" / "numchic"):
        target = folder / source.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    build(folder, folder / "numchic_bitstream" / "kernels")


def missing(*programs: str) -> str:
    """What is not installed of programs and of what libraries for other machines are built with."""
    lacking = [name for name in ("cc", *programs) if shutil.which(name) is None]
    lacking += [name for name in ("numba", "ziglang") if importlib.util.find_spec(name) is None]
    return ", ".join(lacking)


def build(packages: Path, output: Path, *targets: str) -> None:
    """Compile the kernels of packages, for this machine or for targets."""
    subprocess.run(
        [sys.executable, "-m", "numchic_build", packages, output, *targets],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools")},
        check=True,
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
