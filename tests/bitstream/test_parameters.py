# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import header, parameters
from numchic_bitstream import (
    CoolChicHeader,
    CorruptError,
    Descriptor,
    Layer,
    Parameters,
    SynthesisLayer,
    TruncatedError,
    UsageError,
    read_parameters,
    write_parameters,
)
from numchic_bitstream.v5.headers import write_coolchic_header
from numchic_bitstream.v5.parameters import (
    dequantise,
    flat_parameters,
    n_parameters,
    weight_shapes,
    zero_parameters,
)
from reference import headers as naive_headers
from reference import parameters as naive
from strategies import coolchic_headers, parameter_integers

WORKED = header(
    ups_k_size=8,
    ups_preconcat_k_size=7,
    output_feature_ifce=6,
    spatial_context_arm=14,
    n_hidden_layers_arm=2,
    img_size=(512, 768),
    latent_resolution=(0, 6),
    ifce_resolution=(0, 2),
    hyperlatent_resolution=(4, 6),
    nn_q_step=Descriptor(1, 10, 2, 11, 4, 0, 2, 13),
    syn_layer=(
        SynthesisLayer(48, 1, "linear", "relu"),
        SynthesisLayer(3, 1, "linear", "none"),
        SynthesisLayer(3, 3, "residual", "relu"),
        SynthesisLayer(3, 3, "residual", "none"),
    ),
)


def flat(header: CoolChicHeader, values: Parameters) -> dict[str, list[int]]:
    """Parameters in the form of the naive reader."""
    return {
        f"{module}.{kind}": array.tolist()
        for module, kind, array in flat_parameters(header, values)
        if module != "ifce" or header.output_feature_ifce
    }


def with_payload(header: CoolChicHeader, values: Parameters) -> tuple[CoolChicHeader, bytes]:
    payload, n_bit_pad = write_parameters(header, values)
    return dataclasses.replace(header, nn_n_bit_pad=n_bit_pad), payload


# --- Shapes, section 4.1 -----------------------------------------------------------------------


def test_worked_shapes() -> None:
    assert weight_shapes(WORKED) == {
        "arm": ((20, 20), (20, 20), (2, 20), (2, 20)),
        "ifce": ((6, 9), (6, 8), (6, 7)),
        "upsampling": ((4,),) * 12,
        "synthesis": (
            (3, 3, 1, 1),
            (3, 7, 1, 1),
            (48, 7, 1, 1),
            (3, 48, 1, 1),
            (3, 3, 3, 3),
            (3, 3, 3, 3),
        ),
    }


def test_worked_counts() -> None:
    counts = {name: len(values) for name, values in flat(WORKED, zero_parameters(WORKED)).items()}
    assert counts == {
        "arm.weight": 880,
        "arm.bias": 44,
        "ifce.weight": 144,
        "ifce.bias": 18,
        "upsampling.weight": 48,
        "upsampling.bias": 12,
        "synthesis.weight": 672,
        "synthesis.bias": 63,
    }
    assert sum(n_parameters(WORKED).values()) == 1881


@given(coolchic_headers())
def test_shapes_equal_the_naive_ones(header: CoolChicHeader) -> None:
    plain = naive_headers.read_coolchic_header(write_coolchic_header(header))
    expected = dict(naive_headers.parameter_shapes(plain))
    for module, shapes in weight_shapes(header).items():
        assert list(shapes) == expected.get(f"{module}.weight", [])


# --- Round trips -------------------------------------------------------------------------------


@st.composite
def headers_and_parameters(draw: st.DrawFn) -> tuple[CoolChicHeader, Parameters]:
    header = draw(coolchic_headers(small=True))
    values = parameters(header, draw(st.integers(0, 1000)), draw(st.sampled_from((0, 5, 3000))))
    for layer in (*values.arm.layers(), *values.synthesis.layers()):
        layer.bias[0] = draw(parameter_integers())
    return header, values


