# SPDX-License-Identifier: BSD-3-Clause
"""Estimate of the memory that decoding takes, from headers alone."""

from __future__ import annotations

from numchic_bitstream.grids import (
    arm_width,
    dense_size,
    grid_list,
    n_latents,
    synthesis_inputs,
)
from numchic_bitstream.headers import CoolChicHeader, FrameHeader
from numchic_bitstream.parameters import n_parameters
from numchic_bitstream.stream import Stream

BAND_ROWS = 64
"""Rows that the stages after the latents work on at a time."""

_TABLES = 2561 * 258 * 8


def estimate_memory(stream: Stream, threads: int = 1) -> int:
    """Bytes in all arrays that are alive at the same time, rounded up generously.

    Parameters
    ----------
    stream : Stream
    threads : int
        Number of threads that render at the same time; more than there are bands do not count.
    """
    frames = [
        max(_coolchic(part.header, threads) for part in frame.parts)
        + _samples(frame.header, stream.img_size)
        for frame in stream.frames
    ]
    return _TABLES + max(frames)


def _samples(frame: FrameHeader, img_size: tuple[int, int]) -> int:
    height, width = img_size
    return 3 * height * width * (1 if frame.bitdepth == 8 else 2)


def _coolchic(header: CoolChicHeader, threads: int) -> int:
    grids = grid_list(header)
    dense_height, dense_width = dense_size(header)
    latents = sum(grid.height * grid.width for grid in grids)
    lanes = min(grids[0].height, grids[0].width // 10 + 1) + 8
    workspace = 8 * (64 * (grids[0].height + lanes + 8) + lanes * (3 * arm_width(header) + 20))
    coarse = sum(grid.height * grid.width for grid in grids[1:])
    features = 4 * header.output_feature_ifce * coarse + 2 * coarse
    stack = 4 * n_latents(header) * (dense_height // 2 + 1) * (dense_width // 2 + 1) * 3 // 2
    bands = min(threads, -(-dense_height // BAND_ROWS)) * _band(header, dense_width)
    n_outputs = header.syn_layer[-1].out_ft
    unresized = 0
    if (dense_height, dense_width) != header.img_size:
        height, width = header.img_size
        unresized = 4 * n_outputs * (dense_height * dense_width + 4 * height * width)
    noise = 0
    if header.flag_common_randomness:
        noise = 4 * n_latents(header) * dense_height * dense_width * 6
        noise += 8 * 8 * dense_height * dense_width
    payloads = 3 * header.n_bytes_latent
    parameters = 24 * sum(n_parameters(header).values())
    return (
        latents + workspace + features + stack + bands + unresized + noise + payloads + parameters
    )


def _band(header: CoolChicHeader, width: int) -> int:
    """Memory of one band of the synthesis, and of the upsampling of its input."""
    reach = sum(layer.k_size // 2 for layer in header.syn_layer)
    rows = BAND_ROWS + 2 * reach
    padded = width + 14
    floats = synthesis_inputs(header) * rows * padded + 2 * (rows + 32) * padded
    next_sizes = [layer.k_size for layer in header.syn_layer[1:]] + [1, 1, 1]
    for layer, rows_kept in zip(header.syn_layer, next_sizes, strict=False):
        floats += layer.out_ft * rows_kept * padded
    # The output, and what rounding makes of it.
    floats += 6 * header.syn_layer[-1].out_ft * BAND_ROWS * padded
    return 4 * floats
