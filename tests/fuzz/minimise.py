# SPDX-License-Identifier: BSD-3-Clause
"""Choose few inputs with the coverage of many: ``minimise.py TARGET FOLDER ... --output FOLDER``.

The smallest inputs come first; one is kept if it takes a jump between two lines that no smaller
one takes, or as often (in powers of two), or has a new outcome. The first seeds and what is in the
output folder take part; what is not chosen is removed from there. With NUMBA_DISABLE_JIT=1 the
lines of kernels count.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.seeds import seeds
from fuzz.targets import TARGETS

Feature = tuple[object, ...]


def features(run: Callable[[bytes], str], data: bytes) -> set[Feature]:
    """Outcome of an input, and jumps it takes inside the packages under test and how often."""
    jumps: Counter[Feature] = Counter()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("numchic"):
            return None
        code, previous = id(frame.f_code), 0

        def trace_line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal previous
            if event == "line":
                jumps[code, previous, frame.f_lineno] += 1
                previous = frame.f_lineno
            return trace_line

        return trace_line

    sys.settrace(trace)
    try:
        outcome = run(data)
    finally:
        sys.settrace(None)
    return {(outcome,), *((*jump, n.bit_length()) for jump, n in jumps.items())}


def minimise(run: Callable[[bytes], str], inputs: list[bytes]) -> list[bytes]:
    """Return the chosen inputs, smallest first."""
    chosen = []
    covered: set[Feature] = set()
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        found = features(run, data)
        if not found <= covered:
            covered |= found
            chosen.append(data)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    arguments.output.mkdir(parents=True, exist_ok=True)
    files = [path for folder in (arguments.output, *arguments.folders) for path in folder.iterdir()]
    target = TARGETS[arguments.target]
    inputs = [data for path in files if len(data := path.read_bytes()) <= target.max_size]
    chosen = minimise(target.run, inputs + seeds(arguments.target))
    names = {hashlib.sha256(data).hexdigest()[:12]: data for data in chosen}
    for path in arguments.output.iterdir():
        if path.name not in names:
            path.unlink()
    for name, data in names.items():
        (arguments.output / name).write_bytes(data)
    size = sum(map(len, chosen))
    print(f"{arguments.target}: {len(chosen)} of {len(inputs)} inputs, {size} bytes")


if __name__ == "__main__":
    main()
