# SPDX-License-Identifier: BSD-3-Clause
"""Latent payloads: there and back, against the plain twin, and broken ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import builders
from naive import context as naive_context
from naive import headers as naive_headers
from naive import latents as naive
from naive import parameters as naive_parameters
from naive import rangecoder
from numchic import latents
from numchic.latents import LatentDecoder, decode_latents, encode_latents
from numchic_bitstream import CoolChic, CoolChicHeader, CorruptError, TruncatedError, UsageError
from numchic_bitstream.grids import grid_list
from numchic_bitstream.headers import MAX_Q_STEP, write_coolchic_header
from numchic_bitstream.parameters import Parameters, read_parameters

Grids = Sequence[NDArray[np.integer]]

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "one of everything": {"img_size": (21, 23)},
    "one sample": {"img_size": (1, 1), "latent_resolution": (0, 0), "hyperlatent_resolution": None},
    "row": {"img_size": (1, 40)},
    "column": {"img_size": (40, 1)},
    "9 columns": {"img_size": (9, 9)},
    "10 columns": {"img_size": (12, 10)},
    "11 columns": {"img_size": (12, 11)},
    "18 and 9 columns": {"img_size": (13, 18)},
    "many per batch": {"img_size": (12, 95), "spatial_context_arm": 2, "latent_resolution": (0, 0)},
    "history wraps": {"img_size": (16, 25), "spatial_context_arm": 1},
    "all neighbours": {"img_size": (7, 17), "spatial_context_arm": 40},
    "no hidden layer": {"img_size": (6, 12), "n_hidden_layers_arm": 0},
    "three hidden layers": {"img_size": (6, 12), "n_hidden_layers_arm": 3},
    "folded output, no hidden layer": {
        "img_size": (6, 12), "spatial_context_arm": 1, "output_feature_ifce": 1,
        "n_hidden_layers_arm": 0,
    },
    "folded output": {"img_size": (6, 12), "spatial_context_arm": 2, "output_feature_ifce": 0},
    "no stabiliser": {"img_size": (6, 12), "linear_stabiliser_arm": 0},
    "no features": {"img_size": (6, 12), "output_feature_ifce": 0},
    "features of all grids": {"img_size": (11, 12), "ifce_resolution": (0, 9)},
    "no grid with features": {"img_size": (11, 12), "ifce_resolution": (8, 9)},
    "no hyperlatents": {"img_size": (11, 12), "hyperlatent_resolution": None},
    "finer hyperlatents": {
        "img_size": (11, 12), "latent_resolution": (2, 2), "hyperlatent_resolution": (0, 3),
    },
    "coarse latents": {
        "img_size": (27, 41), "latent_resolution": (2, 4), "hyperlatent_resolution": None,
    },
}  # fmt: skip


def naive_view(part: CoolChic) -> tuple[naive_headers.Header, naive_parameters.Parameters]:
    """Header and parameters as the plain twin reads them."""
    header = naive_headers.read_coolchic_header(write_coolchic_header(part.header))
    return header, naive_parameters.decode_parameters(header, part.nn_payload)


def same_grids(left: Grids, right: Grids) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def with_payload(part: CoolChic, payload: bytes) -> CoolChic:
    return dataclasses.replace(part, latent_payload=payload, nn_offset=75, latent_offset=1234)


def decode(part: CoolChic) -> list[NDArray[np.int8]]:
    return decode_latents(part, read_parameters(part.header, part.nn_payload))


def check_both_ways(header: CoolChicHeader, seed: int, magnitude: int, largest: int) -> None:
    parameters = builders.parameters(header, seed, magnitude)
    grids = builders.latents(header, seed, largest)
    part = builders.coolchic(header, parameters, grids)
    decoded = decode(part)
    assert all(grid.dtype == np.int8 for grid in decoded)
    assert same_grids(decoded, grids)
    view = naive_view(part)
    assert part.latent_payload == naive.encode_latents(*view, grids)
    assert same_grids(naive.decode_latents(*view, part.latent_payload), grids)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_there_and_back_equal_the_naive_twin(architecture: dict[str, Any]) -> None:
    check_both_ways(builders.header(**architecture), seed=1, magnitude=20, largest=8)


@given(
    header=strategies.coolchic_headers(small=True),
    seed=st.integers(0, 999),
    magnitude=st.sampled_from([0, 3, 20, 300]),
    largest=st.sampled_from([0, 1, 64]),
)
def test_any_architecture_equals_the_naive_twin(
    header: CoolChicHeader, seed: int, magnitude: int, largest: int
) -> None:
    check_both_ways(header, seed, magnitude, largest)


def random_models(header: CoolChicHeader, magnitude: int) -> Parameters:
    """Parameters with an ARM that needs large accumulators, and ordinary ones otherwise."""
    parameters = builders.parameters(header)
    source = np.random.default_rng(0)
    for layer in parameters.arm.layers():
        layer.weight[...] = source.integers(-magnitude, magnitude, layer.weight.shape)
    return parameters


@pytest.mark.parametrize(
    ("magnitude", "use_float"), [(1 << 8, True), (1 << 19, False), (1 << 24, False)]
)
def test_large_weights_switch_to_int64(magnitude: int, use_float: bool) -> None:
    steps = MAX_Q_STEP._replace(arm_weight=4)
    header = builders.header(img_size=(7, 21), nn_q_step=steps)
    parameters = random_models(header, magnitude)
    assert latents.fix_arm(header, parameters.arm).fits_float64(1 << 12, 0) == use_float
    grids = builders.latents(header, largest)
    part = builders.coolchic(header, parameters, grids)
    assert same_grids(decode(part), grids)
    assert part.latent_payload == naive.encode_latents(*naive_view(part), grids)
