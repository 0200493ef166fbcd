# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis: bit for bit against the plain twin, whole and in bands of any height."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
import strategies
from numchic.schedule import Meter
from numchic.v5 import coolchic, latents
from numchic.v5.synthesis import Synthesiser, synthesise
from numchic_bitstream import CoolChic, CoolChicHeader, SynthesisLayer, UsageError, read_parameters
from numchic_bitstream.arrays import F32
from numchic_bitstream.v5.headers import write_coolchic_header
from numchic_bitstream.v5.parameters import Layer, SynthesisParameters
from reference import decoder as naive_decoder
from reference import headers as naive_headers
from reference import synthesis as naive

K_SIZES = range(1, 16, 2)


def layers(*texts: str) -> tuple[SynthesisLayer, ...]:
    """Trunk layers from their usual notation, such as 3-1-linear-relu."""
    parts = [text.split("-") for text in texts]
    return tuple(SynthesisLayer(int(n), int(k), *rest) for n, k, *rest in parts)  # type: ignore[arg-type]


TRUNKS = {
    "one pixel": layers("3-1-linear-none"),
    "usual": layers("6-1-linear-relu", "3-1-linear-none", "3-3-residual-relu", "3-3-residual-none"),
    "residual first": layers("3-3-residual-relu", "3-1-residual-relu"),
    "only relu": layers("2-1-linear-relu", "1-3-linear-relu", "3-5-linear-relu"),
    "growing": layers("1-1-linear-none", "1-7-residual-none", "5-3-linear-relu", "3-9-linear-none"),
    "largest": layers("3-15-residual-relu", "3-15-residual-none"),
    "seven": layers(*["3-3-residual-relu"] * 6, "3-1-linear-none"),
}


def random_parameters(header: CoolChicHeader, seed: int = 0) -> SynthesisParameters:
    """Weights have so many digits that the order of summation shows."""
    parameters = builders.parameters(header, seed, 3000).synthesis
    weight = parameters.output_transform.weight
    weight[...] = np.random.default_rng(seed).integers(-3000, 3000, weight.shape)
    return parameters


def random_input(header: CoolChicHeader, size: tuple[int, int], seed: int = 0) -> F32:
    shape = (header.derived.synthesis_inputs, *size)
    return np.random.default_rng(seed).normal(0, 4, shape).astype(np.float32)


def by_naive_twin(header: CoolChicHeader, parameters: SynthesisParameters, dense: F32) -> F32:
    steps = header.derived.steps

    def real(layer: Layer) -> tuple[F32, F32]:
        weight_step = np.float32(2.0**-steps.synthesis_weight)
        bias_step = np.float32(2.0**-steps.synthesis_bias)
        return (
            layer.weight.astype(np.float32) * weight_step,
            layer.bias.astype(np.float32) * bias_step,
        )

    trunk = [
        (*real(layer), form.mode == "residual", form.non_linearity == "relu")
        for layer, form in zip(parameters.trunk, header.syn_layer, strict=True)
    ]
    stabiliser = None if parameters.stabiliser is None else real(parameters.stabiliser)
    transform = real(parameters.output_transform)
    return naive.synthesise(dense, header.derived.n_latents, trunk, stabiliser, transform)


def check(header: CoolChicHeader, size: tuple[int, int], seed: int = 0) -> None:
    parameters, dense = random_parameters(header, seed), random_input(header, size, seed)
    signal = synthesise(header, parameters, dense)
    assert signal.dtype == np.float32
    assert np.array_equal(signal, by_naive_twin(header, parameters, dense))


def test_channels_of_another_header() -> None:
    coolchic = builders.random_coolchic()
    parameters = read_parameters(coolchic.header, coolchic.nn_payload).synthesis
    with pytest.raises(UsageError, match="channels"):
        synthesise(coolchic.header, parameters, np.zeros((1, 5, 6), np.float32))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (5, 6)], ids=str)
@pytest.mark.parametrize("trunk", TRUNKS.values(), ids=TRUNKS)
@pytest.mark.parametrize("stabiliser", [0, 1])
def test_equals_the_naive_twin(
    stabiliser: int, trunk: tuple[SynthesisLayer, ...], size: tuple[int, int]
) -> None:
    check(builders.header(syn_layer=trunk, linear_stabiliser_synth=stabiliser), size)


