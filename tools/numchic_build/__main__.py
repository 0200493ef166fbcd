# SPDX-License-Identifier: BSD-3-Clause
"""``python -m numchic_build PACKAGES OUTPUT [TARGET ...]``: compile the kernels of packages.

PACKAGES is a folder with the packages as a wheel holds them. For every target a library is written
to ``OUTPUT/TARGET``, with ``ziglang`` as linker; without targets one to ``OUTPUT``, for this
machine, with the C compiler of ``$CC`` or ``cc``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm

from numchic_build.emit import emit
from numchic_build.link import link
from numchic_build.lower import lower
from numchic_build.targets import OTHERS, TARGETS, Target, this_machine


def main() -> None:
    """Compile for the targets of the command line."""
    parser = argparse.ArgumentParser(description="compile kernels")
    parser.add_argument("packages", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    jobs = [_for_platform(name, options.output / name) for name in options.targets]
    jobs = jobs or [_for_this_machine(options.output)]
    for job in jobs:  # where a linker fails, it should do so before all the work
        with tempfile.TemporaryDirectory() as trial:
            link([], "", job.target, job.compiler, Path(trial, "library"))
    kernels = lower(options.packages)
    for target, compiler, folder in jobs:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"library{target.suffix}"
        link(emit(kernels.module, kernels.names, target), kernels.identity, target, compiler, path)
        print(f"{path}: {path.stat().st_size} bytes, {time.process_time():.0f} CPU s", flush=True)


class _Job(NamedTuple):
    target: Target
    compiler: list[str]
    folder: Path


def _for_platform(name: str, folder: Path) -> _Job:
    target = (TARGETS | OTHERS)[name]
    return _Job(target, [sys.executable, "-m", "ziglang", "cc", "-target", target.zig], folder)


def _for_this_machine(folder: Path) -> _Job:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    return _Job(this_machine(llvm.get_default_triple()), compiler, folder)


if __name__ == "__main__":
    main()
