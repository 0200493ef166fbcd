# SPDX-License-Identifier: BSD-3-Clause
"""Soft quantisation of all latents and its derivative in one sweep (training, section 3.1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.elementary import exp
from numchic_trainer.kernels.fma import fma
from numchic_trainer.kernels.random import BLOCK, Draw, gaussian
from numchic_trainer.kernels.workers import Workers, partition

_LEAST = 32  # blocks of a part

_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_MIN_EXPONENT = np.float32(-40.0)  # tanh is 1, and two of its slopes multiplied a normal number


class _Rounding(NamedTuple):
    """Gain, inverse of the temperature, half that of tanh(1/(2 T)), deviation of the noise."""

    gain: np.float32
    inverse: np.float32
    stretch: np.float32
    noise: np.float32


def soft_quantise(
    latents: F32,
    gain: float,
    temperature: float,
    noise: float,
    seed: int,
    step: int,
    symbols: F32,
    slopes: F32,
    workers: Workers,
) -> None:
    """Round softly, add Gaussian noise, round softly again.

    Parameters
    ----------
    latents : float32[N]
    gain : float
        Factor of the latents.
    temperature : float
        Above 0; see :func:`numchic_trainer.model.quantise.soft_round`.
    noise : float
        Standard deviation.
    seed, step : int
        Less than 2^64 and 2^32. The noise of a latent depends on them and its index alone.
    symbols, slopes : float32[N]
        Outputs: what comes out, and its derivative by the latent.
    workers : Workers
    """
    inverse = 1.0 / temperature
    stretch = 0.5 / math.tanh(0.5 * inverse)
    rounding = _Rounding(*map(np.float32, (gain, inverse, stretch, noise)))
    draw = Draw.of(seed, step)
    parts = partition(-(-latents.size // BLOCK), _LEAST)

    def work(part: int) -> None:
        _quantise(latents, rounding, draw, *parts[part], symbols, slopes)

    workers.run(work, len(parts))


@kernel(inline=True)
def _soft_round(x: np.float32, rounding: _Rounding) -> tuple[np.float32, np.float32]:
    """Value and derivative.

    With e = exp(-2 |z|), tanh |z| = (1 - e) / (1 + e); its derivative is 4 e / (1 + e)^2.
    """
    floor = np.floor(x)
    z = (x - floor - _HALF) * rounding.inverse
    exponent = -_TWO * z if z > _ZERO else _TWO * z
    e, not_e = exp(_MIN_EXPONENT if exponent < _MIN_EXPONENT else exponent)
    scale = _ONE / (_ONE + e)
    tanh = not_e * scale
    value = fma(tanh if z > _ZERO else -tanh, rounding.stretch, _HALF) + floor
    return value, (_TWO * scale) * (_TWO * scale) * e * (rounding.stretch * rounding.inverse)


@kernel(allocates=True)
def _quantise(
    latents: F32,
    rounding: _Rounding,
    draw: Draw,
    start: int,
    end: int,
    symbols: F32,
    slopes: F32,
) -> None:
    """Quantise the blocks ``start`` to ``end`` - 1."""
    gain, noise = rounding.gain, rounding.noise
    drawn = np.empty(BLOCK, np.float32)
    for block in range(start, end):
        gaussian(draw, block, drawn)
        first = block * BLOCK
        x, y = latents[first : first + BLOCK], symbols[first : first + BLOCK]
        slope = slopes[first : first + BLOCK]
        for k in range(x.size):
            rounded, slope0 = _soft_round(gain * x[k], rounding)
            y[k], slope1 = _soft_round(fma(noise, drawn[k], rounded), rounding)
            slope[k] = gain * slope0 * slope1
