# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a stream before it is decoded."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import Any

import pytest

import builders
import numchic
from numchic.memory import estimate_memory
from numchic_bitstream import SynthesisLayer, read_stream
from vectors import Vector, still_vectors

OFFICIAL = [v for v in still_vectors() if v.id in {"kodim14", "no-vectors"}]


@pytest.mark.parametrize("vector", OFFICIAL)
def test_worked_example(vector: Vector) -> None:
    """Sections 2.5, 4.1 and 16 of the specification."""
    info = numchic.read_info(vector.path)
    (part,) = info.frames[0].parts
    assert (info.width, info.height, info.n_bytes) == (768, 512, 33020)
    assert part.grids[0] == (512, 768)
    assert len(part.grids) == 10
    assert part.n_parameters == {"arm": 924, "ifce": 162, "upsampling": 60, "synthesis": 735}
    assert sum(part.nn_bits.values()) + part.header.nn_n_bit_pad == 8 * part.nn_bytes
    per_pixel = {module: macs / (512 * 768) for module, macs in part.macs.items()}
    assert per_pixel == pytest.approx(
        {"arm": 1177.8, "ifce": 17.2, "upsampling": 64.0, "synthesis": 672}, abs=0.05
    )
    assert info.macs_per_pixel == pytest.approx(1931, abs=0.5)


def test_everything_fits_json() -> None:
    info = numchic.read_info(builders.stream() + b"more")
    assert info.trailing_bytes == 4
    listing = json.loads(json.dumps(info.to_dict()))
    assert listing["frames"][0]["parts"][0]["header"]["img_size"] == [5, 6]


def test_malformed_networks_are_noticed() -> None:
    data = bytearray(builders.stream())
    offset = read_stream(bytes(data)).frames[0].residue.nn_offset
    data[offset : offset + 16] = bytes(16)
    with pytest.raises(numchic.CorruptError):
        numchic.read_info(bytes(data))


WIDE = (SynthesisLayer(32, 7, "linear", "relu"), SynthesisLayer(3, 5, "linear", "none"))


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="too large for plain Python")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"syn_layer": WIDE},
        {"output_feature_ifce": 20},
        {"flag_common_randomness": 1},
        {"latent_resolution": (1, 3)},
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_estimate_is_an_upper_bound(changes: dict[str, Any], threads: int) -> None:
    data = builders.stream(**({"img_size": (300, 500)} | changes))
    estimate = estimate_memory(read_stream(data), threads)
    numchic.decode(data)  # tables and kernels
    tracemalloc.start()
    numchic.decode(data, threads=threads)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= estimate <= 6 * peak + 10_000_000
