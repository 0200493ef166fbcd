# SPDX-License-Identifier: BSD-3-Clause
"""Network parameters: sub-streams -> numbers (coolchic-4.2, section 8). Exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, I64
from numchic_bitstream.errors import CorruptError, TruncatedError
from numchic_bitstream.v4.entropy import check_end, check_progress, decode_numbers, start
from numchic_bitstream.v4.headers import MAX_Q, CoolChicHeader
from numchic_bitstream.v4.stream import CoolChic, SubStream

_INT32 = 2**31


class ArmLayer(NamedTuple):
    """``weight`` int64[out, in] with 8 and ``bias`` int64[out] with 16 fractional bits."""

    weight: I64
    bias: I64


class SynLayer(NamedTuple):
    """``weight`` float32[out, in, ks, ks], ``bias`` float32[out]."""

    weight: F32
    bias: F32


class Parameters(NamedTuple):
    """Dequantised parameters of one Cool-chic decoder.

    ``arm`` holds the hidden layers and the output layer, ``ups`` and ``pre`` complete kernels, of
    which there are none when the latents are zero.
    """

    arm: tuple[ArmLayer, ...]
    ups: tuple[F32, ...]
    pre: tuple[F32, ...]
    syn: tuple[SynLayer, ...]


def read_numbers(coolchic: CoolChic) -> dict[str, I64]:
    """Numbers of all parameter sub-streams as they are coded, by "arm.w" ... "syn.b".

    Raises
    ------
    CorruptError, TruncatedError
        A sub-stream is damaged.
    """
    counts = coolchic.header.derived.n_parameters
    orders = {}
    for module, coding in coolchic.header.modules:
        orders[f"{module}.w"], orders[f"{module}.b"] = coding.eg_w, coding.eg_b
    return {
        name: _read(coolchic.parameters[name], name, count, orders[name])
        for name, count in counts.items()
    }


def _read(stream: SubStream, name: str, count: int, order: int) -> I64:
    if count == 0:
        return np.zeros(0, np.int64)
    # Each takes a bit, and as many as the order.
    if count * (1 + order) > 8 * len(stream.data):
        found = f"{len(stream.data)} bytes"
        allowed = f"{count} parameters"
        raise TruncatedError("the sub-stream is too short", name, stream.offset, found, allowed)
    data = np.frombuffer(stream.data, np.uint8)
    state = start(data)
    numbers = np.zeros(count, np.int64)
    decode_numbers(data, state, order, numbers)
    check_progress(state, data, name, stream.offset)
    check_end(state, data, name, stream.offset)
    return numbers


def read_parameters(coolchic: CoolChic) -> Parameters:
    """Read and dequantise all parameters.

    Raises
    ------
    CorruptError, TruncatedError
        A sub-stream is damaged, or an ARM parameter takes more than 32 bits.
    """
    numbers = read_numbers(coolchic)
    header = coolchic.header
    ups: list[F32] = []
    pre: list[F32] = []
    if header.ups is not None:
        shape = header.topology.ups
        flat = _real(numbers["ups.w"], header.ups.q_w - MAX_Q["ups"][0])
        n_split = shape.n_ups * ((shape.ups_size + 1) // 2)
        ups = _kernels(flat[:n_split], shape.n_ups, shape.ups_size)
        pre = _kernels(flat[n_split:], shape.n_pre, shape.pre_size)
    return Parameters(_arm(coolchic, numbers), tuple(ups), tuple(pre), _syn(header, numbers))


def _arm(coolchic: CoolChic, numbers: dict[str, I64]) -> tuple[ArmLayer, ...]:
    coding, (c, n_hidden) = coolchic.header.arm, coolchic.header.topology.arm
    values = {}
    for name, q in (("arm.w", coding.q_w), ("arm.b", coding.q_b)):
        values[name] = numbers[name] << q
        if np.any((values[name] < -_INT32) | (values[name] >= _INT32)):
            offset = coolchic.parameters[name].offset
            raise CorruptError("a parameter is too large", name, offset, None, "32 bits")
    weight, bias = values["arm.w"], values["arm.b"]
    layers = [
        ArmLayer(weight[i * c * c :][: c * c].reshape(c, c), bias[i * c :][:c])
        for i in range(n_hidden)
    ]
    return *layers, ArmLayer(weight[n_hidden * c * c :].reshape(2, c), bias[n_hidden * c :])


def _syn(header: CoolChicHeader, numbers: dict[str, I64]) -> tuple[SynLayer, ...]:
    max_w, max_b = MAX_Q["syn"]
    weight = _real(numbers["syn.w"], header.syn.q_w - max_w)
    bias = _real(numbers["syn.b"], header.syn.q_b - max_b)
    layers, n_inputs = [], header.n_inputs
    for layer in header.topology.syn:
        shape = (layer.n_outputs, n_inputs, layer.k_size, layer.k_size)
        n_weights = int(np.prod(shape))
        layers.append(SynLayer(weight[:n_weights].reshape(shape), bias[: layer.n_outputs]))
        weight, bias = weight[n_weights:], bias[layer.n_outputs :]
        n_inputs = layer.n_outputs
    return tuple(layers)


def _real(numbers: I64, exponent: int) -> F32:
    """Float32 of numbers times a power of two, which float64 holds exactly."""
    return (numbers * 2.0**exponent).astype(np.float32)


def _kernels(flat: F32, count: int, size: int) -> list[F32]:
    """Complete kernels of the given size from their first halves (section 8.3)."""
    halves = flat.reshape(count, (size + 1) // 2)
    return [np.concatenate([half, half[: size // 2][::-1]]) for half in halves]
