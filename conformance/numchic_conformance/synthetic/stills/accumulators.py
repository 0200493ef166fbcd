# SPDX-License-Identifier: BSD-3-Clause
"""Large numbers inside ARM and IFCE: what has to be exact although it nearly overflows."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import Parameters
from numchic_conformance.manifest import Expect
from numchic_conformance.synthetic.drawing import Signal, uniform
from numchic_conformance.synthetic.recipe import Edit, Recipe, header, still

_Q_STEP = header().nn_q_step
_EXPGOL = header().nn_expgol_cnt
_NOT_BY_THE_REFERENCE = " The reference implementation cannot: it wraps at 64 bits, or fails."


def accumulator_recipes() -> Iterator[Recipe]:
    """Recipes about ARM and IFCE beyond float32, float64 and nearly beyond int64."""
    plain = _Q_STEP._replace(arm_weight=0, arm_bias=0, ifce_weight=0, ifce_bias=0)
    yield still(
        "ifce-beyond-float32",
        "IFCE features far above 2^24, whose rounding to float32 changes the model.",
        "ifce", "large parameters",
        edit=_large_features, nn_q_step=plain, n_hidden_layers_arm=0, spatial_context_arm=3,
        nn_expgol_cnt=_EXPGOL._replace(ifce_weight=12),
    )  # fmt: skip
    yield still(
        "ifce-beyond-64-bits-unless-normalised",
        "IFCE whose sums leave 64 bits in the form of section 5.3, but not in that of 5.4."
        + _NOT_BY_THE_REFERENCE,
        "ifce", "large parameters", expect=Expect.EITHER,
        edit=_huge_features, nn_q_step=plain, n_hidden_layers_arm=0, spatial_context_arm=3,
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
        "ARM whose accumulators might need 63 bits, the most that can be decoded."
        + _NOT_BY_THE_REFERENCE,
        "arm", "large parameters", expect=Expect.EITHER,
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
        layer.weight[0] = (1 << 33) + 12345 + k
        layer.weight[1] = layer.weight[0] + 3001
        layer.bias[:] = 3, 70
    output = parameters.arm.output
    output.weight[0, -2:] = 1, -1
    output.weight[1, -2:] = 0
    if parameters.arm.stabiliser is not None:
        parameters.arm.stabiliser.weight[:, -2:] = 0


def _huge_features(parameters: Parameters) -> None:
    """Features u * (2^37 + 2^18) and u * 2^36, of which the second counts -2: u * 2^18 is left."""
    for layer in parameters.ifce.by_grid.values():
        layer.weight[...] = layer.bias[...] = 0
        layer.weight[:, 0] = (1 << 37) + (1 << 18), 1 << 36
    output = parameters.arm.output
    output.weight[0, -2:] = 1, -2
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
