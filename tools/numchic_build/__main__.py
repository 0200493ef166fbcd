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
import time
from pathlib import Path

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
    kernels = lower(options.packages)

    def build(target: Target, compiler: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"library{target.suffix}"
        link(emit(kernels.module, kernels.names, target), kernels.identity, target, compiler, path)
        print(f"{path}: {path.stat().st_size} bytes, {time.process_time():.0f} CPU s", flush=True)

    for name in options.targets:
        target = (TARGETS | OTHERS)[name]
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", target.zig]
        build(target, zig, options.output / name)
    if not options.targets:
        compiler = shlex.split(os.environ.get("CC", "cc"))
        build(this_machine(llvm.get_default_triple()), compiler, options.output)


if __name__ == "__main__":
    main()
