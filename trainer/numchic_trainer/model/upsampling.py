# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling of latents in float, for training (coolchic-5, section 9; training, 2.5).

Filters are evaluated in the separable form in training as well: it is the same function as the
two-dimensional one, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numchic_trainer.kernels.upsampling import HALF
from numchic_trainer.model.arrays import has_kernels
from numchic_trainer.model.functions import upsample
from numchic_trainer.model.module import ParameterModule

# First halves of the initial kernels; both signs flipped, harmless since applied twice.
_BICUBIC = (0.0351562, 0.1054687, -0.2617187, -0.8789063)
_BILINEAR = (0.25, 0.75)


class UpsamplingSeparableSymmetricConvTranspose2d(ParameterModule):
    """Separable, symmetric transposed filter that doubles the size; borders are replicated.

    Parameters
    ----------
    kernel_size : int
        Even, at least 4.

    Attributes
    ----------
    weight : Parameter, shape (kernel_size / 2,)
        First half of the kernel.
    bias : Parameter, shape (1,)
        Part of the stream, never used.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        if kernel_size < 4 or kernel_size % 2:
            raise ValueError(f"kernel_size must be even and at least 4, not {kernel_size}")
        self.weight = nn.Parameter(torch.empty(kernel_size // 2))
        self.bias = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.initialize_parameters()

    def initialize_parameters(
        self,
        generator: torch.Generator | None = None,  # noqa: ARG002 - nothing is drawn here
    ) -> None:
        """Set a bicubic kernel, below 8 taps a bilinear one, zeros outside; the bias is zero."""
        half = _BICUBIC if self.weight.numel() >= 4 else _BILINEAR
        with torch.no_grad():
            self.bias.zero_()
            self.weight.zero_()
            self.weight[-len(half) :] = torch.tensor(half)

    def forward(self, x: Tensor) -> Tensor:
        """Double the size of a tensor of shape (B, C, H, W)."""
        kernel = torch.cat([self.weight, self.weight.flip(0)])
        return _double(_double(x, kernel, 3), kernel, 2)


def _double(x: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Polyphase form of section 9.4 along one dimension."""
    half, n = kernel.numel() // 2, x.shape[dim]
    index = torch.arange(-half, n + half, device=x.device).clamp(0, n - 1)
    padded = x.index_select(dim, index)
    phases = []
    for e in (0, 1):
        r = (e + half - 1) % 2
        start = half + (e + half - 1 - r) // 2
        terms = [kernel[r + 2 * u] * padded.narrow(dim, start - u, n) for u in range(half)]
        phases.append(torch.stack(terms).sum(0))
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)


class UpsamplingSeparableSymmetricConv2d(ParameterModule):
    """Separable, symmetric filter with zero padding and a residual connection.

    Parameters
    ----------
    kernel_size : int
        Odd.

    Attributes
    ----------
    weight : Parameter, shape ((kernel_size + 1) / 2,)
        First half of the kernel and its centre.
    bias : Parameter, shape (1,)
        Part of the stream, never used.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        self.weight = nn.Parameter(torch.empty((kernel_size + 1) // 2))
        self.bias = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.initialize_parameters()

    def initialize_parameters(
        self,
        generator: torch.Generator | None = None,  # noqa: ARG002 - nothing is drawn here
    ) -> None:
        """Set a Dirac kernel; the bias is zero."""
        with torch.no_grad():
            self.bias.zero_()
            self.weight.zero_()
            self.weight[-1] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Filter a tensor of shape (B, 1, H, W)."""
        return _filter(_filter(x, self.weight, 3), self.weight, 2) + x


def _filter(x: Tensor, half: Tensor, dim: int) -> Tensor:
    """Symmetric filter along one dimension, as sums of shifted slices.

    On a CPU a convolution with one channel spends its time on everything but arithmetic.
    """
    reach, n = half.numel() - 1, x.shape[dim]
    margins = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
    padded = F.pad(x, margins)
    y = half[reach] * x
    for t in range(reach):
        y = y + half[t] * (padded.narrow(dim, t, n) + padded.narrow(dim, 2 * reach - t, n))
    return y


_Double = UpsamplingSeparableSymmetricConvTranspose2d
_Filter = UpsamplingSeparableSymmetricConv2d


class Upsampling(ParameterModule):
    """Turns latents of several resolutions into dense latents.

    Parameters
    ----------
    ups_k_size : int
        Size of the x2 filters; even, at least 4.
    ups_preconcat_k_size : int
        Size of the pre-concatenation filters; odd.
    n_ups_kernel, n_ups_preconcat_kernel : int
        Number of different filters of each kind. Filter 0 serves the coarsest step; with fewer
        filters than steps the last one serves all finer steps.
    """

    def __init__(
        self,
        ups_k_size: int,
        ups_preconcat_k_size: int,
        n_ups_kernel: int,
        n_ups_preconcat_kernel: int,
    ) -> None:
        super().__init__()
        self.x2 = nn.ModuleList(
            UpsamplingSeparableSymmetricConvTranspose2d(ups_k_size) for _ in range(n_ups_kernel)
        )
        self.preconcat = nn.ModuleList(
            UpsamplingSeparableSymmetricConv2d(ups_preconcat_k_size)
            for _ in range(n_ups_preconcat_kernel)
        )

    def forward(self, decoder_side_latent: Sequence[Tensor]) -> Tensor:
        """Upsample latents.

        Parameters
        ----------
        decoder_side_latent : sequence of Tensor, shape (B, C_i, H / 2^i, W / 2^i)
            Finest first, sizes rounded up.

        Returns
        -------
        Tensor, shape (B, sum of C_i, H, W)
            Channels in the order of the latents.
        """
        *finer, dense = decoder_side_latent
        x2, preconcat = self._filters(len(finer))
        x2_weights, preconcat_weights = [f.weight for f in x2], [f.weight for f in preconcat]
        fits = all(w.numel() <= HALF for w in x2_weights + preconcat_weights)
        if fits and all(x.shape[:2] == (1, 1) and has_kernels(x) for x in decoder_side_latent):
            latents = [latent[0, 0] for latent in decoder_side_latent]
            return upsample(latents, x2_weights, preconcat_weights)[None]
        for latent, double, single in zip(reversed(finer), x2, preconcat, strict=True):
            height, width = latent.shape[-2:]
            dense = torch.cat([single(latent), double(dense)[..., :height, :width]], 1)
        return dense

    def _filters(self, n_steps: int) -> tuple[list[_Double], list[_Filter]]:
        """Filters of every step, coarsest first."""
        x2 = cast("list[_Double]", list(self.x2))
        preconcat = cast("list[_Filter]", list(self.preconcat))
        return (
            [x2[min(step, len(x2) - 1)] for step in range(n_steps)],
            [preconcat[min(step, len(preconcat) - 1)] for step in range(n_steps)],
        )
