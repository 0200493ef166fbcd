# SPDX-License-Identifier: BSD-3-Clause
"""Decode streams, and make the same kernel calls with the kernels as WebAssembly.

``python tests/wasm/replay.py [FILE ...] [--rounds 5]``

Builds the packages with a library for this machine, and the module. Every stream is decoded with
native kernels, while it is recorded what each kernel is given and what it leaves; then node calls
the kernels of the module with the same, and every byte and every result must be the same. The exit
status is 0 if they are. Without files a few small streams of all generations. Times, which are
worth looking at for larger ones, are CPU milliseconds of all streams, for every call the least of
the rounds.

Needs node, a C compiler, and ``pip install -e ".[wheels]"``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# The helpers of the tests lie one folder up; pytest knows that by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from native_packages import ROOT, build, make, missing

HERE = Path(__file__).parent
# All is compiled at once, without the first compiler of V8, whose code is slow and soon replaced.
NODE_OPTIONS = ("--no-liftoff", "--no-wasm-lazy-compilation")
SMALL = [
    ROOT / "conformance" / "vectors" / f"{name}.cool"
    for name in (
        "stills/arm-63-bits",
        "trained/trained-lop",
        "trained/trained-half-bicubic",
        "videos/structure-5-intra-0-p-1-2-3-4",
        "v4/4.0-b",
        "v4/4.1-context-32-hidden-2",
        "v4/4.2-blocks-adaptive-16",
        "v4/4.2-motion-blocks-8",
    )
]


class Built(NamedTuple):
    """The packages with a native library, and the module."""

    packages: Path
    module: Path


class Call(NamedTuple):
    """A call: name of the function, bytes of its arrays, and milliseconds."""

    symbol: str
    n_bytes: int
    native_ms: float
    module_ms: float


class Replayed(NamedTuple):
    """What came of a stream; a difference is described in a line."""

    calls: list[Call]
    differences: list[str]
    compilation_ms: float
    memory_bytes: int


def build_all(folder: Path) -> Built:
    """Compile the kernels for this machine and as a module."""
    packages = folder / "packages"
    make(packages)
    build(packages, folder, "wasm32")
    return Built(packages, folder / "wasm32" / "library.wasm")


def replay(file: Path, built: Built, rounds: int = 1) -> Replayed:
    """Decode a stream, and make its kernel calls with the module."""
    with tempfile.TemporaryDirectory() as folder:
        record(file, Path(folder), built, rounds)
        return replay_recording(Path(folder), built, rounds)


def record(file: Path, folder: Path, built: Built, rounds: int = 1) -> None:
    """Decode a stream and write its kernel calls into a folder."""
    variables = {"PYTHONPATH": str(built.packages), "NUMCHIC_KERNELS": "native"}
    subprocess.run(
        [sys.executable, HERE / "record.py", file, folder, str(rounds)],
        env=os.environ | variables, check=True,
    )  # fmt: skip


def replay_recording(folder: Path, built: Built, rounds: int = 1) -> Replayed:
    """Make the kernel calls that are in a folder with the module."""
    done = subprocess.run(
        ["node", *NODE_OPTIONS, HERE / "replay.mjs", built.module, folder, str(rounds)],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    recorded = map(json.loads, (folder / "calls").read_text().splitlines())
    calls = [
        Call(call["symbol"], sum(call["sizes"]), call["ms"], ms)
        for call, ms in zip(recorded, found["ms"], strict=True)
    ]
    return Replayed(calls, found["differences"], found["compilation"], found["memory"])


def report(file: Path, found: Replayed) -> None:
    """Print what came of a stream."""
    n_bytes = sum(call.n_bytes for call in found.calls)
    print(
        f"{file.name}: {len(found.calls)} calls, {n_bytes / 1e6:.0f} MB, "
        f"{len(found.differences)} differences; {found.memory_bytes / 1e6:.0f} MB of memory, "
        f"compiled in {found.compilation_ms:.0f} ms",
        flush=True,
    )
    for difference in found.differences[:10]:
        print(f"  {difference}")


def report_times(calls: Sequence[Call]) -> None:
    """Print the times of all kernels, the slowest first."""
    ms: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for call in calls:
        for name in (call.symbol, "all"):
            ms[name] = ms[name][0] + call.module_ms, ms[name][1] + call.native_ms
    for name, (module, native) in sorted(ms.items(), key=lambda item: -item[1][0]):
        print(f"  {name:50} {module:8.1f} ms, native {native:8.1f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description="kernels as WebAssembly")
    parser.add_argument("files", nargs="*", type=Path, default=SMALL)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if lacking := missing("node"):
        parser.error(f"not installed: {lacking}")
    n_differences, calls = 0, []
    with tempfile.TemporaryDirectory() as folder:
        built = build_all(Path(folder))
        data = built.module.read_bytes()
        print(f"module: {len(data)} bytes, {len(gzip.compress(data, 9))} with gzip")
        for file in options.files:
            found = replay(file, built, options.rounds)
            report(file, found)
            n_differences += len(found.differences)
            calls += found.calls
    report_times(calls)
    n_kernels = len({call.symbol for call in calls})
    print(f"{n_kernels} kernels, {len(calls)} calls, {n_differences} differences")
    return 1 if n_differences else 0


if __name__ == "__main__":
    sys.exit(main())
