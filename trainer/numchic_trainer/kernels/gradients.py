# SPDX-License-Identifier: BSD-3-Clause
"""What happens to the gradients of the networks before a step (training, sections 5 and 14)."""

from __future__ import annotations

import math

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel

_SMALL = 1e-6  # torch adds it to the norm
_LN2 = math.log(2.0)


@kernel()
def clip(gradients: F32, norm: float) -> float:
    """Scale gradients float32[N] in place so that their norm is at most ``norm``.

    Returns
    -------
    float
        The norm before. If it is not a number, so are all gradients afterwards.
    """
    squares = 0.0
    for k in range(gradients.size):
        squares += np.float64(gradients[k]) * np.float64(gradients[k])
    total = math.sqrt(squares)
    factor = norm / (total + _SMALL)
    if not factor >= 1.0:
        for k in range(gradients.size):
            gradients[k] *= np.float32(factor)
    return total


@kernel()
def add_network_rate(parameters: F32, steps: F32, weight: float, gradients: F32) -> float:
    """Estimate the bits of networks, 2 log2(1 + |w| / step) each, and add their gradient.

    Parameters
    ----------
    parameters : float32[N]
    steps : float32[N]
        Quantisation step, 0 for a parameter that does not count.
    weight : float
        Factor of the gradient.
    gradients : float32[N]
        The gradient times ``weight`` is added to it.

    Returns
    -------
    float
        Bits, not weighted.
    """
    total = 0.0
    for k in range(parameters.size):
        step = np.float64(steps[k])
        if step > 0.0:
            value = np.float64(parameters[k])
            total += math.log(1.0 + abs(value) / step)
            if value != 0.0:
                slope = 2.0 * weight / (_LN2 * (step + abs(value)))
                gradients[k] += np.float32(math.copysign(slope, value))
    return total * 2.0 / _LN2
