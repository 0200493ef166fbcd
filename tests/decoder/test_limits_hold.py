# SPDX-License-Identifier: BSD-3-Clause
"""What headers say of memory against what decoding takes."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
import numchic
from children import compiled_only
from extremes import UNLIMITED, quiet_stream, random_header
from numchic import memory
from numchic.memory import estimate_memory
from numchic.v5 import ifce, synthesis, upsampling
from numchic_bitstream import (
    CoolChicHeader,
    FrameHeader,
    SynthesisLayer,
    read_stream,
)
from numchic_bitstream.v5.laplace import decay_table
from strategies import coolchic_headers
from vectors import Vector, still_vectors

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TABLES = 10_000_000  # part of every estimate, and made before we measure


def layers(*texts: str) -> tuple[SynthesisLayer, ...]:
    """Trunk layers as "channels-kernel size"."""
    parts = [text.split("-") for text in texts]
    return tuple(SynthesisLayer(int(n), int(k), "linear", "relu") for n, k in parts)


def counted(kernel: Callable[..., Any], scratch: Callable[..., int]) -> Callable[..., Any]:
    """Call a kernel while as much memory is held as it allocates, which tracemalloc cannot see."""

    def call(*arguments: Any) -> Any:
        held = np.empty(scratch(*arguments), np.uint8)
        result = kernel(*arguments)
        del held
        return result

    return call


def x2_scratch(stack: Any, taps: Any, first: int, out_width: int, margin: int, out: Any) -> int:
    rows = min(stack.shape[1], out.shape[1] // 2 + taps.size + 1)
    return int(4 * (3 * stack.shape[2] + taps.size + rows * out_width))


def stack_scratch(latents: Any, table: Any, weight: Any, bias: Any, values: Any) -> int:
    return int(16 * values.shape[1] * weight.shape[1])


def stages_scratch(memory: Any, stages: Any, *_: Any) -> int:
    return int(8 * (stages[:, 3] * stages[:, 4] ** 2).max())


@contextmanager
def kernels_counted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, name, scratch in (
            (upsampling, "x2_rows", x2_scratch),
            (ifce, "evaluate_stack", stack_scratch),
            (synthesis, "run_stages", stages_scratch),
        ):
            patch.setattr(module, name, counted(getattr(module, name), scratch))
        yield


def check_memory(data: bytes, threads: int = 1) -> None:
    stream = read_stream(data, UNLIMITED)
    estimate = estimate_memory(stream, threads)
    decay_table()
    with kernels_counted():
        tracemalloc.start()
        try:
            numchic.decode(data, limits=UNLIMITED, threads=threads)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak + TABLES <= estimate
    assert estimate <= 8 * peak + 2 * memory._FIXED


BARE: dict[str, Any] = {
    "output_feature_ifce": 0,
    "hyperlatent_resolution": None,
    "latent_resolution": (0, 0),
    "linear_stabiliser_synth": 0,
    "syn_layer": layers("3-1"),
}
IFCE: dict[str, Any] = {"output_feature_ifce": 31, "ifce_resolution": (0, 15)}
YUV420 = FrameHeader(frame_data_type="yuv420", bitdepth=16)

EXTREMES: dict[str, dict[str, Any]] = {
    "one grid": {"img_size": (300, 300)},
    "one grid, tall": {"img_size": (16383, 11)},
    "one grid, wide": {"img_size": (11, 16383)},
    "one sample": {"img_size": (1, 1)},
    "two levels": {"img_size": (300, 300), "latent_resolution": (0, 1)},
    "all levels": {"img_size": (200, 300), "latent_resolution": (0, 15)},
    "all levels, tall": {"img_size": (16383, 1), "latent_resolution": (0, 15)},
    "all levels, wide": {"img_size": (1, 16383), "latent_resolution": (0, 15)},
    "31 grids of one sample": {
        "img_size": (1, 1),
        "latent_resolution": (0, 15),
        "hyperlatent_resolution": (1, 15),
        **IFCE,
    },
    "features": {"img_size": (200, 200), "hyperlatent_resolution": (0, 0), **IFCE},
    "features, wide": {"img_size": (1, 9999), "hyperlatent_resolution": (0, 0), **IFCE},
    "features, tall": {"img_size": (9999, 1), "hyperlatent_resolution": (0, 0), **IFCE},
    "large ARM": {
        "img_size": (9, 30),
        "spatial_context_arm": 40,
        "n_hidden_layers_arm": 7,
        **IFCE,
    },
    "resize of one sample": {"img_size": (900, 900), "latent_resolution": (15, 15)},
    "resize by two": {"img_size": (500, 500), "latent_resolution": (1, 3)},
    "nearest": {
        "img_size": (900, 900),
        "latent_resolution": (4, 4),
        "final_upsampling_type": "nearest",
    },
    "noise": {"img_size": (300, 300), "flag_common_randomness": 1},
    "noise on two levels": {
        "img_size": (300, 300),
        "latent_resolution": (0, 1),
        "flag_common_randomness": 1,
    },
    "noise on all levels": {
        "img_size": (150, 150),
        "latent_resolution": (0, 15),
        "flag_common_randomness": 1,
    },
    "noise, wide": {
        "img_size": (2, 9999),
        "latent_resolution": (0, 3),
        "flag_common_randomness": 1,
    },
    "channels": {"img_size": (20, 20), "syn_layer": layers("127-7", "3-7")},
    "channels, wide": {"img_size": (2, 999), "syn_layer": layers("127-7", "3-7")},
    "seven large kernels": {"img_size": (200, 20), "syn_layer": layers(*["3-15"] * 7)},
}


@compiled_only
@pytest.mark.parametrize("changes", EXTREMES.values(), ids=EXTREMES)
def test_memory_of_extreme_headers(changes: dict[str, Any]) -> None:
    for frame in (FrameHeader(), YUV420):
        if frame is YUV420 and min(changes["img_size"]) < 2:
            continue
        data = quiet_stream(builders.header(**(BARE | changes)), frame)
        for threads in (1, 3):
            check_memory(data, threads)


@compiled_only
def test_memory_of_random_extremes() -> None:
    for seed in range(25):
        check_memory(quiet_stream(random_header(seed, 300_000, 10**8)), 1 + seed % 3)


@settings(max_examples=40)
@given(header=coolchic_headers(small=True), threads=st.sampled_from((1, 3)))
def test_memory_of_random_headers(header: CoolChicHeader, threads: int) -> None:
    check_memory(quiet_stream(header), threads)


@compiled_only
@pytest.mark.parametrize("vector", still_vectors())
def test_memory_of_the_vectors(vector: Vector) -> None:
    if vector.expect == "decode":
        check_memory(vector.read(), 3)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.cool")), ids=lambda path: path.stem)
@compiled_only
def test_memory_of_the_examples(path: Path) -> None:
    """They have trailers, which are checked as well."""
    check_memory(path.read_bytes())


def test_memory_of_the_tables() -> None:
    tracemalloc.start()
    try:
        decay_table.__wrapped__()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert TABLES < peak < memory._FIXED


def test_long_payloads_take_memory() -> None:
    stream = read_stream(builders.stream())
    longer = dataclasses.replace(stream, n_bytes=stream.n_bytes + 1000)
    assert estimate_memory(longer) >= estimate_memory(stream) + 1000
