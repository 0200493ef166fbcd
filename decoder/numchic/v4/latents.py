# SPDX-License-Identifier: BSD-3-Clause
"""Latent sub-streams of 4.x -> integer planes (coolchic-4.2, section 9). Exact.

Planes are independent of each other; within a plane everything is sequential, as the context of a
sample holds its left neighbour, decoded just before. What makes it quick is that most samples of
the large planes see nothing but zeros: their mean and scale are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numchic.v4.arm import REACH, Arm, context_positions, evaluate, round_to_integer
from numchic_bitstream.arrays import I32, I32_1D, I64, I64_1D, U8_1D, U8_2D
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.entropy import (
    check_end,
    check_progress,
    decode_bin,
    decode_bypass,
    decode_exp_golomb,
    decode_flags,
    renormalisation,
    start,
    symbol_contexts,
)
from numchic_bitstream.v4.states import N_CONTEXTS, N_SCALES
from numchic_bitstream.v4.stream import SubStream

MAX_LATENT = 1 << 22
_BATCH = 32768  # samples between two progress reports


class Blocks(NamedTuple):
    """Block maps of a plane (9.3): uint8[nby, nbx] each; blocks have a size of 2 ** ``shift``."""

    significant: U8_2D
    flat: U8_2D
    shift: int


class Coder(NamedTuple):
    """Arithmetic decoder and its tables."""

    data: U8_1D
    state: I64_1D
    contexts: I64_1D
    shifts: I64_1D


class Context(NamedTuple):
    """What the contexts of a plane need.

    These are their positions as distances in the padded plane, the model that :func:`_model` gives
    for a context of zeros, and scratch: three arrays of the ARM, and a row of the plane.
    """

    distances: I64_1D
    quiet_mean: int
    quiet_model: int
    inputs: I32_1D
    scratch: I32_1D
    partial: I32_1D
    busy: I32_1D


def read_blocks(coder: Coder, height: int, width: int, blk: int) -> Blocks:
    """Decode the block maps at the start of a sub-stream (section 9.3)."""
    shift = max(abs(blk).bit_length() - 1, 0) if blk else 16
    shape = (-(-height >> shift), -(-width >> shift))
    significant, flat = np.ones(shape, np.uint8), np.zeros(shape, np.uint8)
    if shape != (1, 1):
        if _read_bypass(coder):
            decode_flags(coder.data, coder.state, coder.shifts, blk < 0, significant.reshape(-1))
        if _read_bypass(coder):
            flat[:] = significant
            decode_flags(coder.data, coder.state, coder.shifts, blk < 0, flat.reshape(-1))
    return Blocks(significant, flat, shift)


@kernel()
def _read_bypass(coder: Coder) -> int:
    state = coder.state
    bit, value, need, position = decode_bypass(coder.data, state[0], state[1], state[2], state[3])
    state[1], state[2], state[3] = value, need, position
    return bit


@kernel()
def _model(mu: int, scale: int) -> tuple[int, int]:
    """Rounded mean, and where the five contexts of the symbol are (section 9.5)."""
    mean = round_to_integer(mu)
    mean_index = 8 + round_to_integer((mu - 256 * mean) * 16)
    t = scale + 256
    scale_index = 0 if t < 0 else min(N_SCALES - 1, (5 * t + 128) >> 8)
    return mean, (mean_index * N_SCALES + scale_index) * N_CONTEXTS


@kernel(entry=True)
def _evaluate_quiet(arm: Arm, zeros: I32_1D, scratch: I32_1D, partial: I32_1D) -> tuple[int, int]:
    """Model of a context of zeros; all three arrays are overwritten."""
    mu, scale = evaluate(arm, zeros, scratch, partial)
    return _model(mu, scale)


@kernel()
def _decode_magnitude(coder: Coder, model: int) -> int:
    """Decode what is left of a symbol that is not 0: larger magnitudes and the sign."""
    data, state, contexts, shifts = coder
    width, value, need, position = state[0], state[1], state[2], state[3]
    magnitude = 1
    bit = 1
    while bit == 1 and magnitude < 4:
        bit, width, value, need, position = decode_bin(
            data, shifts, contexts[model + magnitude], width, value, need, position
        )
        magnitude += bit
    if magnitude == 4:
        state[0], state[1], state[2], state[3] = width, value, need, position
        # Not a plain 0, for which Numba would compile the callee once more.
        magnitude += decode_exp_golomb(data, state, np.int64(0))  # type: ignore[arg-type]
        value, need, position = state[1], state[2], state[3]
    bit, width, value, need, position = decode_bin(
        data, shifts, contexts[model + 4], width, value, need, position
    )
    state[0], state[1], state[2], state[3] = width, value, need, position
    return -magnitude if bit == 1 else magnitude


@kernel()
def _find_busy(samples: I32, row: int, distances: I64, busy: I32) -> None:
    """Combine, for every sample of a row, its neighbours in the rows above: 0 if all are 0."""
    busy[:] = 0
    for i in range(distances.size):
        if distances[i] < -REACH:
            begin = row + distances[i]
            above = samples[begin : begin + busy.size]
            for x in range(busy.size):
                busy[x] |= above[x]


@kernel(entry=True)
def decode_rows(
    first: int, stop: int, arm: Arm, context: Context, blocks: Blocks, coder: Coder, samples: I32_1D
) -> int:
    """Decode rows first .. stop - 1 of a plane.

    Parameters
    ----------
    first, stop : int
    arm, context, blocks : Arm, Context, Blocks
    coder : Coder
        Updated.
    samples : int32[(REACH + h) * (REACH + w + REACH)]
        The plane with zeros around it, row after row; rows are filled in.

    Returns
    -------
    int
        -1, or the row-major position of a sample that is too large.
    """
    data, state, contexts, shifts = coder
    distances, quiet_mean, quiet_model, inputs, scratch, partial, busy = context
    width = busy.size
    stride = REACH + width + REACH
    n_context = distances.size
    size = 1 << blocks.shift
    for y in range(first, stop):
        row = (y + REACH) * stride + REACH
        _find_busy(samples, row, distances, busy)
        n_zeros = REACH  # to the left
        block_row = y >> blocks.shift
        for block in range(blocks.significant.shape[1]):
            left = block << blocks.shift
            right = min(left + size, width)
            if blocks.significant[block_row, block] == 0:
                n_zeros += right - left
                continue
            n_coded = right - left
            if blocks.flat[block_row, block] != 0:
                n_coded = 1 if y & (size - 1) == 0 else 0
            for x in range(left, left + n_coded):
                mean, model = quiet_mean, quiet_model
                if n_zeros < REACH or busy[x] != 0:
                    for i in range(n_context):
                        inputs[i] = samples[row + x + distances[i]]
                    for i in range(n_context, inputs.size):
                        inputs[i] = 0
                    mu, scale = evaluate(arm, inputs, scratch, partial)
                    mean, model = _model(mu, scale)
                bit, state[0], state[1], state[2], state[3] = decode_bin(
                    data, shifts, contexts[model], state[0], state[1], state[2], state[3]
                )
                sample = mean
                if bit == 1:
                    sample += _decode_magnitude(coder, model)
                n_zeros += 1
                if sample != 0:
                    if abs(sample) >= MAX_LATENT:
                        return int(y * width + x)
                    samples[row + x] = sample
                    n_zeros = 0
            if n_coded < right - left:
                sample = samples[row + left] if n_coded else samples[row - stride + left]
                for x in range(left + n_coded, right):
                    samples[row + x] = sample
                n_zeros = 0 if sample != 0 else n_zeros + right - left - n_coded
    return -1


def decode_plane(
    stream: SubStream, arm: Arm, context_size: int, blk: int, i: int, plane: I32
) -> Iterator[int]:
    """Decode the latent of resolution i.

    Parameters
    ----------
    stream : SubStream
    arm : Arm
    context_size, blk, i : int
    plane : int32[REACH + h, REACH + w + REACH]
        A plane of zeros from :func:`new_plane`, which is filled in.

    Yields
    ------
    int
        Number of rows that are complete, in increasing order; the last one is the height.

    Raises
    ------
    CorruptError, TruncatedError
        The sub-stream is damaged.
    """
    field, offset = f"latent[{i}]", stream.offset
    height, width = interior(plane).shape
    data = np.frombuffer(stream.data, np.uint8)
    coder = Coder(data, start(data), symbol_contexts(), renormalisation())
    blocks = read_blocks(coder, height, width, blk)
    distances = [dy * plane.shape[1] + dx for dy, dx in context_positions(context_size)]
    inputs, scratch, partial = np.zeros((3, arm.output_weight.shape[1]), np.int32)
    mean, model = _evaluate_quiet(arm, inputs, scratch, partial)
    busy = np.empty(width, np.int32)
    context = Context(np.array(distances, np.int64), mean, model, inputs, scratch, partial, busy)
    step = max(1, _BATCH // width)
    for first in range(0, height, step):
        stop = min(first + step, height)
        bad = decode_rows(first, stop, arm, context, blocks, coder, plane.reshape(-1))
        check_progress(coder.state, data, field, offset)
        if bad >= 0:
            found = f"row {bad // width}, column {bad % width}"
            raise CorruptError("a latent is too large", field, offset, found, f"< {MAX_LATENT}")
        if stop == height:
            check_end(coder.state, data, field, offset)
        yield stop


def new_plane(height: int, width: int) -> I32:
    """Plane of zeros with the margins that contexts need."""
    return np.zeros((REACH + height, REACH + width + REACH), np.int32)


def interior(plane: I32) -> I32:
    """Samples of a plane without its margins."""
    return plane[REACH:, REACH:-REACH]
