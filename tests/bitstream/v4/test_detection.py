# SPDX-License-Identifier: BSD-3-Clause
"""Section 2: telling the generation of a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from numchic_bitstream import CorruptError, Limits, TruncatedError
from numchic_bitstream.v4 import detect_generation, read_stream
from numchic_bitstream.v4.headers import GENERATIONS, Generation
from numchic_bitstream.v4.walk import attempt
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import make_stream
from v4_vectors import Vector4, v4_vectors

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "rings.cool"


def accepted(data: bytes) -> list[str]:
    return [g for g in GENERATIONS if attempt(data, g, Limits()).error is None]


@pytest.mark.parametrize("vector", v4_vectors())
def test_vectors(vector: Vector4) -> None:
    data = vector.path.read_bytes()
    assert detect_generation(data) == vector.generation
    assert accepted(data) == [vector.generation]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_exactly_one_walk_succeeds(generation: Generation) -> None:
    for seed in range(6):
        draw = Draw(f"{generation} {seed}")
        frames = ((0, "I"), (1, "P")) if seed % 2 else ((0, "I"),)
        data = make_stream(draw, generation, (8, 8), "yuv420", 10, frames)
        assert accepted(data) == [generation]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_truncation(generation: Generation) -> None:
    draw = Draw(1)
    data = make_stream(draw, generation, (8, 8), "yuv420", 8, ((0, "I"), (1, "P")))
    n_first = 6 + read_stream(data).frames[0].header.n_bytes_header
    for n in range(0, len(data), 7):
        found = detect_generation(data[:n])
        if n < n_first:
            assert found is None
        else:
            assert found is not None  # a cut stream may look like one of another generation
            if not accepted(data[:n]):
                with pytest.raises(TruncatedError):
                    read_stream(data[:n])
            elif n < len(data):  # cut between the frames: a still picture
                assert len(read_stream(data[:n]).frames) == 1


def test_other_generations() -> None:
    assert detect_generation(EXAMPLE.read_bytes()) == "5.0"
    for data in (b"", b"\6", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\6" + bytes(60)):
        assert detect_generation(data) is None


def test_a_video_that_starts_like_an_older_one() -> None:
    # 5.0 with 96 frames, all of them intra: its first byte is 06.
    n_frames, n_intras = 96, 96
    n_bytes = (52 + 12 * n_intras + 7) // 8
    bits = f"{n_frames:012b}{n_intras:012b}{0:012b}{n_bytes:016b}"
    bits += "".join(f"{i:012b}" for i in range(n_intras))
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big") + bytes(50)
    assert data[0] == 6
    assert detect_generation(data) == "5.0"


def test_the_number_of_frames_is_limited_while_walking() -> None:
    draw = Draw(3)
    data = make_stream(draw, "4.1", (8, 8), "yuv420", 8, ((0, "I"), (1, "I"), (2, "I")))
    assert detect_generation(data, Limits(frames=2)) == "4.1"


def test_the_error_is_that_of_the_walk_that_got_furthest() -> None:
    draw = Draw(4)
    data = make_stream(draw, "4.1", (8, 8), "yuv420", 8, ((0, "I"), (1, "I")))
    with pytest.raises(CorruptError) as caught:
        read_stream(data + b"\xff" * 20)
    assert (caught.value.offset or 0) >= len(data)


def test_imports_are_light() -> None:
    code = (
        "import sys, numchic_bitstream.v4, numchic.v4.memory, numchic.v4.info;"
        "sys.exit('numba' in sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