@pytest.mark.parametrize("k_size", K_SIZES)
@pytest.mark.parametrize("residual", ["linear", "residual"])
def test_every_kernel_size(residual: str, k_size: int) -> None:
    header = builders.header(syn_layer=layers(f"3-{k_size}-{residual}-none"))
    for size in ((3, 2), (k_size, k_size // 2 + 1)):
        check(header, size)


@pytest.mark.parametrize("n_channels", range(1, 10))
def test_every_remainder_of_taps(n_channels: int) -> None:
    trunk = layers(f"{n_channels}-1-linear-relu", "3-3-linear-none")
    check(builders.header(syn_layer=trunk, latent_resolution=(0, n_channels - 1)), (3, 5))


@pytest.mark.parametrize("stabiliser", [0, 1])
def test_the_stabiliser_does_not_see_the_noise(stabiliser: int) -> None:
    header = builders.header(flag_common_randomness=1, linear_stabiliser_synth=stabiliser)
    assert header.derived.synthesis_inputs == 2 * header.derived.n_latents
    check(header, (4, 7))


@given(header=strategies.coolchic_headers(small=True), size=st.tuples(*[st.integers(1, 9)] * 2))
def test_any_architecture_equals_the_naive_twin(
    header: CoolChicHeader, size: tuple[int, int]
) -> None:
    check(header, size)


def test_parameters_beyond_float32_are_rounded() -> None:
    header = builders.header(syn_layer=TRUNKS["one pixel"])
    parameters, dense = random_parameters(header), random_input(header, (2, 3))
    for layer in parameters.layers():
        layer.weight[...] = layer.weight * (1 << 20) + 12345
        layer.bias[...] = layer.bias * (1 << 20) + 12345
    signal = synthesise(header, parameters, dense)
    assert np.array_equal(signal, by_naive_twin(header, parameters, dense))


@settings(max_examples=40)
@given(
    trunk=st.sampled_from(list(TRUNKS.values())),
    stabiliser=st.integers(0, 1),
    noise=st.integers(0, 1),
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    width=st.integers(1, 5),
)
def test_bands_of_any_height_make_the_whole(
    trunk: tuple[SynthesisLayer, ...], stabiliser: int, noise: int, heights: list[int], width: int
) -> None:
    header = builders.header(
        syn_layer=trunk, linear_stabiliser_synth=stabiliser, flag_common_randomness=noise
    )
    parameters, dense = random_parameters(header), random_input(header, (sum(heights), width))
    whole = synthesise(header, parameters, dense)
    synthesiser = Synthesiser(header, parameters)
    first = 0
    for n_rows in heights:
        band = synthesiser.band(sum(heights), width, first, n_rows)
        band.memory[:] = np.nan
        n_inputs = band.input.shape[1]
        assert band.input_first == max(0, first - synthesiser.reach)
        assert band.input_first + n_inputs == min(sum(heights), first + n_rows + synthesiser.reach)
        rows = slice(band.input_first, band.input_first + n_inputs)
        band.input[:, :, band.margin : band.margin + width] = dense[:, rows]
        synthesiser.run(band)
        assert np.array_equal(band.output, whole[:, first : first + n_rows])
        first += n_rows


CHAINS: dict[str, dict[str, Any]] = {
    "usual": {"img_size": (23, 10), "ups_preconcat_k_size": 7, "syn_layer": TRUNKS["usual"]},
    "noise": {"img_size": (9, 5), "flag_common_randomness": 1},
    "resized": {"img_size": (21, 11), "latent_resolution": (1, 2), "syn_layer": TRUNKS["growing"]},
    "finer hyperlatents": {
        "img_size": (21, 11), "latent_resolution": (2, 3), "hyperlatent_resolution": (0, 1),
        "final_upsampling_type": "nearest",
    },
    "one latent": {
        "img_size": (13, 7), "latent_resolution": (0, 0), "hyperlatent_resolution": (0, 0),
    },
}  # fmt: skip


def signal_in_bands(part: CoolChic, threads: int) -> F32:
    signal = np.full((3, *part.header.img_size), np.nan, np.float32)

    def sink(first: int, rows: F32) -> None:
        assert first % 2 == 0
        signal[:, first : first + rows.shape[1]] = rows

    coolchic.decode_signal(part, sink, Meter(), threads=threads)
    return signal


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_signal_does_not_depend_on_bands_and_threads(
    chain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = builders.random_coolchic(magnitude=50, **chain)
    stages = naive_decoder.decode_part(
        {
            "header": naive_headers.read_coolchic_header(write_coolchic_header(part.header)),
            "nn_payload": part.nn_payload,
            "latent_payload": part.latent_payload,
        }
    )
    # Latents in small steps, so that bands are made as soon as there are enough rows.
    monkeypatch.setattr(latents, "_BATCH", 1)
    for band_rows in (2, 6, 64):
        monkeypatch.setattr(coolchic, "BAND_ROWS", band_rows)
        for threads in (1, 3):
            assert np.array_equal(signal_in_bands(part, threads), stages["resized_output"])
