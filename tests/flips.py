# SPDX-License-Identifier: BSD-3-Clause
"""Damage streams that have a trailer in every simple way; all of it has to be noticed.

``python tests/flips.py [FILE ...]``: every truncation and every single-bit flip of the streams,
which get a trailer if they have none; without names of ten streams. Exits with status 0 if each of
them gives a ``NumchicError``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import builders
import numchic
from numchic_bitstream import FrameHeader, Metadata, read_stream

EXAMPLES = Path(__file__).parents[1] / "examples"
# A limit is no proof that damage is noticed.
UNLIMITED = numchic.Limits(
    stream_bytes=1 << 62,
    pixels=1 << 62,
    work=1 << 62,
    total_work=1 << 62,
    memory_bytes=1 << 62,
    metadata_bytes=1 << 62,
)


def damaged(data: bytes, stride: int = 1) -> Iterator[tuple[str, bytes]]:
    """Every ``stride``-th truncation, then every ``stride``-th single-bit flip."""
    for n in range(0, len(data), stride):
        yield f"first {n} bytes", data[:n]
    for bit in range(0, 8 * len(data), stride):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        yield f"bit {bit} flipped", bytes(flipped)


def ten_streams() -> Iterator[tuple[str, bytes]]:
    """Trained and random ones, of all kinds."""
    for path in sorted(EXAMPLES.glob("*.cool"))[:4]:
        yield path.name, path.read_bytes()
    yield "small", builders.stream()
    yield "10-bit 4:2:0", builders.stream(frame=FrameHeader(frame_data_type="yuv420", bitdepth=10))
    yield "16-bit 4:4:4", builders.stream(frame=FrameHeader(frame_data_type="yuv444", bitdepth=16))
    yield "resized", builders.stream(latent_resolution=(1, 2), hyperlatent_resolution=None)
    yield "one pixel", builders.stream(img_size=(1, 1), hyperlatent_resolution=None)
    metadata = Metadata(bytes(500), b"II*\0" + bytes(100), (("Title", "Ten"),), ((99, b"more"),))
    yield "metadata", builders.with_trailer(builders.stream(img_size=(9, 14)), metadata)


def main() -> int:
    streams = [(name, Path(name).read_bytes()) for name in sys.argv[1:]]
    n_unnoticed = 0
    for name, plain in streams or ten_streams():
        announced = read_stream(plain).trailer_announced
        data = plain if announced else builders.with_trailer(plain)
        numchic.decode(data)
        outcomes: Counter[str] = Counter()
        for what, broken in damaged(data):
            try:
                numchic.decode(broken, limits=UNLIMITED, threads=1)
            except numchic.NumchicError as error:
                outcomes[type(error).__name__] += 1
            else:
                n_unnoticed += 1
                print(f"{name}, {what}: not noticed")
        print(f"{name}: {len(data)} bytes, {outcomes.total()} inputs noticed, {dict(outcomes)}")
    return 1 if n_unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
