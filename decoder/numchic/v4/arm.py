# SPDX-License-Identifier: BSD-3-Clause
"""Auto-regressive module of 4.x: context -> mean and scale (coolchic-4.2, section 9.4). Exact.

All sums are those of signed 32-bit integers that wrap around, as in the reference; valid streams do
not overflow them. The identity of the hidden layers and the factor 256 of the inputs are folded
into the weights, which changes nothing in such arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import I32, I32_2D, I32_4D, I64_1D
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.parameters import ArmLayer

# Context positions by context size: for row 0, -1, -2, ... the first and the last dx.
_ROWS: dict[int, tuple[tuple[int, int], ...]] = {
    8: ((-3, -1), (-1, 1), (0, 0), (0, 0)),
    12: ((-3, -1), (-2, 2), (-1, 1), (0, 0)),
    16: ((-3, -1), (-3, 2), (-2, 2), (0, 1)),
    24: ((-4, -1), (-3, 3), (-3, 3), (-2, 2), (0, 0)),
    32: ((-4, -1), (-4, 4), (-3, 4), (-3, 3), (-2, 1)),
}
REACH = 4
"""Rows above, and columns on each side, that a context looks at."""

_LANES = 16
"""Widths are padded to multiples of this: outputs computed at a time, and inputs of one pass."""


class Arm(NamedTuple):
    """Weights in the form of the kernels, padded with zeros to a width P.

    ``weight`` int32[L, P / 16, P / 16, 256], by groups of 16 outputs and of 16 inputs, in them by
    input and output; ``bias`` int32[L, P]; ``output_weight`` int32[2, P]; ``output_bias`` int64[2].
    """

    weight: I32_4D
    bias: I32_2D
    output_weight: I32_2D
    output_bias: I64_1D


def context_positions(context_size: int) -> tuple[tuple[int, int], ...]:
    """Neighbours (dy, dx) of the context in the order of the network's inputs."""
    rows = _ROWS[context_size]
    return tuple(
        (-above, dx)
        for above in reversed(range(len(rows)))
        for dx in range(rows[above][0], rows[above][1] + 1)
    )


def prepare_arm(layers: tuple[ArmLayer, ...]) -> Arm:
    """Bring the layers of one decoder into the form of the kernels."""
    *hidden, output = layers
    width = output.weight.shape[1]
    missing = -width % _LANES
    identity = np.eye(width, dtype=np.int64)
    weight = np.zeros((len(hidden), width + missing, width + missing), np.int64)
    bias = np.zeros((len(hidden), width + missing), np.int64)
    for i, layer in enumerate(hidden):
        weight[i, :width, :width] = (layer.weight + 256 * identity).T
        bias[i, :width] = layer.bias
    output_weight = np.pad(output.weight, ((0, 0), (0, missing)))
    if hidden:
        weight[0] *= 256
    else:
        output_weight = output_weight * 256
    n_groups = (width + missing) // _LANES
    groups = weight.reshape(-1, n_groups, _LANES, n_groups, _LANES).transpose(0, 3, 1, 2, 4)
    return Arm(
        groups.reshape(-1, n_groups, n_groups, _LANES * _LANES).astype(np.int32),
        bias.astype(np.int32),
        output_weight.astype(np.int32),
        output.bias,
    )


@kernel()
def evaluate(arm: Arm, x: I32, y: I32, partial: I32) -> tuple[int, int]:
    """Mean and scale, both with 8 fractional bits.

    Parameters
    ----------
    arm : Arm
    x, y, partial : int32[P]
        The context, padded with zeros, and scratch; all three are overwritten.
    """
    n_groups = arm.weight.shape[1]
    for layer in range(arm.weight.shape[0]):
        for group in range(n_groups):
            weight = arm.weight[layer, group]
            first = group * _LANES
            total = arm.bias[layer, first : first + _LANES]
            for i in range(n_groups - 1):
                _add_inputs(weight[i], x[i * _LANES :], total, partial[i * _LANES :])
                total = partial[i * _LANES :]
            _finish_layer(weight[n_groups - 1], x[(n_groups - 1) * _LANES :], total, y[first:])
        x, y = y, x
    mu = _output(arm.output_weight[0], x, arm.output_bias[0])
    return mu, _output(arm.output_weight[1], x, arm.output_bias[1])


# One expression per output, and loops too long to be unrolled: that is what Numba vectorises.


@kernel(inline=True)
def _sum_of_16(w: I32, x: I32, start: np.int32, k: int) -> np.int32:
    """Output k of sixteen inputs."""
    low = (w[k] * x[0] + w[k + 16] * x[1] + w[k + 32] * x[2] + w[k + 48] * x[3]) + (
        w[k + 64] * x[4] + w[k + 80] * x[5] + w[k + 96] * x[6] + w[k + 112] * x[7]
    )
    high = (w[k + 128] * x[8] + w[k + 144] * x[9] + w[k + 160] * x[10] + w[k + 176] * x[11]) + (
        w[k + 192] * x[12] + w[k + 208] * x[13] + w[k + 224] * x[14] + w[k + 240] * x[15]
    )
    return np.int32(start + low + high)


@kernel()
def _add_inputs(w: I32, x: I32, start: I32, y: I32) -> None:
    """Y = start + x @ w for sixteen inputs and outputs."""
    for k in range(16):
        y[k] = _sum_of_16(w, x, start[k], k)


@kernel()
def _finish_layer(w: I32, x: I32, start: I32, y: I32) -> None:
    """Y = rounded ReLU of start + x @ w for sixteen inputs and outputs."""
    for k in range(16):
        # (a + 128) >> 8 without overflow
        y[k] = ((max(_sum_of_16(w, x, start[k], k), np.int32(0)) >> 7) + 1) >> 1


@kernel(inline=True)
def _output(weight: I32, x: I32, bias: int) -> int:
    """One of the two outputs, rounded half away from zero."""
    total = np.int32(bias)
    for i in range(x.size):
        total = np.int32(total + weight[i] * x[i])
    return round_to_integer(int(total))


@kernel(inline=True)
def round_to_integer(value: int) -> int:
    """Drop 8 fractional bits; half is rounded away from zero."""
    if value >= 0:
        return (value + 128) >> 8
    return -((128 - value) >> 8)
