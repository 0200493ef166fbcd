# SPDX-License-Identifier: BSD-3-Clause
"""Latent payloads: there and back, against the plain twin, and broken ones."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import builders
import strategies
from numchic.v5 import latents
from numchic.v5.arm import fix_arm
from numchic.v5.latents import LatentDecoder, decode_latents, encode_latents
from numchic_bitstream import CoolChic, CoolChicHeader, CorruptError, TruncatedError, UsageError
from numchic_bitstream.v5.headers import write_coolchic_header
from numchic_bitstream.v5.parameters import Parameters, read_parameters
from reference import headers as naive_headers
from reference import latents as naive
from reference import parameters as naive_parameters
from reference import rangecoder

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


def lively_parameters(header: CoolChicHeader, seed: int = 0, magnitude: int = 20) -> Parameters:
    """Random parameters with scales around 1, not e**-4: so every model shows in the payload."""
    parameters = builders.parameters(header, seed, magnitude)
    parameters.arm.output.bias[1] += 4 << header.derived.steps.arm_bias
    return parameters


def check_both_ways(header: CoolChicHeader, seed: int, magnitude: int, largest: int) -> None:
    parameters = lively_parameters(header, seed, magnitude)
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
    magnitude=st.sampled_from([0, 3, 20]),
    largest=st.sampled_from([0, 1, 64]),
)
def test_any_architecture_equals_the_naive_twin(
    header: CoolChicHeader, seed: int, magnitude: int, largest: int
) -> None:
    check_both_ways(header, seed, magnitude, largest)


def with_large_arm(header: CoolChicHeader, magnitude: int) -> Parameters:
    parameters = lively_parameters(header)
    source = np.random.default_rng(0)
    for layer in parameters.arm.layers():
        layer.weight[...] = source.integers(-magnitude, magnitude, layer.weight.shape)
    return parameters


@pytest.mark.parametrize(("magnitude", "kernel"), [(1 << 12, "float64"), (1 << 19, "int64")])
def test_large_weights_are_exact(magnitude: int, kernel: str) -> None:
    header = builders.header(img_size=(7, 21))
    parameters = with_large_arm(header, magnitude)
    assert fix_arm(header, parameters.arm).fits_float64(1 << 12, 0) == (kernel == "float64")
    grids = builders.latents(header)
    part = builders.coolchic(header, parameters, grids)
    assert same_grids(decode(part), grids)
    assert part.latent_payload == naive.encode_latents(*naive_view(part), grids)


def test_too_large_weights_are_rejected() -> None:
    part = builders.random_coolchic()
    parameters = with_large_arm(part.header, 1 << 36)
    with pytest.raises(CorruptError, match="accumulators of the ARM"):
        encode_latents(part.header, parameters, builders.latents(part.header))
    with pytest.raises(CorruptError) as caught:
        decode_latents(with_payload(part, part.latent_payload), parameters)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.arm", 75)


@pytest.fixture(scope="module")
def sound() -> CoolChic:
    """Two grids in wavefront order and one in raster order."""
    header = builders.header(img_size=(13, 25), hyperlatent_resolution=None)
    return builders.coolchic(header, lively_parameters(header), builders.latents(header))


def decode_in_order(part: CoolChic) -> list[tuple[tuple[int, int, int], int, int, int]]:
    """Grid, row and column; symbol; model of all symbols up to the first invalid state."""
    decoder = rangecoder.Decoder(rangecoder.words_from_bytes(part.latent_payload))
    symbols = []

    def code_symbol(k: int, y: int, x: int, mu_index: int, scale_index: int) -> int:
        symbol = decoder.decode(mu_index, scale_index)
        symbols.append(((k, y, x), symbol, mu_index, scale_index))
        return symbol

    with contextlib.suppress(ValueError):
        list(naive.code_grids(*naive_view(part), code_symbol))
    return symbols


@pytest.mark.parametrize("n_symbols", [0, 1, 27, 28, 29, 90, 118, 119, 120, 300, 420])
def test_an_invalid_state_is_located(n_symbols: int, sound: CoolChic) -> None:
    # Decoding noise gives symbols that are likely.
    noise = np.random.default_rng(0).bytes(4000)
    symbols = decode_in_order(with_payload(sound, noise))
    encoder = rangecoder.Encoder()
    for i, (_, symbol, mu_index, scale_index) in enumerate(symbols):
        if i >= n_symbols and encoder.pending == 0 and encoder.range % (1 << 24) > 0:
            break
        encoder.encode(symbol, mu_index, scale_index)
    # The range is no multiple of 2**24, so its last point belongs to no symbol.
    end = encoder.lower + encoder.range - 1
    words = [*encoder.words, end >> 32, end % (1 << 32)]
    broken = with_payload(sound, rangecoder.bytes_from_words(words))
    with pytest.raises(CorruptError, match="invalid range coder state") as caught:
        decode(broken)
    assert (caught.value.field, caught.value.offset) == ("latent_payload", 1234)
    k, y, x = symbols[len(decode_in_order(broken))][0]
    assert caught.value.found == f"grid {k}, row {y}, column {x}"


def test_a_payload_that_is_too_short_is_truncated(sound: CoolChic) -> None:
    with pytest.raises(TruncatedError) as caught:
        decode(with_payload(sound, bytes(8)))
    assert (caught.value.field, caught.value.offset) == ("latent_payload", 1234)
    assert caught.value.found == "8 bytes"


@pytest.mark.parametrize("value", [64, -65, 256, -(1 << 40)])
def test_values_out_of_range_are_refused(value: int, sound: CoolChic) -> None:
    parameters = read_parameters(sound.header, sound.nn_payload)
    grids = [grid.astype(np.int64) for grid in builders.latents(sound.header)]
    grids[1][2, 3] = value
    with pytest.raises(UsageError, match="out of range"):
        encode_latents(sound.header, parameters, grids)


def test_real_numbers_are_refused(sound: CoolChic) -> None:
    parameters = read_parameters(sound.header, sound.nn_payload)
    grids: list[Any] = [grid.astype(np.float64) for grid in builders.latents(sound.header)]
    with pytest.raises(UsageError, match="not integers"):
        encode_latents(sound.header, parameters, grids)


def test_shapes_that_do_not_fit_are_refused(sound: CoolChic) -> None:
    parameters = read_parameters(sound.header, sound.nn_payload)
    grids = builders.latents(sound.header)
    for wrong in (grids[1:], [*grids, grids[0]], grids[::-1], [grids[0].T, *grids[1:]], []):
        with pytest.raises(UsageError, match="do not fit"):
            encode_latents(sound.header, parameters, wrong)


def test_any_integer_type_and_layout_encodes_the_same(sound: CoolChic) -> None:
    parameters = read_parameters(sound.header, sound.nn_payload)
    grids = decode(sound)
    for kind in (np.int16, np.int64):
        others = [np.asfortranarray(grid.astype(kind)) for grid in grids]
        assert encode_latents(sound.header, parameters, others) == sound.latent_payload


@pytest.mark.parametrize("batch", [1, 40, 1 << 15])
def test_progress_rises_to_the_number_of_samples(
    batch: int, sound: CoolChic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_BATCH", batch)
    seen: list[int] = []
    parameters = read_parameters(sound.header, sound.nn_payload)
    grids = decode_latents(sound, parameters, progress=seen.append)
    assert same_grids(grids, decode(sound))
    assert seen == sorted(seen)
    assert seen[-1] == sum(grid.size for grid in grids)
    assert len(seen) >= len(grids)


@pytest.mark.parametrize("size", [(9, 3), (13, 25), (30, 11), (1, 30)])
def test_rows_are_final_when_they_are_announced(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = builders.random_coolchic(img_size=size)
    final = decode(part)
    monkeypatch.setattr(latents, "_BATCH", 1)
    decoder = LatentDecoder(part, read_parameters(part.header, part.nn_payload))
    for k, grid in reversed(list(enumerate(decoder.grids))):
        announced = []
        for rows in decoder.decode_grid(k):
            assert np.array_equal(grid[:rows], final[k][:rows])
            announced.append(rows)
        assert announced == sorted(announced)
        assert set(announced) >= {*range(1, grid.shape[0] + 1)}
