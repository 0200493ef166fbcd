# SPDX-License-Identifier: BSD-3-Clause
"""Feature maps against the plain stack of section 6.2, and what happens at the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import builders
import strategies
from numchic.v5.ifce import FeatureMap, feature_map
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import MAX_Q_STEP, CoolChicHeader
from numchic_bitstream.v5.parameters import Layer
from reference import ifce as naive

Samples = Sequence[NDArray[np.integer]]

# Steps 2**-8 and 2**-16: weights and biases are in the units of a feature and of its accumulator.
FINEST_STEPS = MAX_Q_STEP._replace(ifce_weight=0, ifce_bias=0)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "one position": {
        "img_size": (1, 1), "latent_resolution": (0, 3), "hyperlatent_resolution": (1, 2),
    },
    "row": {"img_size": (1, 23), "latent_resolution": (0, 5), "hyperlatent_resolution": None},
    "column": {"img_size": (23, 1), "latent_resolution": (0, 5), "hyperlatent_resolution": (5, 6)},
    "equal sizes": {
        "img_size": (9, 11), "latent_resolution": (0, 4), "hyperlatent_resolution": (0, 4),
    },
    "finer hyperlatents": {
        "img_size": (13, 10), "latent_resolution": (2, 3), "hyperlatent_resolution": (0, 2),
    },
    "coarse latents": {
        "img_size": (17, 21), "latent_resolution": (1, 4), "hyperlatent_resolution": (3, 6),
    },
    "one grid": {"img_size": (7, 9), "latent_resolution": (0, 0), "hyperlatent_resolution": None},
}  # fmt: skip


def naive_map(
    header: CoolChicHeader, layer: Layer | None, k: int, grids: Samples
) -> NDArray[np.object_]:
    """Features of grid k, object[h, w, F]."""
    steps = header.derived.steps
    fixed = layer and naive.fixed_parameters(
        layer.weight.tolist(), layer.bias.tolist(), steps.ifce_weight, steps.ifce_bias
    )
    height, width = grids[k].shape
    n_features = header.output_feature_ifce
    maps = naive.feature_map(k, [g.tolist() for g in grids], height, width, n_features, fixed)
    return np.moveaxis(np.array(maps, object).reshape(n_features, height, width), 0, 2)


def fast_map(
    header: CoolChicHeader, layer: Layer | None, k: int, grids: Samples
) -> tuple[FeatureMap, NDArray[np.object_]]:
    """The map of grid k, and its features as integers, object[h, w, F]."""
    samples = [np.ascontiguousarray(grid, np.int8) for grid in grids]
    decoded = list(zip(header.derived.grids, samples, strict=True))[k + 1 :]
    features = feature_map(header, layer, decoded)
    assert features.values.dtype == np.float32
    y, x = np.ix_(*(np.arange(size) >> features.shift for size in grids[k].shape))
    integers = [int(value) for value in features.values[y, x].flat]
    shape = (*grids[k].shape, header.output_feature_ifce)
    return features, np.array(integers, object).reshape(shape)


def check_all_grids(header: CoolChicHeader, seed: int, magnitude: int) -> None:
    parameters = builders.parameters(header, seed, magnitude)
    grids = builders.latents(header, seed, magnitude=64)
    for k in range(len(grids)):
        layer = parameters.ifce.by_grid.get(k)
        features, values = fast_map(header, layer, k, grids)
        assert np.array_equal(values, naive_map(header, layer, k, grids))
        assert features.maximum == max((int(abs(v)) for v in features.values.flat), default=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize(("n_features", "levels"), [(0, None), (1, (0, 15)), (5, (1, 2))], ids=str)
def test_maps_equal_the_naive_twin(
    n_features: int, levels: tuple[int, int] | None, architecture: dict[str, Any]
) -> None:
    header = builders.header(output_feature_ifce=n_features, ifce_resolution=levels, **architecture)
    check_all_grids(header, seed=n_features, magnitude=300)


@given(
    header=strategies.coolchic_headers(small=True),
    seed=st.integers(0, 999),
    magnitude=st.sampled_from([1, 50, 1 << 20, 1 << 36]),
)
def test_maps_of_any_architecture_equal_the_naive_twin(
    header: CoolChicHeader, seed: int, magnitude: int
) -> None:
    check_all_grids(header, seed, magnitude)


def test_equal_sizes_magnify_the_top_left_quarter() -> None:
    """The worked example of section 6.4."""
    header = builders.header(
        output_feature_ifce=1,
        latent_resolution=(0, 1),
        hyperlatent_resolution=(1, 1),
        nn_q_step=FINEST_STEPS,
    )
    hyperlatent = np.array([[1, 2, 3], [4, 5, 6], [7, 8, -9]])
    grids = [np.zeros((5, 6), np.int64), np.zeros((3, 3), np.int64), hyperlatent]
    _, values = fast_map(header, Layer(np.array([[5]]), np.array([-1])), 1, grids)
    assert values[..., 0].tolist() == [[4, 4, 9], [4, 4, 9], [19, 19, 24]]


def wide_header(n_features: int) -> CoolChicHeader:
    return builders.header(
        output_feature_ifce=n_features,
        ifce_resolution=(0, 15),
        latent_resolution=(0, 1),
        hyperlatent_resolution=None,
        nn_q_step=FINEST_STEPS,
    )


# Around ties of float32, and two values that rounding to float64 first would get wrong.
BEYOND_FLOAT32 = [
    (1 << 24) + 1, (1 << 24) + 3, -(1 << 24) - 1, (1 << 25) - 1, (1 << 30) + 64, (1 << 30) + 65,
    (1 << 54) + (1 << 30) + 1, -(1 << 54) - (1 << 30) - 1,
]  # fmt: skip


@pytest.mark.parametrize("k", [0, 1])
def test_features_pass_through_float32(k: int) -> None:
    """From biases alone; grid 1 is the first one to be decoded and has but a dummy input."""
    header = wide_header(len(BEYOND_FLOAT32))
    # The low 8 bits are dropped, towards minus infinity.
    biases = [(value << 8) + 255 for value in BEYOND_FLOAT32]
    layer = Layer(np.zeros((len(biases), 1), np.int64), np.array(biases))
    grids = builders.latents(header)
    features, values = fast_map(header, layer, k, grids)
    assert np.array_equal(values, naive_map(header, layer, k, grids))
    rounded = [naive.round_to_float32(value) for value in BEYOND_FLOAT32]
    assert values[0, 0].tolist() == rounded
    assert features.maximum == max(map(abs, rounded))


@pytest.mark.parametrize("latent", [63, -64])
def test_products_beyond_float32_equal_the_naive_twin(latent: int) -> None:
    header = wide_header(2)
    weight = (1 << 40) - 12345
    layer = Layer(np.array([[weight], [-weight]]), np.array([7, -7]))
    grids = [np.zeros((5, 6), np.int64), np.full((3, 3), latent)]
    _, values = fast_map(header, layer, 0, grids)
    assert np.array_equal(values, naive_map(header, layer, 0, grids))


def test_without_an_ifce_all_features_are_zero() -> None:
    features = feature_map(builders.header(output_feature_ifce=3), None, [])
    assert features.values.shape == (1, 1, 3)
    assert features.values.max() == features.maximum == 0
    assert features.values[16382 >> features.shift, 16382 >> features.shift, 0] == 0


def one_product(weight: int, bias: int, latent: int) -> FeatureMap:
    """Map of one feature, whose accumulator is ``(weight * latent << 16) + bias``."""
    steps = MAX_Q_STEP._replace(ifce_weight=8, ifce_bias=0)
    header = builders.header(output_feature_ifce=1, nn_q_step=steps)
    decoded = [(Grid(0, False, 1, 1), np.array([[latent]], np.int8))]
    return feature_map(header, Layer(np.array([[weight]]), np.array([bias])), decoded, 75)


def test_only_actual_latents_count_for_the_overflow() -> None:
    largest, room = (1 << 41) - 1, (1 << 22) - 1
    assert one_product(largest, room, -64).maximum == 1 << 55
    assert one_product(1 << 41, 0, -63).maximum == 63 << 49
    for weight, bias in ((largest, room + 1), (-largest, -room - 1), (1 << 41, 0)):
        with pytest.raises(CorruptError, match="64 bits") as caught:
            one_product(weight, bias, -64)
        assert (caught.value.field, caught.value.offset) == ("nn_payload.ifce", 75)
        assert one_product(weight, bias, 0).maximum == abs(bias) >> 8


def test_the_bias_of_the_first_grid_may_overflow() -> None:
    header = builders.header(output_feature_ifce=1, nn_q_step=MAX_Q_STEP)
    weight, bias = np.zeros((1, 1), np.int64), np.array([(1 << 47) - 1])
    assert feature_map(header, Layer(weight, bias), []).maximum == 1 << 55
    with pytest.raises(CorruptError, match="64 bits"):
        feature_map(header, Layer(weight, bias + 1), [])