@given(headers_and_parameters())
def test_round_trip(case: tuple[CoolChicHeader, Parameters]) -> None:
    header, payload = with_payload(*case)
    found = read_parameters(header, payload)
    assert flat(header, found) == flat(*case)
    assert write_parameters(header, found) == (payload, header.nn_n_bit_pad)


@given(headers_and_parameters())
def test_payload_equals_the_naive_one(case: tuple[CoolChicHeader, Parameters]) -> None:
    header, payload = with_payload(*case)
    plain = naive_headers.read_coolchic_header(write_coolchic_header(header))
    assert naive.encode_parameters(plain, flat(*case)) == (payload, header.nn_n_bit_pad)
    assert naive.decode_parameters(plain, payload) == flat(*case)


def numbered(header: CoolChicHeader) -> Parameters:
    """1, 2, 3, ... inside every block of section 4.1."""
    values = zero_parameters(header)
    for module in (values.arm, values.ifce, values.upsampling, values.synthesis):
        for i in range(2):
            arrays = [layer[i] for layer in module.layers()]
            first = 1
            for array in arrays:
                array[...] = np.arange(first, first + array.size).reshape(array.shape)
                first += array.size
    return values


def test_layers_find_their_place() -> None:
    """The output transform is sent first; IFCE layers belong to grids 0 to 2 here."""
    found = read_parameters(*with_payload(header(), numbered(header())))
    assert found.synthesis.output_transform.weight[0, 0, 0, 0] == 1
    assert found.synthesis.stabiliser is not None
    assert found.synthesis.stabiliser.weight[0, 0, 0, 0] == 10
    assert found.synthesis.trunk[0].weight[0, 0, 0, 0] == 10 + 9
    assert found.arm.hidden[0].weight[1, 0] == 6
    assert found.arm.output.weight[0, 0] == 26
    assert found.arm.stabiliser is not None
    assert found.arm.stabiliser.bias.tolist() == [8, 9]
    assert {k: layer.weight.shape for k, layer in found.ifce.by_grid.items()} == {
        0: (2, 4),
        1: (2, 3),
        2: (2, 2),
    }
    assert [layer.weight.tolist() for layer in found.upsampling.x2] == [[1, 2], [3, 4]]
    assert [layer.weight.tolist() for layer in found.upsampling.preconcat] == [[5, 6], [7, 8]]


def test_optional_layers_may_be_absent() -> None:
    bare = header(
        linear_stabiliser_arm=0,
        linear_stabiliser_synth=0,
        output_feature_ifce=0,
        n_hidden_layers_arm=0,
        latent_resolution=(0, 0),
        hyperlatent_resolution=None,
    )
    complete, payload = with_payload(bare, parameters(bare))
    found = read_parameters(complete, payload)
    assert found.arm.hidden == found.upsampling.layers() == found.ifce.layers() == ()
    assert found.arm.stabiliser is found.synthesis.stabiliser is None


# --- Payloads that do not fit ------------------------------------------------------------------

GOOD_HEADER, GOOD_PAYLOAD = with_payload(header(), parameters(header(), seed=1))


def rejected(header: CoolChicHeader, payload: bytes) -> CorruptError:
    with pytest.raises(CorruptError) as caught:
        read_parameters(header, payload, offset=100)
    return caught.value


def test_leftover_bits() -> None:
    error = rejected(GOOD_HEADER, GOOD_PAYLOAD + b"\0")
    assert error.field == "nn_payload"
    assert (error.found, error.allowed) == (
        8 * len(GOOD_PAYLOAD) + 8,
        f"{8 * len(GOOD_PAYLOAD)} bits",
    )


def test_a_single_leftover_bit() -> None:
    """The first parameter loses its last bit of padding, so everything moves by one."""
    zeros = zero_parameters(header())
    complete, payload = with_payload(header(), zeros)
    assert complete.nn_n_bit_pad > 0
    longer = int.from_bytes(payload, "big") << 1
    moved = dataclasses.replace(complete, nn_n_bit_pad=complete.nn_n_bit_pad - 1)
    assert rejected(moved, longer.to_bytes(len(payload), "big")).field == "nn_payload"


