# SPDX-License-Identifier: BSD-3-Clause
"""Structural similarity as a distortion, at one scale and at several.

Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural
similarity (2004). Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality
assessment (2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from numchic_trainer.training.distortion import Kept, Planes

_RADIUS = 5
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2  # of samples in [0, 1]
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
_LEAST = 1e-6  # powers of nothing have no finite gradient

# Times 1 - index. With these, crops of four photographs have on average the rate that they have
# with squared error and the same lambda (4e-4 and 2e-3, lop, 150 iterations; single ones would need
# 0.005 to 0.017, and 0.019 to 0.11).
_SSIM_GAIN = 0.01
_MS_SSIM_GAIN = 0.05


class _Scale(NamedTuple):
    """The original at one scale: samples, and their local means and variances."""

    samples: Tensor
    mean: Tensor
    variance: Tensor


class Similarity:
    """Distortion gain x (1 - index), the index being the mean over all samples of all planes.

    Windows are Gaussian, 11 x 11 with sigma = 1.5, one around every sample. Planes are continued by
    reflection (as far as they reach; smaller ones have smaller windows): if all windows lay inside
    the picture, as in the papers, its outermost samples would have nearly no weight.

    Parameters
    ----------
    name : str
        What logs call it.
    gain : float
    weights : sequence of float
        Exponent of every scale, finest first; their sum is 1. Planes whose coarsest scale would
        have a side of less than 11 samples have fewer scales, with exponents in proportion: all
        five need 176.
    """

    precision = torch.float64

    def __init__(self, name: str, gain: float, weights: Sequence[float]) -> None:
        self.name = name
        self.gain = gain
        self.weights = weights
        self._scales = Kept(lambda original: [self._analysed(x) for x in _stacks(original)])

    def __call__(self, decoded: Planes, original: Planes) -> Tensor:
        """Distortion of a decoded picture, a scalar."""
        total, n_samples = decoded[0].new_zeros(()), 0
        for x, scales in zip(_stacks(decoded), self._scales(original), strict=True):
            total = total + x[0, 0].numel() * self._indices(x, scales).sum()
            n_samples += x.numel()
        return self.gain * (1.0 - total / n_samples)

    def window(self, rows: slice, columns: slice) -> Similarity:  # noqa: ARG002
        """Return the same measure for a window of the picture."""
        return Similarity(self.name, self.gain, self.weights)

    def _n_scales(self, x: Tensor) -> int:
        side, most = min(x.shape[-2:]), len(self.weights)
        return sum(k == 0 or side >> k > 2 * _RADIUS for k in range(most))

    def _analysed(self, y: Tensor) -> list[_Scale]:
        """Look at every scale of original planes (1, C, h, w)."""
        scales = []
        for k in range(self._n_scales(y)):
            y = F.avg_pool2d(y, 2) if k else y
            mean, square = _blurred([y, y**2])
            scales.append(_Scale(y, mean, square - mean**2))
        return scales

    def _indices(self, x: Tensor, scales: list[_Scale]) -> Tensor:
        """Index of every plane of (1, C, h, w)."""
        weights = self.weights[: len(scales)]
        index = x.new_ones(())
        for k, (y, weight) in enumerate(zip(scales, weights, strict=True)):
            x = F.avg_pool2d(x, 2) if k else x
            mean, square, product = _blurred([x, x**2, x * y.samples])
            variance, covariance = square - mean**2, product - mean * y.mean
            similarity = (2.0 * covariance + _C2) / (variance + y.variance + _C2)
            if k == len(scales) - 1:
                brightness = (2.0 * mean * y.mean + _C1) / (mean**2 + y.mean**2 + _C1)
                similarity = brightness * similarity
            factor = similarity.mean(dim=(0, 2, 3))
            if len(scales) > 1:
                factor = factor.clamp(min=_LEAST) ** (weight / sum(weights))
            index = index * factor
        return index


def _blurred(maps: list[Tensor]) -> Sequence[Tensor]:
    """Local means of maps (1, C, h, w)."""
    x = torch.cat(maps, 1)
    height, width = x.shape[-2:]
    rows, columns = min(_RADIUS, height - 1), min(_RADIUS, width - 1)
    x = F.pad(x, (columns, columns, rows, rows), mode="reflect")
    n = x.shape[1]  # every channel by itself, which is many times faster than as a batch
    window = _gaussian(min(2 * _RADIUS + 1, x.shape[2]), x)
    x = F.conv2d(x, window.view(1, 1, -1, 1).expand(n, -1, -1, -1), groups=n)
    window = _gaussian(min(2 * _RADIUS + 1, x.shape[3]), x)
    x = F.conv2d(x, window.view(1, 1, 1, -1).expand(n, -1, -1, -1), groups=n)
    return torch.chunk(x, len(maps), dim=1)


def _stacks(planes: Planes) -> list[Tensor]:
    """Put planes of the same size into one tensor (1, C, h, w); empty ones are left out."""
    if planes[0].shape == planes[1].shape:
        return [torch.stack(planes)[None]]
    stacks = [planes[0][None, None], torch.stack(planes[1:])[None]]
    return [stack for stack in stacks if stack.numel()]


def _gaussian(length: int, like: Tensor) -> Tensor:
    distance = torch.arange(length, dtype=like.dtype, device=like.device) - (length - 1) / 2
    window = torch.exp(-(distance**2) / (2 * _SIGMA**2))
    return window / window.sum()


def ssim() -> Similarity:
    """Structural similarity at one scale."""
    return Similarity("ssim", _SSIM_GAIN, (1.0,))


def ms_ssim() -> Similarity:
    """Structural similarity at up to five scales."""
    return Similarity("ms-ssim", _MS_SSIM_GAIN, _WEIGHTS)
