# SPDX-License-Identifier: BSD-3-Clause
"""Measure the time per unit of work over streams of extreme headers.

``python tests/decoder/work.py [--count 200] [--first 0]``: prints the spread of the time per unit
of work, which should be small, and of the time per multiply-accumulate, which is not; then the
headers at both ends. One thread, processor time, best of three.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numchic
from numchic.v5.work import estimate_work
from numchic_bitstream import count_macs, read_stream
from numchic_bitstream.v5.headers import CoolChicHeader

# The helpers of the tests lie one folder up; pytest knows that by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from extremes import UNLIMITED, quiet_stream, random_header

LONG = 1.0  # seconds after which once is enough


class Measurement(NamedTuple):
    """Nanoseconds per unit of work and per multiply-accumulate."""

    per_unit: float
    per_mac: float
    seconds: float
    seed: int
    header: CoolChicHeader


def measure(seed: int) -> Measurement:
    """Decode the stream of one random header."""
    data = quiet_stream(random_header(seed))
    header = read_stream(data, UNLIMITED).frames[0].residue.header
    seconds = float("inf")
    for _ in range(3):
        start = time.process_time()
        numchic.decode(data, limits=UNLIMITED, threads=1)
        seconds = min(seconds, time.process_time() - start)
        if seconds > LONG:
            break
    work, macs = estimate_work(header), count_macs(header).total
    return Measurement(1e9 * seconds / work, 1e9 * seconds / macs, seconds, seed, header)


def main() -> int:
    parser = argparse.ArgumentParser(description="time per unit of work")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    numchic.decode(quiet_stream(random_header(0)), limits=UNLIMITED)  # compile
    found = sorted(measure(seed) for seed in range(options.first, options.first + options.count))
    for name, values in (
        ("unit of work", [m.per_unit for m in found]),
        ("multiply-accumulate", [m.per_mac for m in found]),
    ):
        low, tenth, half, nine, high = np.percentile(values, (0, 10, 50, 90, 100))
        print(
            f"ns per {name}: min {low:.3f}, 10 % {tenth:.3f}, median {half:.3f}, "
            f"90 % {nine:.3f}, max {high:.3f} ({len(found)} headers)"
        )
    for m in (*found[:3], *found[3:][-3:]):
        size = "x".join(map(str, m.header.img_size))
        print(f"  {m.per_unit:.3f} ns, {1e3 * m.seconds:.1f} ms: seed {m.seed}, {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
