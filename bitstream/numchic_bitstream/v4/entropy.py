# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic decoder of the 4.x generations (coolchic-4.2, section 7). Exact.

The state of a decoder is an array int64[5]: ``range``, ``value``, ``need``, the number of bytes
fetched, and a flag that is set when an exp-Golomb code is too long. Kernels that decode many bins
hold the first four in local variables.
"""

from __future__ import annotations

import functools

import numpy as np

from numchic_bitstream.arrays import I64, I64_1D, U8, U8_1D
from numchic_bitstream.errors import CorruptError, TruncatedError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.states import states

RANGE, VALUE, NEED, POSITION, TOO_LONG = range(5)
_MAX_PREFIX = 31  # zeros or ones in front of an exp-Golomb code, plus its order

MPS_SHIFT = 5
"""A context is stored as (most probable bin) << 5 | (t >> 2), t as in section 7.2."""


def pack_context(q8: int) -> int:
    """Context with probability q8 / 256 of a one in the form of the kernels."""
    t = q8 if q8 < 128 else 255 - q8
    return (q8 >> 7) << MPS_SHIFT | t >> 2


@functools.cache
def symbol_contexts() -> I64:
    """Packed contexts int64[17 * 50 * 5] of the latent symbols, by (mean, scale) and context."""
    packed = np.array([pack_context(2 * s) for s in states().ravel().tolist()], np.int64)
    packed.flags.writeable = False
    return packed


@functools.cache
def renormalisation() -> I64:
    """Shift after a least probable bin, int64[64], by lps >> 2 (section 7.2)."""
    shifts = np.array([8 - (4 * i + 3).bit_length() + 1 for i in range(64)], np.int64)
    shifts.flags.writeable = False
    return shifts


def start(data: U8) -> I64:
    """State of a decoder before the first bin (section 7)."""
    head = [*data[:2].tolist(), 0, 0]
    return np.array([510, head[0] << 8 | head[1], -8, 2, 0], np.int64)


@kernel(inline=True)
def fetch(data: U8, position: int) -> int:
    """Byte at a position, 0 beyond the end."""
    return int(data[position]) if position < data.size else 0


@kernel(inline=True)
def decode_bypass(
    data: U8, width: int, value: int, need: int, position: int
) -> tuple[int, int, int, int]:
    """Decode a bin of probability one half; return it, value, need, position (7.1)."""
    value <<= 1
    need += 1
    if need >= 0:
        value += fetch(data, position)
        position += 1
        need = -8
    bound = width << 7
    if value >= bound:
        return 1, value - bound, need, position
    return 0, value, need, position


@kernel(inline=True)
def decode_bin(
    data: U8, shifts: I64, context: int, width: int, value: int, need: int, position: int
) -> tuple[int, int, int, int, int]:
    """Decode a bin with a packed context; return it, width, value, need, position (7.2)."""
    mps = context >> MPS_SHIFT
    lps = (((context & 31) * (width >> 5)) >> 1) + 4
    width -= lps
    bound = width << 7
    if value < bound:
        if width < 256:
            width <<= 1
            value <<= 1
            need += 1
            if need >= 0:
                value += fetch(data, position)
                position += 1
                need = -8
        return mps, width, value, need, position
    n = shifts[lps >> 2]
    width = lps << n
    value = (value - bound) << n
    need += n
    if need >= 0:
        value += fetch(data, position) << need
        position += 1
        need -= 8
    return 1 - mps, width, value, need, position


@kernel()
def decode_exp_golomb(data: U8, state: I64, order: int) -> int:
    """Decode a number >= 0 (section 7.4); sets the flag and returns 0 when it is too long."""
    width, value, need, position = state[0], state[1], state[2], state[3]
    number = 0
    k = order
    while k <= _MAX_PREFIX:
        bit, value, need, position = decode_bypass(data, width, value, need, position)
        if bit == 0:
            break
        number += 1 << k
        k += 1
    suffix = 0
    if k > _MAX_PREFIX:
        state[4] = 1
        number = 0
    else:
        for _ in range(k):
            bit, value, need, position = decode_bypass(data, width, value, need, position)
            suffix = suffix << 1 | bit
    state[1], state[2], state[3] = value, need, position
    return number + suffix


@kernel(entry=True)
def decode_numbers(data: U8_1D, state: I64_1D, order: int, numbers: I64_1D) -> None:
    """Decode signed numbers: magnitudes, each but 0 followed by a sign (section 8.1)."""
    for i in range(numbers.size):
        number = decode_exp_golomb(data, state, order)
        if number != 0:
            bit, value, need, position = decode_bypass(data, state[0], state[1], state[2], state[3])
            state[1], state[2], state[3] = value, need, position
            if bit == 1:
                number = -number
        numbers[i] = number
        if state[4] != 0 or state[3] > data.size:
            return


@kernel(entry=True)
def decode_flags(data: U8_1D, state: I64_1D, shifts: I64_1D, adaptive: bool, flags: U8_1D) -> None:
    """Decode a map of blocks (section 9.3): those of ``flags`` that are 1 get a bin.

    Parameters
    ----------
    data, state, shifts
    adaptive : bool
        Whether the bins have an adaptive context (7.3) or none.
    flags : uint8[]
        Updated.
    """
    width, value, need, position = state[0], state[1], state[2], state[3]
    fast, slow = 0x4100, 0x4100
    for i in range(flags.size):
        if flags[i] == 0:
            continue
        if adaptive:
            q8 = (fast + slow) >> 8
            t = q8 if q8 < 128 else 255 - q8
            context = (q8 >> 7) << MPS_SHIFT | t >> 2
            bit, width, value, need, position = decode_bin(
                data, shifts, context, width, value, need, position
            )
            slow -= (slow >> 8) & 0x7FFE
            fast = 0
            if bit == 1:
                fast = 0x7FE0
                slow += 0x7E
        else:
            bit, value, need, position = decode_bypass(data, width, value, need, position)
        flags[i] = bit
    state[0], state[1], state[2], state[3] = width, value, need, position


def check_progress(state: I64, data: U8, field: str, offset: int) -> None:
    """Check that nothing has been fetched beyond the end and no code was too long.

    Raises
    ------
    CorruptError, TruncatedError
    """
    if state[TOO_LONG]:
        raise CorruptError("an exp-Golomb code is too long", field, offset, None, _MAX_PREFIX)
    if state[POSITION] > data.size:
        found = f"{data.size} bytes"
        raise TruncatedError("the sub-stream is too short", field, offset, found, "more")


def check_end(state: I64, data: U8, field: str, offset: int) -> None:
    """Check that the sub-stream is consumed and ends with a terminating bin (section 7.5).

    Raises
    ------
    CorruptError, TruncatedError
    """
    check_progress(state, data, field, offset)
    width, value, need, position = state[:4].tolist()
    if position != data.size:
        allowed = f"{data.size} bytes"
        raise CorruptError("the sub-stream is too long", field, offset, position, allowed)
    stop = (int(data[-1]) << (8 + need)) & 0xFF
    if value < (width - 2) << 7 or stop != 0x80:
        raise CorruptError("the sub-stream does not end as it has to", field, offset)
