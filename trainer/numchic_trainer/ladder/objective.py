# SPDX-License-Identifier: BSD-3-Clause
"""What a ladder and decoder networks are trained for (ladder-stochastic, 14)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from numchic_trainer.ladder.decoders import SharedDecoder
from numchic_trainer.ladder.mosaic import LMBDA, Mosaic
from numchic_trainer.ladder.network import Ladder
from numchic_trainer.ladder.stochastic import StochasticData


class Objective(NamedTuple):
    """Loss of a batch and its parts.

    ``loss`` is a scalar Tensor with gradient; ``mse`` in [0, 1] units; ``bpp`` the rate of the
    latents under the decoder's own model and ``kl_bpp`` their KL divergence, both in bits per
    pixel; ``qvar_max`` the largest log-variance of the posteriors.
    """

    loss: Tensor
    mse: float
    bpp: float
    kl_bpp: float
    qvar_max: float


def imitation(ladder: Ladder, mosaic: Mosaic, n: int, kappa: float) -> Tensor:
    """Squared distance of the ladder's latents from those of an encode, summed over the levels.

    Parameters
    ----------
    ladder : Ladder
    mosaic : Mosaic
    n : int
        Number of windows.
    kappa : float
        Weight of the KL divergence in bits per pixel.
    """
    pictures, wanted = mosaic.windows(n)
    data = ladder(pictures, LMBDA, sample=False)
    pairs = zip(data, wanted, strict=True)
    distance = sum(torch.mean((level["z"] - z) ** 2) for level, z in pairs)
    return distance + kappa * _kl_bits(data) / pictures[:, 0].numel()


def objective(
    data: list[StochasticData],
    decoder: SharedDecoder,
    pictures: Tensor,
    lmbda: float,
    kappa: float,
    *,
    quantise: bool,
) -> Objective:
    """Rate-distortion loss of a batch, divided by the square root of lambda.

    Parameters
    ----------
    data : list of StochasticData
        The result of the ladder.
    decoder : SharedDecoder
        Decoder networks for pictures of this size.
    pictures : Tensor, shape (B, 3, H, W)
        RGB in [0, 1]; H and W multiples of 128.
    lmbda : float
    kappa : float
        Weight of the KL divergence beside the rate of the decoder.
    quantise : bool
        Quantise the latents softly, as in the training of one picture.
    """
    networks = decoder.networks(lmbda)
    n_pixels = pictures[:, 0].numel()
    mse, bits = pictures.new_zeros(()), pictures.new_zeros(())
    for b, picture in enumerate(pictures):
        output = decoder([level["z"][b, 0] for level in data], networks, quantise=quantise)
        mse = mse + torch.mean((output["raw_out"][0] - picture) ** 2) / len(pictures)
        bits = bits + output["rate"]
    kl = _kl_bits(data)
    loss = mse + lmbda / n_pixels * (bits + kappa * kl)
    return Objective(
        loss / math.sqrt(lmbda),
        mse.item(),
        bits.item() / n_pixels,
        kl.item() / n_pixels,
        max(level["qvar_max"].item() for level in data),
    )


def _kl_bits(data: list[StochasticData]) -> Tensor:
    total = data[0]["z"].new_zeros(())
    for level in data:
        assert level["kl_samplewise"] is not None  # in training there always is a posterior
        total = total + level["kl_samplewise"].sum()
    return total / math.log(2)
