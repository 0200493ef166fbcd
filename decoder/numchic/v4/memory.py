# SPDX-License-Identifier: BSD-3-Clause
"""Estimate of the memory that decoding one 4.x frame takes, from headers alone.

An upper bound of all arrays that are alive at the same time, as in :mod:`numchic.memory`, which
adds what several frames at once take.
"""

from __future__ import annotations

from numchic.schedule import BAND_ROWS
from numchic_bitstream.structure import level_size
from numchic_bitstream.v4.headers import CoolChicHeader, FrameHeader
from numchic_bitstream.v4.stream import Stream

_PARAMETER = 80
"""Bytes per network parameter: numbers as they are coded, and several arrays."""

_SEEDS = 80 << 16
"""Bytes of one block of the noise generator."""

_TILES = 2 * 4 * 256
"""Bytes per channel of the tiles of the synthesis."""

_REACH = 7  # of the longest filter of the upsampling


def frame_memory(stream: Stream, threads: int = 1) -> int:
    """Bytes that the most expensive frame takes, without its references.

    Parameters
    ----------
    stream : Stream
    threads : int
        Number of threads that compute at the same time; more than there are bands do not count.
    """
    height, width = stream.img_size
    picture = 3 * height * width * (1 if stream.bitdepth == 8 else 2)
    return picture + max(_frame(f.header, threads) for f in stream.frames)


def _frame(header: FrameHeader, threads: int) -> int:
    parts = max(_part(part, threads) for part in header.parts)
    if header.frame_type == "I":
        return parts
    height, width = header.parts[0].img_size
    n_references = len(header.global_flow)
    signals = 4 * 4 * height * width
    motion_height, motion_width = header.parts[1].derived.output_size
    signals += 4 * 5 * motion_height * motion_width
    # References have four channels; for a moment there is one plane more.
    references = (16 * n_references + 8) * height * width
    bands = 4 * 3 * (n_references + 1) * min(BAND_ROWS, height) * width
    return signals + max(parts, references + bands + _block(header))


def _block(header: FrameHeader) -> int:
    """Scratch for warping one block: samples around it, their sums along rows, a row of it."""
    block = 1 << header.parts[1].lead
    size = block + header.n_taps - 1
    return 4 * 4 * (size + size * block + block)


def _part(header: CoolChicHeader, threads: int) -> int:
    height, _ = header.derived.output_size
    bands = min(threads, -(-height // BAND_ROWS)) * _band(header)
    parameters = _PARAMETER * sum(header.derived.n_parameters.values())
    return _latents(header) + _upsampled(header) + bands + parameters


def _latents(header: CoolChicHeader) -> int:
    """All planes, their block maps, and a row of scratch each."""
    total = 0
    for i in header.derived.coded_planes:
        height, width = header.derived.sizes[i]
        block = abs(header.blk) or 1 << 16
        total += 4 * (height + 4) * (width + 8) + 4 * width
        total += 2 * -(-height // block) * -(-width // block)
    return total


def _upsampled(header: CoolChicHeader) -> int:
    """All inputs but the finest, a step before their last, and what that takes for one of them."""
    height, width = level_size(header.img_size, header.lead + 1)
    area = (height + 2 * _REACH) * (width + 2 * _REACH)
    seeds = _SEEDS if header.n_noise else 0
    return 4 * (header.n_inputs + 5) * area + seeds


def _band(header: CoolChicHeader) -> int:
    """One band of the synthesis, and the upsampling of its input."""
    height, width = header.derived.output_size
    layers = header.topology.syn
    reach = header.derived.reach
    rows, padded = min(BAND_ROWS + 2 * reach, height), width + 2
    widest = max(header.n_inputs, *(layer.n_outputs for layer in layers))
    floats = header.n_inputs * rows * padded
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        # Between two layers without neighbourhood there are only tiles.
        if following is None or max(layer.k_size, following.k_size) > 1:
            floats += layer.n_outputs * rows * padded
    floats += 2 * (rows + 2 * _REACH) * (width + 2 * _REACH)
    noise = _SEEDS + 16 * rows * width if header.n_noise else 0
    return 4 * floats + _TILES * (widest + 4) + noise
