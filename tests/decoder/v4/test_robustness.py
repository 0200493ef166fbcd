# SPDX-License-Identifier: BSD-3-Clause
"""Damaged and hostile 4.x payloads, memory, stopping; ``../hostile.py`` does more of the first."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import numchic
from numchic.memory import estimate_memory
from numchic.schedule import Meter
from numchic.v4.frame import FrameWriter, decode_frame
from numchic.v4.prediction import predict
from numchic_bitstream.v4 import Stream, read_stream
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.headers import Frame, Part, write_frame, write_gop
from numchic_conformance.synthetic.v4.latents import encode_plane
from numchic_conformance.synthetic.v4.streams import (
    arm_layers,
    drawn_part,
    make_stream,
    write_numbers,
)
from v4_vectors import Vector4, v4_vectors

HOSTILE = Path(__file__).parents[1] / "hostile.py"
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
SMALL = {"s1020", "s60", "s69"}
TINY = {"arm": (8, 1), "ups": (1, 4, 1, 3), "latent": [1, 1], "noise": [0, 0], "zero": 0}


def run_hostile(path: Path, stride: int) -> None:
    result = subprocess.run(
        [sys.executable, HOSTILE, path, "--stride", str(stride)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(INTERPRETED, reason="too slow for kernels in plain Python")
@pytest.mark.parametrize("vector", [v for v in v4_vectors() if v.id in SMALL | {"no-vectors"}])
def test_pictures_or_a_typed_error(vector: Vector4) -> None:
    run_hostile(vector.path, 7)


@pytest.mark.skipif(INTERPRETED, reason="too slow for kernels in plain Python")
@pytest.mark.parametrize("generation", ["4.2", "4.0"])
def test_videos_or_a_typed_error(generation: str, tmp_path: Path) -> None:
    frames = ((0, "I"), (2, "P"), (1, "B"))
    draw = Draw(9)
    data = make_stream(draw, generation, (8, 8), "yuv420", 8, frames, **TINY)
    path = tmp_path / "video.cool"
    path.write_bytes(data)
    run_hostile(path, 61)


def still(p: Part, numbers: dict[str, list[int]], planes: list[bytes]) -> bytes:
    payload = write_numbers(numbers, p) + b"".join(planes)
    p.len_lat = [len(plane) for plane in planes]
    frame = Frame(0, "I", [p], payload=payload)
    return write_gop(8, 8, "rgb", 8) + write_frame(frame, "4.2")


def simple_part(arm: int = 12, syn_weight: int = 5) -> tuple[Part, dict[str, list[int]]]:
    p = drawn_part(Draw(1), "I", 0, "4.2", **TINY, blk=0)
    p.syn = [(3, 1, 0, 1), (3, 1, 0, 0)]
    draw = Draw(2)
    numbers = {
        f"{m}{k}": [draw.integer(-arm, arm) if m == "arm" else syn_weight] * n
        for m, counts in p.counts().items()
        for k, n in enumerate(counts)
    }
    return p, numbers


def test_arm_parameters_of_more_than_32_bits() -> None:
    p, numbers = simple_part()
    numbers["arm0"][3] = 2**29
    p.q["arm"] = 8, 0
    with pytest.raises(numchic.CorruptError) as caught:
        numchic.decode(still(p, numbers, [b"", b""]))
    assert caught.value.field == "arm.w"


def test_sums_of_the_arm_that_wrap_around() -> None:
    p, numbers = simple_part(arm=2**20)
    rng = np.random.default_rng(3)
    layers = arm_layers(p, numbers)
    grids = [rng.integers(-200, 200, (8, 8)), rng.integers(-200, 200, (4, 4))]
    planes = [encode_plane(grid, layers, 0, None, None) for grid in grids]
    data = still(p, numbers, planes)
    with np.errstate(over="ignore"):
        assert numchic.decode(data).width == 8


def test_a_latent_that_is_too_large() -> None:
    p, numbers = simple_part()
    layers = arm_layers(p, numbers)
    grid = np.zeros((8, 8), np.int64)
    grid[2, 1] = 1 << 22
    data = still(p, numbers, [encode_plane(grid, layers, 0, None, None), b""])
    with pytest.raises(numchic.CorruptError) as caught:
        numchic.decode(data)
    assert (caught.value.field, caught.value.found) == ("latent[0]", "row 2, column 1")


def test_a_synthesis_that_overflows() -> None:
    p, numbers = simple_part(syn_weight=2**30)
    p.syn = [(3, 1, 0, 1), *[(3, 3, 1, 1)] * 20, (3, 1, 0, 0)]
    numbers["syn0"] = [2**30 * (-1) ** i for i in range(p.counts()["syn"][0])]
    numbers["syn1"] = [2**30] * p.counts()["syn"][1]
    p.q["syn"] = 12, 24
    picture = numchic.decode(still(p, numbers, [b"", b""]))
    assert picture.width == 8


def test_motion_that_overflows() -> None:
    draw = Draw(9)
    data = make_stream(draw, "4.2", (8, 8), "yuv420", 8, ((0, "I"), (1, "P")), **TINY)
    stream = read_stream(data)
    residue = np.zeros((4, 8, 8), np.float32)
    motion = np.full((2, 8, 8), np.nan, np.float32)
    writer = FrameWriter(stream)
    with pytest.raises(numchic.CorruptError) as caught:
        predict(stream, stream.frames[1], residue, motion, [], writer.put, Meter())
    assert caught.value.field == "syn.w"


def small_video() -> Stream:
    draw = Draw(12)
    frames = ((0, "I"), (2, "P"), (1, "B"))
    return read_stream(make_stream(draw, "4.2", (96, 128), "yuv420", 8, frames, **TINY))


@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
@pytest.mark.parametrize("threads", [1, 3])
def test_memory_is_bounded(threads: int) -> None:
    stream = small_video()
    pictures: dict[int, numchic.Picture] = {}

    def decode_all() -> None:
        for i, place in enumerate(stream.places):
            references = [pictures[r] for r in place.references]
            frame = decode_frame(stream, i, lambda r=references: r, threads=threads)  # type: ignore[misc]
            pictures[place.display_index] = frame.picture

    decode_all()  # compiles, fills caches
    tracemalloc.start()
    decode_all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < estimate_memory(stream, threads) + 3 * 96 * 128 * 2 + 200_000


@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_and_stopping(threads: int) -> None:
    stream = small_video()
    reports: list[tuple[str, int, int]] = []
    decode_frame(stream, 0, list, threads=threads, progress=lambda *r: reports.append(r))
    for stage in ("latents", "rendering"):
        done = [d for s, d, _ in reports if s == stage]
        assert done == sorted(done)
        assert done[-1] == next(total for s, _, total in reports if s == stage)

    class StopError(Exception):
        pass

    # With several threads their number depends on the time that jobs take.
    n_certain = len(reports) if threads == 1 else 4
    for n_reports in range(1, n_certain, max(1, n_certain // 7)):
        countdown = iter(range(n_reports))

        stops: list[int] = []

        def stop(*_: object, countdown: object = countdown, stops: list[int] = stops) -> None:
            if next(countdown, None) is None:  # type: ignore[call-overload]
                stops.append(1)
                raise StopError

        with pytest.raises(StopError):
            decode_frame(stream, 0, list, threads=threads, progress=stop)
        assert stops == [1]  # not called again


def test_nothing_is_left_for_the_garbage_collector() -> None:
    data = make_stream(Draw(9), "4.1", (8, 8), "yuv420", 8, ((0, "I"),), **TINY)
    gc.collect()
    gc.disable()
    try:
        numchic.decode(data, threads=2)
        left = [o for o in gc.get_objects() if type(o).__module__ == "numchic.v4.coolchic"]
    finally:
        gc.enable()
    assert left == []


def test_info_and_dump() -> None:
    draw = Draw(9)
    data = make_stream(draw, "4.1", (8, 8), "yuv420", 8, ((0, "I"), (1, "P")), **TINY)
    info = numchic.read_info(data)
    assert (info.generation, info.n_frames, info.bitdepth) == ("4.1", 2, 8)
    assert [len(frame.parts) for frame in info.frames] == [1, 2]
    for frame in info.frames:
        for part in frame.parts:
            assert set(part.macs) <= set(part.n_parameters) == set(part.nn_bits)
    total = sum(p.header_bytes + p.nn_bytes + p.latent_bytes for f in info.frames for p in f.parts)
    assert 0 < len(data) - total < 30  # the GOP header and the frames' own fields
