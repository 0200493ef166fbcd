# SPDX-License-Identifier: BSD-3-Clause
"""Decode every truncation and every single-bit flip of streams, under limits.

``python tests/decoder/hostile.py FILE ... [--stride N]``: exits with status 0 if each of them gives
pictures or a ``NumchicError`` within the time and memory allowed.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numchic

LIMITS = numchic.Limits(pixels=200_000, work=100_000_000, memory_bytes=64_000_000)
SECONDS_PER_INPUT = 20
ADDRESS_SPACE = 4_000_000_000  # mostly the libraries'


def broken_streams(data: bytes, stride: int) -> Iterator[tuple[str, bytes]]:
    """Every ``stride``-th truncation, then every ``stride``-th bit flip."""
    for n in range(0, len(data), stride):
        yield f"first {n} bytes", data[:n]
    for bit in range(0, 8 * len(data), stride):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        yield f"bit {bit} flipped", bytes(flipped)


def outcome(data: bytes) -> str:
    """Name of what decoding gives; anything but pictures or a typed error escapes."""
    try:
        for _ in numchic.decode_frames(data, limits=LIMITS, threads=1):
            pass
    except numchic.NumchicError as error:
        if isinstance(error, numchic.StreamError) and error.field is None:
            raise AssertionError("the error does not name a field") from error
        return type(error).__name__
    return "pictures"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--stride", type=int, default=1)
    arguments = parser.parse_args()

    def too_slow(signum: int, frame: types.FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_slow)
    list(numchic.decode_frames(arguments.files[0], threads=1))  # compile before the clock runs
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("error")
    failures = 0
    for path in arguments.files:
        outcomes: Counter[str] = Counter()
        for what, data in broken_streams(path.read_bytes(), arguments.stride):
            signal.alarm(SECONDS_PER_INPUT)
            try:
                outcomes[outcome(data)] += 1
            except Exception as error:
                failures += 1
                print(f"{path.name}, {what}: {error!r}")
            finally:
                signal.alarm(0)
        print(f"{path.name}: {outcomes.total()} inputs, {dict(outcomes)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
