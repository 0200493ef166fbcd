# SPDX-License-Identifier: BSD-3-Clause
"""Quantisers of the latents (training, section 3.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

QuantizerType = Literal["softround_alone", "softround", "hardround", "ste", "none"]
NoiseType = Literal["kumaraswamy", "gaussian", "none"]


def soft_round(x: Tensor, temperature: float | Tensor) -> Tensor:
    """Round differentiably: temperature 0 is rounding, above 1 it is nearly the identity."""
    floor = torch.floor(x)
    slope = 2 * torch.tanh(torch.as_tensor(0.5 / temperature))
    return floor + torch.tanh((x - floor - 0.5) / temperature) / slope + 0.5


def sample_noise(
    like: Tensor,
    kind: NoiseType,
    parameter: float | Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Noise of the shape of ``like``.

    Parameters
    ----------
    like : Tensor
    kind : {"gaussian", "kumaraswamy", "none"}
    parameter : float
        Standard deviation of Gaussian noise; shape of Kumaraswamy noise, which lies in
        [-1/2, 1/2], is uniform for 1 and the more peaked the larger it is.
    generator : torch.Generator, optional
    """
    if kind == "none":
        return torch.zeros_like(like)
    if kind == "gaussian":
        return parameter * torch.randn(like.shape, generator=generator, device=like.device)
    uniform = torch.rand(like.shape, generator=generator, device=like.device)
    b = (2**parameter * (parameter - 1) + 1) / parameter
    return (1 - (1 - uniform) ** (1 / b)) ** (1 / parameter) - 0.5


def quantise(
    x: Tensor,
    quantizer_type: QuantizerType,
    noise_type: NoiseType = "none",
    temperature: float | Tensor = 0.35,
    noise_parameter: float | Tensor = 0.22,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Quantise scaled latents.

    Parameters
    ----------
    x : Tensor
    quantizer_type : str
        "softround" is soft rounding, noise, soft rounding; "softround_alone" a single soft
        rounding; "hardround" rounding, half to even, without gradient; "ste" the same with the
        gradient of soft rounding; "none" adds noise only.
    noise_type, noise_parameter : str, float
        See :func:`sample_noise`.
    temperature : float
        Temperature of :func:`soft_round`.
    generator : torch.Generator, optional
    """
    if quantizer_type == "hardround":
        return torch.round(x)
    if quantizer_type == "softround_alone":
        return soft_round(x, temperature)
    if quantizer_type == "ste":
        soft = soft_round(x, temperature)
        return soft + (torch.round(x) - soft).detach()
    noise = sample_noise(x, noise_type, noise_parameter, generator)
    if quantizer_type == "none":
        return x + noise
    if quantizer_type == "softround":
        return soft_round(soft_round(x, temperature) + noise, temperature)
    raise ValueError(f"unknown quantizer_type {quantizer_type!r}")
