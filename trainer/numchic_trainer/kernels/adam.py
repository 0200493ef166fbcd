# SPDX-License-Identifier: BSD-3-Clause
"""Adam for the latents in one sweep (training, section 5)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.fma import fma
from numchic_trainer.kernels.workers import Workers, partition

_LEAST = 16384  # latents of a part


class _Factors(NamedTuple):
    """Corrected learning rate, decays of the moments, weights of what is new, and eps."""

    step: np.float32
    beta1: np.float32
    new1: np.float32
    beta2: np.float32
    new2: np.float32
    eps: np.float32


def adam(
    parameters: F32,
    gradients: F32,
    slopes: F32,
    first: F32,
    second: F32,
    learning_rate: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
    workers: Workers,
) -> None:
    """Do step t of Adam in place.

    Parameters
    ----------
    parameters : float32[N]
    gradients, slopes : float32[N]
        The gradient is their product.
    first, second : float32[N]
        Mean of the gradient and of its square, zero before step 1.
    learning_rate : float
    betas : tuple of float
        Decay of the two means.
    eps : float
        Added to the root of the second mean, before that is corrected for its start with zero.
    t : int
        Number of the step, the first is 1.
    workers : Workers
    """
    beta1, beta2 = betas
    step = learning_rate * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t)
    values = (step, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps)
    factors = _Factors(*map(np.float32, values))
    parts = partition(parameters.size, _LEAST)

    def work(part: int) -> None:
        _adam(parameters, gradients, slopes, first, second, factors, *parts[part])

    workers.run(work, len(parts))


@kernel()
def _adam(
    parameters: F32,
    gradients: F32,
    slopes: F32,
    first: F32,
    second: F32,
    factors: _Factors,
    start: int,
    end: int,
) -> None:
    """Update the numbers ``start`` to ``end`` - 1."""
    x, m, v = parameters[start:end], first[start:end], second[start:end]
    g, slope = gradients[start:end], slopes[start:end]
    step, beta1, new1, beta2, new2, eps = factors
    for k in range(x.size):
        gradient = g[k] * slope[k]
        m[k] = fma(beta1, m[k], new1 * gradient)
        v[k] = fma(beta2, v[k], new2 * gradient * gradient)
        x[k] -= step * m[k] / (np.sqrt(v[k]) + eps)
