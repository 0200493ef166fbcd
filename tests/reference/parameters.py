# SPDX-License-Identifier: BSD-3-Clause
"""The neural-network parameter payload: specification, sections 4.1 to 4.3.

Parameters are a dictionary from block name ("arm.weight", ...) to the flat list of its integers
in stream order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import expgolomb, headers

Parameters = dict[str, list[int]]


def decode_parameters(header: headers.Header, payload: bytes) -> Parameters:
    bits = expgolomb.bits_from_bytes(payload)
    position = header["nn_n_bit_pad"]
    parameters = {}
    for name, shapes in headers.parameter_shapes(header):
        count = sum(math.prod(shape) for shape in shapes)
        order = header["nn_expgol_cnt"][name]
        parameters[name], position = expgolomb.decode_values(bits, position, count, order)
    if position != len(bits):
        raise ValueError("the parameter payload does not end with the last parameter")
    return parameters


def encode_parameters(header: headers.Header, parameters: Parameters) -> tuple[bytes, int]:
    """The payload and nn_n_bit_pad."""
    return expgolomb.payload(
        (q, header["nn_expgol_cnt"][name])
        for name, _ in headers.parameter_shapes(header)
        for q in parameters[name]
    )


def integer_arrays(header: headers.Header, parameters: Parameters, name: str) -> list[Any]:
    """The arrays of one block as nested lists of Python integers."""
    arrays = []
    position = 0
    for shape in dict(headers.parameter_shapes(header)).get(name, []):
        count = math.prod(shape)
        values = [int(q) for q in parameters[name][position : position + count]]
        arrays.append(np.array(values, dtype=object).reshape(shape).tolist())
        position += count
    return arrays


def real_arrays(
    header: headers.Header, parameters: Parameters, name: str
) -> list[NDArray[np.float32]]:
    """The arrays of one block, dequantised (section 4.3)."""
    step = np.float32(headers.q_step(header, name))
    arrays = integer_arrays(header, parameters, name)
    return [np.array(array, dtype=np.float32) * step for array in arrays]
