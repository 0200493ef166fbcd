# SPDX-License-Identifier: BSD-3-Clause
"""Normal samples that both sides know (coolchic-5, section 10; coolchic-4.2, section 11). Float.

The generator works in float64 and its samples are rounded to float32. This is the only stage that
uses library functions (logarithm, cosine); an error of theirs in the last place survives the
rounding once in some 10**8 samples.
"""

from __future__ import annotations

import functools

import numpy as np

from numchic_bitstream.arrays import F32, I64

_SEED = 18101995
_MULTIPLIER = 16807
_MODULUS = 2**31 - 1
_PI = 3.14159265359  # as truncated as in the format
_BLOCK = 1 << 16  # samples made at a time, which bounds the memory


def normal_samples(count: int, start: int = 0) -> F32:
    """Return the samples start, start + 1, ... of the generator, float32[count]."""
    samples = np.empty(count, np.float32)
    for done in range(0, count, _BLOCK):
        n = min(_BLOCK, count - done)
        uniform = _skip(_first_seeds()[: 2 * n], 2 * (start + done)) / _MODULUS
        radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
        samples[done : done + n] = radius * np.cos(2 * _PI * uniform[1::2])
    return samples


@functools.cache
def _first_seeds() -> I64:
    """Seeds of the first block of samples, two for each."""
    seeds = np.array([_SEED * _MULTIPLIER % _MODULUS], np.int64)
    while seeds.size < 2 * _BLOCK:
        seeds = np.concatenate([seeds, _skip(seeds, seeds.size)])
    seeds.flags.writeable = False
    return seeds


def _skip(seeds: I64, n_steps: int) -> I64:
    """Seeds that the generator reaches from each of some seeds after n steps."""
    return seeds * pow(_MULTIPLIER, n_steps, _MODULUS) % _MODULUS
