# SPDX-License-Identifier: BSD-3-Clause
"""Perceptual distortion: local statistics of features instead of samples (training, section 11).

Two pictures are near if, in windows of about 8 feature samples, every feature has the same mean and
standard deviation. Texture may then differ in its samples, and the synthesis can make it of common
randomness.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from numchic_trainer.training.distortion import Kept, Planes, SquaredError
from numchic_trainer.training.features import FeatureExtractor, FilterBank

_N_LEVELS = 5
_LOG2_SIGMA = 3.0  # windows of 2^3 feature samples
_MIN_VARIANCE = 5e-7
_MSE_WEIGHT = 0.2
_WD_WEIGHT = 0.8 / 200.0
_SQUARED_ERROR = SquaredError()


class Wasserstein:
    """Distortion D = 0.2 MSE + (0.8 / 200) WD of RGB pictures.

    Parameters
    ----------
    extractor : FeatureExtractor, optional
        Default: :class:`numchic_trainer.training.features.FilterBank`.
    """

    name = "wasserstein"
    precision = torch.float32  # an extractor may be a network

    def __init__(self, extractor: FeatureExtractor | None = None) -> None:
        self.extractor = extractor or FilterBank()
        self._features = Kept(lambda original: self.extractor(torch.stack(original)[None]))

    def __call__(self, decoded: Planes, original: Planes) -> Tensor:
        """Distortion of a decoded picture, a scalar."""
        features = self.extractor(torch.stack(decoded)[None])
        distance = wasserstein_distance(features, self._features(original))
        return _MSE_WEIGHT * _SQUARED_ERROR(decoded, original) + _WD_WEIGHT * distance

    def window(self, rows: slice, columns: slice) -> Wasserstein:  # noqa: ARG002
        """Return the same measure for a window of the picture."""
        return Wasserstein(self.extractor)


def wasserstein_distance(
    a: Sequence[Tensor], b: Sequence[Tensor], *, reference_gradient: bool = False
) -> Tensor:
    """Sum over feature maps and levels of the weighted squared difference of local statistics.

    Parameters
    ----------
    a, b : sequence of Tensor, shape (C, h, w)
        Feature maps of both pictures.
    reference_gradient : bool
        Cut the gradient of the standard deviations, a defect of the reference encoder: they then
        count in the value only. By default it passes, also through the clamp of the variance.

    Returns
    -------
    Tensor
        Scalar.
    """
    total = a[0].new_zeros(())
    for x, y in zip(a, b, strict=True):
        total = total + _map_distance(x, y, reference_gradient)
    return total


def _map_distance(a: Tensor, b: Tensor, reference_gradient: bool) -> Tensor:
    log2_sigma = a.new_full((1, *a.shape[1:]), _LOG2_SIGMA)
    total = torch.mean(_level_weight(log2_sigma, 0) * (a - b) ** 2)
    means, squares = [a, b], [a**2, b**2]
    for level in range(1, _N_LEVELS + 1):
        means = [_low_pass(x) for x in means]
        squares = [_low_pass(x) for x in squares]
        sigmas = [
            _deviation(e - m**2, reference_gradient) for m, e in zip(means, squares, strict=True)
        ]
        difference = (means[0] - means[1]) ** 2 + (sigmas[0] - sigmas[1]) ** 2
        total = total + torch.mean(_level_weight(log2_sigma, level) * difference)
        means, squares = [_halve(x) for x in means], [_halve(x) for x in squares]
        log2_sigma = _halve(_low_pass(log2_sigma))
    return total


def _level_weight(log2_sigma: Tensor, level: int) -> Tensor:
    return torch.clamp(1.0 - torch.abs(log2_sigma - level), min=0.0)


def _deviation(variance: Tensor, reference_gradient: bool) -> Tensor:
    clamped = variance + (torch.clamp(variance, min=_MIN_VARIANCE) - variance).detach()
    sigma = torch.sqrt(clamped)
    return sigma.detach() if reference_gradient else sigma


def _low_pass(x: Tensor) -> Tensor:
    """Filter (1/4, 1/2, 1/4) in both directions, zeros outside."""
    padded = F.pad(x, (1, 1, 1, 1))
    rows = 0.25 * (padded[:, :-2] + padded[:, 2:]) + 0.5 * padded[:, 1:-1]
    return 0.25 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.5 * rows[:, :, 1:-1]


def _halve(x: Tensor) -> Tensor:
    return x[:, ::2, ::2]