def test_padding_bits_must_be_zero() -> None:
    assert GOOD_HEADER.nn_n_bit_pad > 0
    error = rejected(GOOD_HEADER, bytes([GOOD_PAYLOAD[0] | 0x80]) + GOOD_PAYLOAD[1:])
    assert (error.field, error.offset) == ("nn_payload", 100)


def test_more_parameters_than_bits() -> None:
    huge = header(spatial_context_arm=40, output_feature_ifce=31, n_hidden_layers_arm=7)
    error = rejected(huge, b"\xff" * 1000)
    assert error.found == sum(n_parameters(huge).values())
    assert error.allowed == "<= 8000"


def test_every_truncation_is_noticed() -> None:
    for n in range(len(GOOD_PAYLOAD)):
        with pytest.raises((TruncatedError, CorruptError)) as caught:
            read_parameters(GOOD_HEADER, GOOD_PAYLOAD[:n], offset=100)
        assert caught.value.field is not None
        assert caught.value.offset is not None
        assert 100 <= caught.value.offset <= 100 + n


def test_the_block_that_ends_too_early_is_named() -> None:
    with pytest.raises(TruncatedError) as caught:
        read_parameters(GOOD_HEADER, GOOD_PAYLOAD[:-1])
    assert caught.value.field == "nn_payload.synthesis_bias"


def test_a_code_that_never_ends() -> None:
    error = rejected(dataclasses.replace(GOOD_HEADER, nn_n_bit_pad=0), bytes(len(GOOD_PAYLOAD)))
    assert (error.field, error.offset) == ("nn_payload.arm_weight", 100)


# --- Parameters that do not fit ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("arm", {"spatial_context_arm": 4}),
        ("arm", {"n_hidden_layers_arm": 2}),
        ("arm", {"linear_stabiliser_arm": 0}),
        ("ifce", {"ifce_resolution": (0, 2)}),
        ("upsampling", {"ups_k_size": 6}),
        ("upsampling", {"ups_preconcat_k_size": 5}),
        ("synthesis", {"linear_stabiliser_synth": 0}),
        ("synthesis", {"syn_layer": (SynthesisLayer(3, 1, "linear", "none"),)}),
    ],
)
def test_weights_of_another_header(module: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        write_parameters(header(**changes), parameters(header()))
    assert caught.value.field == module


def test_biases_of_another_header() -> None:
    values = parameters(header())
    output = Layer(values.arm.output.weight, np.zeros(3, np.int64))
    wrong = dataclasses.replace(values, arm=dataclasses.replace(values.arm, output=output))
    with pytest.raises(UsageError):
        write_parameters(header(), wrong)


# --- Real values, sections 2.4 and 4.3 ---------------------------------------------------------


def test_worked_quantisation_steps() -> None:
    assert WORKED.derived.steps == (7, 6, 6, 5, 8, 0, 10, 11)


def test_dequantisation() -> None:
    layer = Layer(np.array([[1, -3], [0, 1 << 20]]), np.array([5]))
    weight, bias = dequantise(layer, 12, 24)
    assert weight.dtype == bias.dtype == np.float32
    assert weight.tolist() == [[2**-12, -3 * 2**-12], [0, 2**8]]
    assert bias.tolist() == [5 * 2**-24]


def test_large_integers_are_rounded_to_float32_first() -> None:
    values = np.array([(1 << 24) + 1, (1 << 24) + 3, -(1 << 40) + 1])
    weight, _ = dequantise(Layer(values, values), 0, 0)
    assert weight.tolist() == [1 << 24, (1 << 24) + 4, -(1 << 40)]


@given(coolchic_headers(small=True))
def test_the_zero_output_transform_is_the_identity(header: CoolChicHeader) -> None:
    exponents = header.derived.steps
    transform = zero_parameters(header).synthesis.output_transform
    weight, bias = dequantise(transform, exponents.synthesis_weight, exponents.synthesis_bias)
    assert np.array_equal(weight[:, :, 0, 0], np.eye(3))
    assert not bias.any()
