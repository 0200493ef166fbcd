# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian numbers that depend on seed, step and index alone.

So they can be drawn in any order, by any number of threads, and need no state. The generator is
Threefry-2x32 with 20 rounds (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011): its
key is the seed, its counter a pair of numbers (index, step). Each call gives 64 bits, of which Box
and Muller make two normal numbers.

Logarithm, sine and cosine are polynomials, as in :mod:`numchic_trainer.kernels.elementary`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.elementary import log2
from numchic_trainer.kernels.fma import fma

BLOCK = 512
"""Numbers of a block, which is drawn as a whole."""

_HALF = BLOCK // 2
_PARITY = np.uint32(0x1BD11BDA)
_SHIFT = np.uint32(1)

_UNIT = np.float32(2.0**-31)
_LEAST = np.float32(2.0**-32)
_MINUS_TWO_LN2 = np.float32(-2.0 * np.log(2.0))
_ANGLE, _ZERO_ANGLE = 0x3FFFFFFF, 0x20000000  # 30 bits for an eighth of a turn either way
_RADIANS = np.float32(np.pi / 4 * 2.0**-29)
_ASIDE, _OPPOSITE = 0x40000000, 0x80000000
_ONE = np.float32(1.0)
_S3, _S5, _S7 = np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040)
_C2, _C4 = np.float32(-1 / 2), np.float32(1 / 24)
_C6, _C8 = np.float32(-1 / 720), np.float32(1 / 40320)


class Draw(NamedTuple):
    """What one draw of numbers of any index depends on.

    ``low`` and ``high`` are those 32 bits of the seed.
    """

    low: np.uint32
    high: np.uint32
    step: np.uint32

    @classmethod
    def of(cls, seed: int, step: int) -> Draw:
        """Draw of a seed and a step, which are not negative and less than 2^64 and 2^32."""
        return cls(np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), np.uint32(step))


@kernel(inline=True)
def _add(x: np.uint32, y: np.uint32, n: int) -> np.uint32:
    """X + y + n modulo 2^32; the casts make it an operation on 32 bits."""
    return np.uint32((np.int64(x) + np.int64(y) + n) & 0xFFFFFFFF)


@kernel(inline=True)
def _mix(x: np.uint32, y: np.uint32, bits: int) -> tuple[np.uint32, np.uint32]:
    """One round."""
    x, wide = _add(x, y, 0), np.int64(y)
    y = np.uint32(((wide << bits) | (wide >> (32 - bits))) & 0xFFFFFFFF)
    return x, np.uint32(x ^ y)


@kernel(inline=True)
def threefry(
    key0: np.uint32, key1: np.uint32, counter0: np.uint32, counter1: np.uint32
) -> tuple[np.uint32, np.uint32]:
    """Return two words of 32 random bits for a key and a counter of two such words each."""
    key2 = np.uint32(key0 ^ key1 ^ _PARITY)
    x, y = _add(counter0, key0, 0), _add(counter1, key1, 0)
    x, y = _mix(x, y, 13)
    x, y = _mix(x, y, 15)
    x, y = _mix(x, y, 26)
    x, y = _mix(x, y, 6)
    x, y = _add(x, key1, 0), _add(y, key2, 1)
    x, y = _mix(x, y, 17)
    x, y = _mix(x, y, 29)
    x, y = _mix(x, y, 16)
    x, y = _mix(x, y, 24)
    x, y = _add(x, key2, 0), _add(y, key0, 2)
    x, y = _mix(x, y, 13)
    x, y = _mix(x, y, 15)
    x, y = _mix(x, y, 26)
    x, y = _mix(x, y, 6)
    x, y = _add(x, key0, 0), _add(y, key1, 3)
    x, y = _mix(x, y, 17)
    x, y = _mix(x, y, 29)
    x, y = _mix(x, y, 16)
    x, y = _mix(x, y, 24)
    x, y = _add(x, key1, 0), _add(y, key2, 4)
    x, y = _mix(x, y, 13)
    x, y = _mix(x, y, 15)
    x, y = _mix(x, y, 26)
    x, y = _mix(x, y, 6)
    x, y = _add(x, key2, 0), _add(y, key0, 5)
    return x, y


@kernel()
def gaussian(draw: Draw, block: int, out: F32) -> None:
    """Draw the normal numbers of indices 512 block to 512 block + 511.

    Index 512 block + j, j < 256, has the cosine of call 256 block + j, the one 256 later its sine.

    Parameters
    ----------
    draw : Draw
    block : int
        At least 0, less than 2^24.
    out : float32[512]
    """
    cosines, sines = out[:_HALF], out[_HALF:]
    for k in range(_HALF):
        x, y = threefry(draw.low, draw.high, np.uint32(block * _HALF + k), draw.step)
        uniform = fma(np.float32(np.int32(x >> _SHIFT)), _UNIT, _LEAST)
        radius = np.sqrt(_MINUS_TWO_LN2 * log2(uniform))
        # An angle of -1/8 to 1/8 turn, and two bits that say in which quarter it is.
        angle = np.float32(np.int32(np.int64(y & _ANGLE) - _ZERO_ANGLE)) * _RADIANS
        z = angle * angle
        sine = fma(fma(fma(_S7, z, _S5), z, _S3), z, _ONE) * angle
        cosine = fma(fma(fma(fma(_C8, z, _C6), z, _C4), z, _C2), z, _ONE)
        radius = -radius if y & _OPPOSITE else radius
        turned = (y & _ASIDE) != 0
        cosines[k] = radius * (sine if turned else cosine)
        sines[k] = radius * (cosine if turned else sine)
