# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation steps, exp-Golomb orders, large parameters, accumulators beyond 53 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numchic_bitstream import Descriptor, Parameters
from numchic_bitstream.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_conformance.synthetic.drawing import Signal, uniform
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
    yield from _accumulators()


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


def _large_synthesis(parameters: Parameters) -> None:
    parameters.synthesis.output_transform.bias[:] = [(1 << 24) + i for i in (1, 3, 5)]
    parameters.synthesis.trunk[-1].bias[:] -= (1 << 24) - 1  # 1 less


def _only_biases(parameters: Parameters) -> None:
    networks = (parameters.arm, parameters.ifce, parameters.upsampling, parameters.synthesis)
    for layer in (layer for network in networks for layer in network.layers()):
        layer.weight[...] = 0
    transform = parameters.synthesis.output_transform
    transform.bias[:] = 500, 900, 1300


def _accumulators() -> Iterator[Recipe]:
    plain = _Q_STEP._replace(arm_weight=0, arm_bias=0, ifce_weight=0, ifce_bias=0)
    yield still(
        "ifce-beyond-float32",
        "IFCE features far above 2^24, whose rounding to float32 changes the model.",
        "ifce", "large parameters",
        edit=_large_features, nn_q_step=plain, n_hidden_layers_arm=0, spatial_context_arm=3,
        nn_expgol_cnt=_EXPGOL._replace(ifce_weight=12),
    )  # fmt: skip
    yield still(
        "ifce-dummy-beyond-float32",
        "The constant feature of the first grid above 2^24.",
        "ifce", "large parameters",
        edit=_large_constant, nn_q_step=plain, ifce_resolution=(0, 2), spatial_context_arm=3,
    )  # fmt: skip
    for n_hidden in (1, 2):
        yield still(
            f"arm-beyond-float64-hidden-{n_hidden}",
            "ARM whose accumulators need more than 53 bits and cancel to the last one.",
            "arm", "large parameters",
            edit=_cancelling(n_hidden), nn_q_step=plain, n_hidden_layers_arm=n_hidden,
            spatial_context_arm=3, img_size=(12, 100), nn_expgol_cnt=_EXPGOL._replace(arm_weight=8),
        )  # fmt: skip
    yield still(
        "arm-63-bits",
        "ARM whose accumulators might need 63 bits, the most that must be decoded.",
        "arm", "large parameters",
        edit=_nearly_overflowing, nn_q_step=plain, n_hidden_layers_arm=1, spatial_context_arm=3,
        output_feature_ifce=0, linear_stabiliser_arm=0, latents=uniform(64),
        signal=Signal(latent=64),
    )  # fmt: skip
    yield still(
        "arm-wild",
        "ARM with large weights: most outputs are clipped.",
        "arm", "large parameters",
        edit=_wild, n_hidden_layers_arm=3, nn_q_step=_Q_STEP._replace(arm_weight=8),
        latents=uniform(20), signal=Signal(latent=20),
    )  # fmt: skip


def _large_features(parameters: Parameters) -> None:
    """Two features that are huge, differ little and are subtracted from each other."""
    for k, layer in parameters.ifce.by_grid.items():
        layer.weight[0] = (1 << 37) + 12345 + k
        layer.weight[1] = layer.weight[0] + 3001
        layer.bias[:] = 3, 70
    output = parameters.arm.output
    output.weight[0, -2:] = 1, -1
    output.weight[1, -2:] = 0
    if parameters.arm.stabiliser is not None:
        parameters.arm.stabiliser.weight[:, -2:] = 0


def _large_constant(parameters: Parameters) -> None:
    for layer in parameters.ifce.by_grid.values():
        layer.bias[:] = ((1 << 26) + 3) << 8, ((1 << 26) + 5) << 8
    for row in parameters.arm.hidden[0].weight:
        row[-2:] = 1, -1
    parameters.arm.hidden[0].weight[-2, -2:] = 0, -1
    parameters.arm.hidden[0].weight[-1, -2:] = -1, 0
    if parameters.arm.stabiliser is not None:
        parameters.arm.stabiliser.weight[:, -2:] = 0


def _cancelling(n_hidden: int) -> Edit:
    """Hidden values X and X + 256 with output weights Q and -Q; the bias takes away 256 Q.

    What is left is the stabiliser, a multiple of the unit of mu, so that the slightest rounding in
    between goes below the floor. Q X lies between 2^61 and 2^62, where float64 knows multiples of
    512 only: both products are rounded, and differently. Needs steps of 2^-8 for weights and 2^-16
    for biases.
    """
    q = (1 << 24) + (1 << 12) + 1

    def edit(parameters: Parameters) -> None:
        first = parameters.arm.hidden[0]
        first.weight[:2] = 0
        first.weight[:2, :3] = (1 << 13) + 77
        first.weight[0, 0] -= 1 << 8  # cancels the identity
        first.weight[1, 1] -= 1 << 8
        first.bias[:2] = (1 << 37) + (1 << 36) + 12345
        first.bias[1] += 256
        for later in parameters.arm.hidden[1:]:
            later.weight[:2] = 0
            later.bias[:2] = 0
        output = parameters.arm.output
        output.weight[0] = 0
        output.weight[0, :2] = q, -q
        output.bias[0] = q
        stabiliser = parameters.arm.stabiliser
        assert stabiliser is not None
        stabiliser.weight[0, -2:] = 0  # features would add fractions of the unit
        stabiliser.bias[0] = 0
        assert len(parameters.arm.hidden) == n_hidden

    return edit


def _nearly_overflowing(parameters: Parameters) -> None:
    """Let the bound of section 5.5 be just below 2^63."""
    hidden, output = parameters.arm.hidden[0], parameters.arm.output
    hidden.weight[...] = 0
    hidden.bias[...] = 0
    for o in range(3):
        hidden.weight[o, o] = (1 << 20) - (1 << 8)  # 2^28 with the identity
    output.weight[...] = 0
    output.weight[0, 0] = (1 << 29) - 1  # times 64 * 2^28
    output.bias[...] = 0


def _wild(parameters: Parameters) -> None:
    for i, layer in enumerate(parameters.arm.layers()):
        layer.weight[...] *= 3 + i
