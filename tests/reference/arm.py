# SPDX-License-Identifier: BSD-3-Clause
"""Integer ARM: specification, sections 5.1 and 5.2, and the table indices of section 8.1.

Python integers, with the shifts of the original form (not the normalised form of section 5.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Matrix = list[list[int]]
Vector = list[int]


class Layer(NamedTuple):
    weight: Matrix  # [output][input]
    bias: Vector


class FixedArm(NamedTuple):
    hidden: list[Layer]
    output: Layer
    stabiliser: Layer


def _fixed_weights(qw: Matrix, sw: int, first: bool, n_spatial: int, fold: bool) -> Matrix:
    n_outputs, n_inputs = len(qw), len(qw[0])
    fixed = []
    for o in range(n_outputs):
        row = []
        for i in range(n_inputs):
            ifce_column = first and i >= n_spatial
            value = int(qw[o][i]) << ((8 if ifce_column else 16) - sw)
            if fold and n_outputs == n_inputs and o == i:
                value += 2**8 if ifce_column else 2**16
            row.append(value)
        fixed.append(row)
    return fixed


def fixed_parameters(
    weights: Sequence[Matrix],
    biases: Sequence[Vector],
    n_spatial: int,
    has_stabiliser: bool,
    sw: int,
    sb: int,
) -> FixedArm:
    """Section 5.1.

    weights and biases are the integers of the stream: the hidden layers, the output layer, and
    the stabiliser if there is one.  The steps are 2^-sw and 2^-sb.
    """
    n_trunk = len(weights) - 1 if has_stabiliser else len(weights)
    trunk = []
    for j in range(n_trunk):
        weight = _fixed_weights(weights[j], sw, first=j == 0, n_spatial=n_spatial, fold=True)
        bias = [int(q) << (32 - sb) for q in biases[j]]
        trunk.append(Layer(weight, bias))
    trunk[-1].bias[1] -= 4 << 32
    if has_stabiliser:
        weight = _fixed_weights(weights[-1], sw, first=True, n_spatial=n_spatial, fold=False)
        stabiliser = Layer(weight, [int(q) << (32 - sb) for q in biases[-1]])
    else:
        n_inputs = len(weights[0][0])
        stabiliser = Layer([[0] * n_inputs, [0] * n_inputs], [0, 0])
    return FixedArm(trunk[:-1], trunk[-1], stabiliser)


def _apply(layer: Layer, x: Vector) -> Vector:
    return [
        bias + sum(a * b for a, b in zip(x, row, strict=True))
        for row, bias in zip(layer.weight, layer.bias, strict=True)
    ]


def evaluate(context: Sequence[int], fixed: FixedArm) -> tuple[int, int]:
    """Section 5.2: mu and log-scale with 8 fractional bits."""
    x = [int(c) << 16 for c in context]
    st = _apply(fixed.stabiliser, x)
    for layer in fixed.hidden:
        x = [max(a, 0) >> 16 for a in _apply(layer, x)]
    a = _apply(fixed.output, x)
    return (a[0] + st[0]) >> 24, (a[1] + st[1]) >> 24


def indices(out: tuple[int, int]) -> tuple[int, int]:
    """Section 8.1: indices into the tables MU and SCALE."""
    mu_index = min(max(out[0] + 16384, 0), 32767)
    scale_index = min(max(out[1] + 1280, 0), 2560)
    return mu_index, scale_index
