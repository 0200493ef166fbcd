# SPDX-License-Identifier: BSD-3-Clause
"""Estimate of the memory that decoding one 5.0 frame takes, from headers alone.

An upper bound of all arrays that are alive at the same time, as in :mod:`numchic.memory`, which
adds what several frames at once take.
"""

from __future__ import annotations

from numchic.schedule import BAND_ROWS
from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.headers import CoolChicHeader, FrameHeader
from numchic_bitstream.v5.parameters import n_parameters
from numchic_bitstream.v5.stream import Frame, Stream

_PARAMETER = 80
"""Bytes per network parameter: Python numbers while they are read, and several arrays."""


def frame_memory(stream: Stream, threads: int = 1) -> int:
    """Bytes that the most expensive frame takes, without its references.

    Parameters
    ----------
    stream : Stream
    threads : int
        Number of threads that compute at the same time; more than there are bands do not count.
    """
    return max(_frame(frame, threads) for frame in stream.frames)


def _frame(frame: Frame, threads: int) -> int:
    parts = max(
        _coolchic(part.header, threads) + _rounding(frame.header, part.header, threads)
        for part in frame.parts
    )
    return parts if frame.motion is None else parts + _prediction(frame.header, frame.motion.header)


def _prediction(frame: FrameHeader, motion: CoolChicHeader) -> int:
    """Signals of both decoders, references as floats, and what warping and joining a band take."""
    height, width = motion.img_size
    n_references, k = len(frame.index_references), frame.warp_filter_size or 0
    signals = 4 * (3 + 3 * n_references) * height * width
    references = (16 * n_references + 8) * height * width
    band = 4 * (6 * n_references + 12) * min(BAND_ROWS, height) * width
    return signals + references + band + width * (40 * k + 16)


def _coolchic(header: CoolChicHeader, threads: int) -> int:
    height = header.derived.dense_size[0]
    bands = min(threads, -(-height // BAND_ROWS)) * (_band(header) + _noise_band(header))
    parameters = _PARAMETER * sum(n_parameters(header).values())
    return _latents(header) + _stack(header) + _noise(header) + bands + parameters


def _latents(header: CoolChicHeader) -> int:
    """All grids, and what decoding one of them takes."""
    grids = header.derived.grids
    samples = [grid.height * grid.width for grid in grids]
    height, width = grids[0].height, grids[0].width
    lanes = min(height, width // 10 + 1) + 8
    workspace = 8 * (64 * (height + lanes + 8) + lanes * (3 * (header.derived.arm_width + 3) + 8))
    n_features = header.output_feature_ifce
    if n_features == 0:
        return sum(samples) + workspace
    # Grids in one piece, features of the finest map, sums of two of its rows.
    features = sum(samples[1:]) + 4 * n_features * max(samples[1:], default=1)
    return sum(samples) + workspace + features + 16 * n_features * width


def _stack(header: CoolChicHeader) -> int:
    """Upsampled latents of all levels but the finest; for a moment those of the next as well."""
    if header.derived.n_latents == 1:
        height, width = header.derived.dense_size
        return 4 * height * width
    height, width = level_size(header.img_size, header.latent_resolution[0] + 1)
    # A quarter of the channels, and one channel in between.
    filtered = (height + 14) * (width + 14)
    return 5 * (header.derived.n_latents * height * width + 2 * filtered)


def _noise(header: CoolChicHeader) -> int:
    """Random grids of all levels but the finest, and what joining them takes."""
    if not header.flag_common_randomness:
        return 0
    height, width = level_size(header.img_size, 1)
    return 4 * 5 * header.derived.n_latents * height * (width + 1)


def _noise_band(header: CoolChicHeader) -> int:
    if not header.flag_common_randomness:
        return 0
    rows = _input_rows(header)
    _, width = header.derived.dense_size
    samples_of_a_block = 80 * min(rows * width, 1 << 16)
    return 4 * 6 * header.derived.n_latents * rows * (width + 1) + samples_of_a_block


def _input_rows(header: CoolChicHeader) -> int:
    reach = header.derived.reach
    return min(BAND_ROWS + 2 * reach, header.derived.dense_size[0])


def _band(header: CoolChicHeader) -> int:
    """Memory of one band of the synthesis, and of the upsampling of its input."""
    height, width = header.derived.dense_size
    padded = width + 14
    rows = _input_rows(header)
    floats = header.derived.synthesis_inputs * rows * padded + 2 * (rows + 32) * padded
    next_sizes = [layer.k_size for layer in header.syn_layer[1:]] + [1, 1, 1]
    for layer, rows_kept in zip(header.syn_layer, next_sizes, strict=False):
        floats += layer.out_ft * rows_kept * padded
    # The stabiliser keeps one row, the output transform a band.
    floats += header.syn_layer[-1].out_ft * (1 + min(BAND_ROWS, height)) * padded
    return 4 * floats


def _rounding(frame: FrameHeader, header: CoolChicHeader, threads: int) -> int:
    """Samples, the signal before the final resize, and what resizing and rounding a band take."""
    height, width = header.img_size
    dense_height, dense_width = header.derived.dense_size
    n_outputs = header.syn_layer[-1].out_ft
    bands = min(threads, -(-height // BAND_ROWS))
    band = min(BAND_ROWS, height) * width
    samples = 3 * height * width * (1 if frame.bitdepth == 8 else 2)
    total = samples + bands * 4 * 5 * n_outputs * band
    if (dense_height, dense_width) != header.img_size:
        total += 4 * n_outputs * dense_height * dense_width
        # Four bands, and as many of the rows they are made of.
        rows = BAND_ROWS * dense_height // height + 6
        total += bands * 4 * 4 * n_outputs * (band + min(rows, dense_height) * width)
        total += bands * 100 * (width + BAND_ROWS)
    return total
