# SPDX-License-Identifier: BSD-3-Clause
"""Auto-regressive module: contexts -> mu and scale (coolchic-5, 5.1, 5.2, 8.1). Exact.

The normalised form of section 5.4 is evaluated: common powers of two are taken out, so that

* the first hidden layer has no shift, its result keeps 16 fractional bits;
* later hidden layers shift by the weight exponent sw;
* the output adds a *direct* part, a linear function of the ARM inputs. It is the stabiliser, and
  without hidden layers the output layer as well.

All samples of one time are evaluated together, arrays having one row per feature and one column
per sample. Where section 5.5 proves that no sum can leave 53 bits this is done in float64, where
additions and products are exact in any order; else in int64; beyond 63 bits the stream is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.arrays import F64, F64_1D, F64_2D, F64_3D, I64, I64_1D, I64_2D, I64_3D
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import ArmParameters

MAX_LATENT = 64
_FLOAT_BITS = 53
_INT_BITS = 63
_SCALE_OFFSET = 4  # the log-scale output is 4 too large (5.1)


class IntArm(NamedTuple):
    """Normalised integer parameters.

    ``hidden_weight`` int64[L, D, D], ``hidden_bias`` int64[L, D], ``hidden_shift`` int64[L];
    ``output_weight`` int64[2, D] (zero without hidden layers), ``direct_weight`` int64[2, D],
    ``output_bias`` int64[2], ``output_shift`` int.
    """

    hidden_weight: I64_3D
    hidden_bias: I64_2D
    hidden_shift: I64_1D
    output_weight: I64_2D
    direct_weight: I64_2D
    output_bias: I64_1D
    output_shift: int


class FloatArm(NamedTuple):
    """The same numbers in float64, widths padded with zeros to multiples of 4.

    Shifts have become factors 2**-shift.
    """

    hidden_weight: F64_3D
    hidden_bias: F64_2D
    hidden_factor: F64_1D
    output_weight: F64_2D
    direct_weight: F64_2D
    output_bias: F64_1D
    output_factor: float


@dataclass(frozen=True)
class FixedArm:
    """Both forms of the parameters and what bounds the accumulators."""

    exact: IntArm
    fast: FloatArm
    n_spatial: int

    def accumulator_bound(self, max_feature: int) -> int:
        """Largest magnitude any accumulator can reach (section 5.5).

        Parameters
        ----------
        max_feature : int
            Largest magnitude of an IFCE feature.
        """
        arm = self.exact
        width = arm.direct_weight.shape[1]
        inputs = np.array([MAX_LATENT] * self.n_spatial + [0] * (width - self.n_spatial), object)
        inputs[self.n_spatial :] = max_feature
        bound, x = 0, inputs
        for weight, bias, shift in zip(
            arm.hidden_weight, arm.hidden_bias, arm.hidden_shift.tolist(), strict=True
        ):
            sums = _magnitudes(weight) @ x + _magnitudes(bias)
            bound = max(bound, *sums)
            x = sums >> shift
        sums = _magnitudes(arm.direct_weight) @ inputs + _magnitudes(arm.output_bias)
        if arm.hidden_shift.size:
            sums = sums + _magnitudes(arm.output_weight) @ x
        return int(max(bound, *sums))

    def fits_float64(self, max_feature: int, offset: int) -> bool:
        """Decide between float64 and int64 for features up to ``max_feature``.

        Raises
        ------
        CorruptError
            Not even int64 can hold the accumulators; ``offset`` is reported.
        """
        bits = self.accumulator_bound(max_feature).bit_length()
        if bits > _INT_BITS:
            _reject(bits, offset)
        return bits <= _FLOAT_BITS


def _magnitudes(values: I64) -> NDArray[np.object_]:
    magnitudes: NDArray[np.object_] = np.abs(values.astype(object))
    return magnitudes


def _reject(bits: int, offset: int) -> None:
    raise CorruptError(
        "accumulators of the ARM overflow", "nn_payload.arm", offset, f"{bits} bits", "<= 63 bits"
    )


def fix_arm(header: CoolChicHeader, parameters: ArmParameters, offset: int = 0) -> FixedArm:
    """Turn the quantised parameters into fixed-point ones (sections 5.1 and 5.4).

    Parameters
    ----------
    header : CoolChicHeader
    parameters : ArmParameters
    offset : int
        Position of the network payload in the stream, for errors.

    Raises
    ------
    CorruptError
        A parameter alone needs more than 63 bits.
    """
    steps = header.derived.steps
    sw, sb = steps.arm_weight, steps.arm_bias
    n_hidden, n_spatial = header.n_hidden_layers_arm, header.spatial_context_arm
    width = header.derived.arm_width
    # Latents are integers, IFCE features have 8 fractional bits.
    column_bits = np.where(np.arange(width) < n_spatial, 16, 8)
    identity = np.eye(width, dtype=np.int64)

    hidden_weight = np.zeros((n_hidden, width, width), np.int64)
    hidden_bias = np.zeros((n_hidden, width), object)
    for i, layer in enumerate(parameters.hidden):
        if i == 0:
            hidden_weight[i] = (layer.weight << (column_bits - sw)) + (identity << column_bits)
            hidden_bias[i] = layer.bias.astype(object) << (16 - sb)
        else:
            hidden_weight[i] = layer.weight + (identity << sw)
            hidden_bias[i] = layer.bias.astype(object) << (16 + sw - sb)

    output, stabiliser = parameters.output, parameters.stabiliser
    # The identity is folded into every square trunk matrix, even this one (5.1, item 2).
    square = identity if width == 2 else np.zeros((2, width), np.int64)
    direct = np.zeros((2, width), np.int64) if stabiliser is None else stabiliser.weight
    bias = output.bias.astype(object) - np.array([0, _SCALE_OFFSET << sb], object)
    if stabiliser is not None:
        bias = bias + stabiliser.bias.astype(object)
    if n_hidden:
        output_weight = output.weight + (square << sw)
        direct_weight = direct << column_bits
        output_bias = bias << (16 + sw - sb)
        output_shift = 8 + sw
    else:
        output_weight = np.zeros((2, width), np.int64)
        direct_weight = ((output.weight + direct) << (column_bits - sw)) + (square << column_bits)
        output_bias = bias << (16 - sb)
        output_shift = 8

    exact = IntArm(
        hidden_weight,
        _to_int64(hidden_bias, offset),
        np.array([0, *[sw] * (n_hidden - 1)] if n_hidden else [], np.int64),
        output_weight,
        direct_weight,
        _to_int64(output_bias, offset),
        output_shift,
    )
    return FixedArm(exact, _pad_to_float(exact), n_spatial)


def _to_int64(values: NDArray[np.object_], offset: int) -> I64:
    bits = max((int(abs(value)).bit_length() for value in values.flat), default=0)
    if bits > _INT_BITS:
        _reject(bits, offset)
    return values.astype(np.int64)


def _pad_to_float(arm: IntArm) -> FloatArm:
    width = arm.direct_weight.shape[1]
    missing = -width % 4
    columns = (0, missing)
    return FloatArm(
        np.pad(arm.hidden_weight.astype(np.float64), ((0, 0), columns, columns)),
        np.pad(arm.hidden_bias.astype(np.float64), ((0, 0), columns)),
        np.exp2(-arm.hidden_shift.astype(np.float64)),
        np.pad(arm.output_weight.astype(np.float64), ((0, 2), columns)),
        np.pad(arm.direct_weight.astype(np.float64), ((0, 2), columns)),
        np.pad(arm.output_bias.astype(np.float64), (0, 2)),
        2.0**-arm.output_shift,
    )


@kernel(contract=True)
def _add_product(weight: F64, x: F64, n_lanes: int, y: F64) -> None:
    """Y += weight @ x for the first n_lanes columns; both sizes of weight are multiples of 4.

    Four rows times four columns at a time keep sixteen weights in registers for one pass over the
    samples, against one load and store of y per row and four of x.
    """
    for o in range(0, weight.shape[0], 4):
        for i in range(0, weight.shape[1], 4):
            a0, a1, a2, a3 = weight[o, i], weight[o, i + 1], weight[o, i + 2], weight[o, i + 3]
            p = o + 1
            b0, b1, b2, b3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 2
            c0, c1, c2, c3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 3
            d0, d1, d2, d3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            for k in range(n_lanes):
                x0, x1, x2, x3 = x[i, k], x[i + 1, k], x[i + 2, k], x[i + 3, k]
                y[o, k] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                y[o + 1, k] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                y[o + 2, k] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                y[o + 3, k] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@kernel()
def evaluate_float(
    arm: FloatArm, inputs: F64, n_lanes: int, scratch: F64, mu_index: I64, scale_index: I64
) -> None:
    """Evaluate the ARM in float64.

    Parameters
    ----------
    arm : FloatArm
    inputs : float64[D padded, >= n_lanes]
        Integers; rows beyond D are zero.
    n_lanes : int
    scratch : float64[2, D padded, >= n_lanes]
    mu_index, scale_index : int64[>= n_lanes]
        Output, clipped to the tables (section 8.1).
    """
    x = inputs
    for i in range(arm.hidden_weight.shape[0]):
        y = scratch[i & 1]
        for o in range(y.shape[0]):
            y[o, :n_lanes] = arm.hidden_bias[i, o]
        _add_product(arm.hidden_weight[i], x, n_lanes, y)
        factor = arm.hidden_factor[i]
        for o in range(y.shape[0]):
            for k in range(n_lanes):
                value = y[o, k]
                y[o, k] = np.floor((value if value > 0.0 else 0.0) * factor)
        x = y
    out = scratch[arm.hidden_weight.shape[0] & 1]
    for o in range(4):
        out[o, :n_lanes] = arm.output_bias[o]
    _add_product(arm.direct_weight, inputs, n_lanes, out)
    if arm.hidden_weight.shape[0] > 0:
        _add_product(arm.output_weight, x, n_lanes, out)
    for k in range(n_lanes):
        mu = np.floor(out[0, k] * arm.output_factor) + 16384.0
        scale = np.floor(out[1, k] * arm.output_factor) + 1280.0
        # Only AVX-512 has a vector conversion to int64.
        mu_index[k] = np.int32(min(max(mu, 0.0), 32767.0))
        scale_index[k] = np.int32(min(max(scale, 0.0), 2560.0))


@kernel()
def evaluate_int(
    arm: IntArm, inputs: F64, n: int, sums: I64, mu_index: I64, scale_index: I64
) -> None:
    """Evaluate the ARM in int64, sample by sample.

    Arguments are as for :func:`evaluate_float`; ``sums`` is scratch, int64[2, >= D].
    """
    width = arm.direct_weight.shape[1]
    x, y = sums[0], sums[1]
    for k in range(n):
        for i in range(width):
            x[i] = int(inputs[i, k])
        mu = arm.output_bias[0]
        scale = arm.output_bias[1]
        for i in range(width):
            mu += arm.direct_weight[0, i] * x[i]
            scale += arm.direct_weight[1, i] * x[i]
        for j in range(arm.hidden_weight.shape[0]):
            for o in range(width):
                total = arm.hidden_bias[j, o]
                for i in range(width):
                    total += arm.hidden_weight[j, o, i] * x[i]
                y[o] = max(total, 0) >> arm.hidden_shift[j]
            x, y = y, x
        if arm.hidden_weight.shape[0] > 0:
            for i in range(width):
                mu += arm.output_weight[0, i] * x[i]
                scale += arm.output_weight[1, i] * x[i]
        mu_index[k] = min(max((mu >> arm.output_shift) + 16384, 0), 32767)
        scale_index[k] = min(max((scale >> arm.output_shift) + 1280, 0), 2560)
