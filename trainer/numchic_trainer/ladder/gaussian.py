# SPDX-License-Identifier: BSD-3-Clause
"""Parameters of Gaussian distributions (ladder-stochastic, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

_EPS = 1e-6  # least variance of the stable map


class Mean:
    """Mean of a distribution.

    Parameters
    ----------
    mean : Tensor
    """

    def __init__(self, mean: Tensor) -> None:
        self._mean = mean

    def get(self) -> Tensor:
        """Return the mean."""
        return self._mean


class LogVar:
    """Log-variance of a distribution, by way of a variance that cannot overflow (section 3).

    Parameters
    ----------
    raw : Tensor
        Raw log-variance r, as it leaves a convolution. The variance is exp(r) + 1e-6 up to r = 0
        and 1 + r + 1e-6 from there on.
    """

    def __init__(self, raw: Tensor) -> None:
        self.raw = raw

    def get_var(self) -> Tensor:
        """Return the variance."""
        # The branch that is not selected must not overflow: its gradient would be NaN.
        below = torch.exp(torch.where(self.raw > 0, 0.0, self.raw))
        return torch.where(self.raw > 0, 1.0 + self.raw, below) + _EPS

    def get_std(self) -> Tensor:
        """Return the standard deviation, at least 1e-3."""
        return torch.sqrt(self.get_var())

    def get(self) -> Tensor:
        """Return the logarithm of the variance."""
        return torch.log(self.get_var())


class NaiveLogVar(LogVar):
    """Log-variance by the ordinary exponential, which can underflow and overflow (section 3)."""

    def get_var(self) -> Tensor:
        """Return the variance."""
        return torch.exp(self.raw)

    def get(self) -> Tensor:
        """Return the logarithm of the variance."""
        return self.raw


class Gaussian(NamedTuple):
    """A normal distribution and what it is made of."""

    mean: Mean
    logvar: LogVar
    distribution: Normal

    @classmethod
    def of(cls, mean: Mean, logvar: LogVar) -> Gaussian:
        """Build the distribution.

        Raises
        ------
        ValueError
            A mean is NaN, or a standard deviation is NaN, 0 or infinite.
        """
        std = logvar.get_std()
        if torch.isinf(std).any():  # all other errors are noticed by the distribution itself
            raise ValueError("the standard deviation of a Gaussian is infinite")
        return cls(mean, logvar, Normal(mean.get(), std, validate_args=True))

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussian:
        """Build the distribution of the parameters that ``function`` gives: cropped or copied."""
        logvar = type(self.logvar)(function(self.logvar.raw))
        return Gaussian.of(Mean(function(self.mean.get())), logvar)
