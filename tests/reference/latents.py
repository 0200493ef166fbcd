# SPDX-License-Identifier: BSD-3-Clause
"""Decoding and encoding of all grids: specification, sections 5, 6, 7 and 14 (item 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import arm, context, headers, ifce, rangecoder
from .parameters import Parameters, integer_arrays

IntArray = NDArray[np.int32]
# (k, y, x, mu_index, scale_index) -> symbol
CodeSymbol = Callable[[int, int, int, int, int], int]


def fixed_arm(header: headers.Header, parameters: Parameters) -> arm.FixedArm:
    return arm.fixed_parameters(
        integer_arrays(header, parameters, "arm.weight"),
        integer_arrays(header, parameters, "arm.bias"),
        n_spatial=header["spatial_context_arm"],
        has_stabiliser=header["linear_stabiliser_arm"] == 1,
        sw=8 - header["nn_q_step"]["arm.weight"],
        sb=16 - header["nn_q_step"]["arm.bias"],
    )


def fixed_ifces(header: headers.Header, parameters: Parameters) -> list[arm.Layer | None]:
    """The fixed-point IFCE of each grid, None where there is none."""
    weights = integer_arrays(header, parameters, "ifce.weight")
    biases = integer_arrays(header, parameters, "ifce.bias")
    sw = 8 - header["nn_q_step"]["ifce.weight"]
    sb = 16 - header["nn_q_step"]["ifce.bias"]
    layers: list[arm.Layer | None] = []
    for c_k in headers.ifce_inputs(header):
        if c_k > 0:
            layers.append(ifce.fixed_parameters(weights.pop(0), biases.pop(0), sw, sb))
        else:
            layers.append(None)
    return layers


def code_grids(
    header: headers.Header, parameters: Parameters, code_symbol: CodeSymbol
) -> Iterator[tuple[int, ifce.Grid, list[ifce.Grid]]]:
    """The loop of section 7: yields (k, grid k, its feature maps), coarsest grid first."""
    n_spatial = header["spatial_context_arm"]
    n_features = header["output_feature_ifce"]
    the_arm = fixed_arm(header, parameters)
    the_ifces = fixed_ifces(header, parameters)
    infos = headers.grid_list(header)
    n = len(infos)
    grids: list[ifce.Grid] = [[] for _ in range(n)]
    for k in range(n - 1, -1, -1):
        _, _, h, w = infos[k]
        features = ifce.feature_map(k, grids, h, w, n_features, the_ifces[k])
        grid = [[0] * w for _ in range(h)]
        for y, x in context.coding_order(h, w):
            c = context.spatial_context(grid, y, x, n_spatial)
            c += [feature[y][x] for feature in features]
            mu_index, scale_index = arm.indices(arm.evaluate(c, the_arm))
            grid[y][x] = code_symbol(k, y, x, mu_index, scale_index)
        grids[k] = grid
        yield k, grid, features


def decode_latents(
    header: headers.Header, parameters: Parameters, payload: bytes
) -> list[IntArray]:
    """All grids, finest first."""
    decoder = rangecoder.Decoder(rangecoder.words_from_bytes(payload))

    def code_symbol(_k: int, _y: int, _x: int, mu_index: int, scale_index: int) -> int:
        return decoder.decode(mu_index, scale_index)

    coarsest_first = [
        np.array(grid, dtype=np.int32) for _, grid, _ in code_grids(header, parameters, code_symbol)
    ]
    return coarsest_first[::-1]


def encode_latents(header: headers.Header, parameters: Parameters, grids: Sequence[Any]) -> bytes:
    """The latent payload of the grids (finest first; nested lists or arrays)."""
    encoder = rangecoder.Encoder()

    def code_symbol(k: int, y: int, x: int, mu_index: int, scale_index: int) -> int:
        symbol = int(grids[k][y][x])
        encoder.encode(symbol, mu_index, scale_index)
        return symbol

    for _ in code_grids(header, parameters, code_symbol):
        pass
    return rangecoder.bytes_from_words(encoder.finish())
