# SPDX-License-Identifier: BSD-3-Clause
"""Bits of symbols under a Laplace distribution, in plain torch (training, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_PROBABILITY = 2.0**-16


def laplace_bits(symbols: Tensor, mu: Tensor, scale: Tensor) -> Tensor:
    """Bits of every symbol, at most 16; one that has 16 gives no gradient.

    The closed form does not lose digits in the tail, as the difference of two values of the
    cumulative distribution would.

    Parameters
    ----------
    symbols, mu, scale : Tensor of one shape

    Examples
    --------
    >>> bits = laplace_bits(torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2))
    >>> [round(b, 4) for b in bits.tolist()]
    [1.3457, 2.3831]
    """
    distance = torch.abs(symbols - mu)
    near = torch.exp(-torch.abs(distance - 0.5) / scale)
    far = torch.exp(-(distance + 0.5) / scale)
    probability = torch.where(distance >= 0.5, (near - far) / 2, 1 - (near + far) / 2)
    return -torch.log2(torch.clamp(probability, min=_MIN_PROBABILITY))
