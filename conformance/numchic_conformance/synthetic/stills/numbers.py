# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation steps, exp-Golomb orders, large parameters, sizes of the network payload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numchic_bitstream import (
    CoolChicHeader,
    Descriptor,
    Parameters,
    SynthesisLayer,
    write_parameters,
)
from numchic_bitstream.v5.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_conformance.synthetic.drawing import constant
from numchic_conformance.synthetic.recipe import Edit, Recipe, header, still

_Q_STEP = header().nn_q_step
_EXPGOL = header().nn_expgol_cnt

# A model that is a plain sum: without hidden layers, with 8 fractional bits everywhere.
PLAIN_ARM: dict[str, Any] = {
    "n_hidden_layers_arm": 0,
    "linear_stabiliser_arm": 0,
    "nn_q_step": _Q_STEP._replace(arm_weight=0, arm_bias=8),
}

# Steps of 1 leave no grey between black and white.
_COARSE = (("synthesis_weight", 12), ("synthesis_bias", 24))


def number_recipes() -> Iterator[Recipe]:
    """Recipes about the numbers in the network payload."""
    yield from _steps()
    yield from _orders()
    yield from _large()
    yield from _payload_sizes()


def _steps() -> Iterator[Recipe]:
    for name, largest in MAX_Q_STEP._asdict().items():
        for index in sorted({0, largest // 2, largest}):
            yield still(
                f"step-{name.replace('_', '-')}-{index}",
                f"Quantisation step of {name}: index {index} of 0..{largest}.",
                "quantisation step", *(["saturated"] if (name, index) in _COARSE else []),
                nn_q_step=_Q_STEP._replace(**{name: index}),
            )  # fmt: skip
    for what, steps in (
        ("smallest", Descriptor(*[0] * 8)),
        ("largest", MAX_Q_STEP),
    ):
        yield still(
            f"step-all-{what}",
            f"All quantisation steps the {what} there are.",
            "quantisation step", "saturated",
            nn_q_step=steps, nn_expgol_cnt=Descriptor(*[7 if what == "smallest" else 0] * 8),
        )  # fmt: skip
    yield still(
        "step-unused-ifce",
        "Without IFCE its quantisation steps and exp-Golomb orders are arbitrary.",
        "quantisation step",
        output_feature_ifce=0,
        nn_q_step=_Q_STEP._replace(ifce_weight=7, ifce_bias=15),
        nn_expgol_cnt=_EXPGOL._replace(ifce_weight=11, ifce_bias=12),
    )  # fmt: skip


def _orders() -> Iterator[Recipe]:
    for order in range(MAX_EXPGOL_CNT + 1):
        yield still(
            f"order-all-{order}",
            f"Exp-Golomb order {order} for all parameters.",
            "exp-golomb",
            nn_expgol_cnt=Descriptor(*[order] * 8),
        )  # fmt: skip
    for name in Descriptor._fields:
        for order in (0, 6, 12):
            yield still(
                f"order-{name.replace('_', '-')}-{order}",
                f"Exp-Golomb order {order} for {name}.",
                "exp-golomb",
                nn_expgol_cnt=_EXPGOL._replace(**{name: order}),
            )  # fmt: skip


def _large() -> Iterator[Recipe]:
    yield still(
        "parameters-largest-codes",
        "The largest exp-Golomb codes that need 40 bits, of both signs, in unused biases.",
        "exp-golomb", "large parameters",
        edit=_largest_codes, latent_resolution=(0, 3),
    )  # fmt: skip
    yield still(
        "parameters-largest-codes-order-12",
        "Codes of 40 bits with order 12, in unused biases.",
        "exp-golomb", "large parameters",
        edit=_largest_codes_order_12, latent_resolution=(0, 3),
        nn_expgol_cnt=_EXPGOL._replace(upsampling_bias=12),
    )  # fmt: skip
    yield still(
        "parameters-upsampling-beyond-float32",
        "Upsampling weights above 2^24, which are rounded to float32 before they are used.",
        "upsampling", "large parameters",
        edit=_large_upsampling,
        nn_q_step=_Q_STEP._replace(upsampling_weight=0, synthesis_weight=0),
    )  # fmt: skip
    yield still(
        "parameters-synthesis-beyond-float32",
        "Synthesis biases above 2^24 with the finest step, rounded to float32.",
        "synthesis", "large parameters",
        edit=_large_synthesis, nn_q_step=_Q_STEP._replace(synthesis_bias=0),
    )  # fmt: skip
    yield still(
        "parameters-synthesis-weights-beyond-float32",
        "Synthesis weights above 2^24, rounded to float32.",
        "synthesis", "large parameters",
        edit=_large_synthesis_weights, nn_q_step=_Q_STEP._replace(synthesis_weight=0),
    )  # fmt: skip
    yield still(
        "rounding-half-to-even",
        "Three exact values whose products with 255 become ties in float32.",
        "rounding", "flat",
        edit=_ties, nn_q_step=_Q_STEP._replace(synthesis_bias=0),
    )  # fmt: skip
    yield still(
        "parameters-all-zero-but-biases",
        "All weights zero: one colour.",
        "flat",
        edit=_only_biases,
    )  # fmt: skip


def _largest_codes(parameters: Parameters) -> None:
    largest = (1 << 40) - 1
    for value, layer in zip(
        (largest, -largest, largest - 1, 1 << 39, -(1 << 39), 12345678901),
        parameters.upsampling.layers(),
        strict=True,
    ):
        layer.bias[0] = value


def _largest_codes_order_12(parameters: Parameters) -> None:
    largest = (1 << 40) - 1 - (1 << 11)
    for value, layer in zip(
        (largest, -largest, 4096, -4096, 2047, 2048), parameters.upsampling.layers(), strict=True
    ):
        layer.bias[0] = value


def _large_upsampling(parameters: Parameters) -> None:
    """Filters that give about 2^27, and layers of 2^-12, 2^-12 and 2^-8."""
    large = (1 << 24) + 1, -(1 << 24) - 3, (1 << 25) + 3, (1 << 24) + 5
    parameters.upsampling.x2[-1].weight[:] = large
    synthesis = parameters.synthesis
    synthesis.trunk[0].weight[:, 1:] = np.sign(synthesis.trunk[0].weight[:, 1:])
    synthesis.trunk[1].weight[...] = np.sign(synthesis.trunk[1].weight)
    synthesis.output_transform.weight[...] //= 256
    synthesis.output_transform.bias[...] += 1000
    if synthesis.stabiliser is not None:
        synthesis.stabiliser.weight[:, 1:] = 0


def _ties(parameters: Parameters) -> None:
    """Let the signal be the float32 numbers next to 0.3, 0.7, 0.9: times 255 they are ties."""
    _only_biases(parameters)
    parameters.synthesis.trunk[-1].bias[:] = 0
    parameters.synthesis.output_transform.bias[:] = [round(x * 2**24) for x in (0.3, 0.7, 0.9)]


def _large_synthesis(parameters: Parameters) -> None:
    parameters.synthesis.output_transform.bias[:] = [(1 << 24) + i for i in (1, 3, 5)]
    parameters.synthesis.trunk[-1].bias[:] -= (1 << 24) - 1  # 1 less


def _large_synthesis_weights(parameters: Parameters) -> None:
    """A first layer of about 2^12, a second one of 2^-12."""
    synthesis = parameters.synthesis
    first = synthesis.trunk[0].weight[0, :, 0, 0]
    first[:] = [(1 << 24) + 1 + 2 * i for i in range(first.size)]
    synthesis.trunk[1].weight[:, 0] = 1
    synthesis.output_transform.weight[...] //= 16
    synthesis.output_transform.bias[...] += 800


def _only_biases(parameters: Parameters) -> None:
    networks = (parameters.arm, parameters.ifce, parameters.upsampling, parameters.synthesis)
    for layer in (layer for network in networks for layer in network.layers()):
        layer.weight[...] = 0
    transform = parameters.synthesis.output_transform
    transform.bias[:] = 500, 900, 1300


def _payload_sizes() -> Iterator[Recipe]:
    yield still(
        "networks-smallest",
        "The smallest network payload there can be: 22 parameters in four bytes.",
        "payload size", "flat",
        spatial_context_arm=1, output_feature_ifce=0, **PLAIN_ARM | {
            "nn_q_step": _Q_STEP._replace(synthesis_weight=12, synthesis_bias=23),
            "nn_expgol_cnt": Descriptor(*[0] * 8),
        },
        latent_resolution=(0, 0), linear_stabiliser_synth=0,
        syn_layer=(SynthesisLayer(3, 1, "linear", "none"),),
        edit=_two_biases, latents=constant(0),
    )  # fmt: skip
    largest: dict[str, Any] = {
        "spatial_context_arm": 40, "output_feature_ifce": 25, "n_hidden_layers_arm": 7,
        "img_size": (6, 12), "latent_resolution": (0, 7),
        "nn_q_step": _Q_STEP._replace(arm_weight=5),
        "nn_expgol_cnt": _EXPGOL._replace(arm_weight=3),
        "syn_layer": (
            SynthesisLayer(49, 1, "linear", "relu"), SynthesisLayer(3, 1, "linear", "none"),
        ),
    }  # fmt: skip
    yield still(
        "networks-largest",
        "The largest network payload that the header can express: 16383 bytes.",
        "payload size",
        edit=_fill_payload(header(**largest)), **largest,
    )  # fmt: skip


def _two_biases(parameters: Parameters) -> None:
    for network in (parameters.arm, parameters.synthesis):
        for layer in network.layers():
            layer.weight[...] = layer.bias[...] = 0
    transform = parameters.synthesis.output_transform
    transform.weight[:, :, 0, 0] = np.eye(3, dtype=np.int64)
    transform.bias[:2] = 1


def _fill_payload(architecture: CoolChicHeader) -> Edit:
    """Make unused biases so large that the payload has 16383 bytes."""

    def edit(parameters: Parameters) -> None:
        layers = parameters.upsampling.layers()
        for layer in layers:
            layer.bias[0] = 0
        payload, n_bit_pad = write_parameters(architecture, parameters)
        missing = 8 * (16383 - len(payload)) + n_bit_pad
        for layer in layers:
            n_zeros = min(missing // 2, 39)  # a code with as many leading zeros has twice more bits
            layer.bias[0] = (1 << n_zeros) - 1
            missing -= 2 * n_zeros

    return edit
