# SPDX-License-Identifier: BSD-3-Clause
"""Finding the lambda that gives a wanted rate or quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numchic_trainer.config import TrainConfig

_LOWEST, _HIGHEST = 1e-6, 1.0  # lambdas outside make no picture that anybody wants
_MAX_ATTEMPTS = 10
_MAX_CHANGE = math.log(5.0)  # as far as slopes can be believed
_BPP_TOLERANCE = 0.02
_PSNR_TOLERANCE = 0.1
_NEAR = 4  # tolerances


class Attempt(NamedTuple):
    """A lambda and the logarithm of the rate, or the PSNR, that it gave."""

    lmbda: float
    found: float


@dataclass(frozen=True)
class Goal:
    """A rate or a quality.

    Attributes
    ----------
    kind : {"bpp", "psnr"}
    wanted : float
        Natural logarithm of bits per pixel, or dB.
    tolerance : float
        In the same unit.
    slope : float
        Change with the natural logarithm of lambda on usual pictures.
    """

    kind: Literal["bpp", "psnr"]
    wanted: float
    tolerance: float
    slope: float

    @classmethod
    def of(cls, config: TrainConfig) -> Goal | None:
        """Goal of the settings, if they have one."""
        if config.target_bpp is not None:
            return cls("bpp", math.log(config.target_bpp), math.log1p(_BPP_TOLERANCE), -0.5)
        if config.target_psnr is not None:
            return cls("psnr", config.target_psnr, _PSNR_TOLERANCE, -2.8)
        return None

    def measure(self, bpp: float, psnr_db: float) -> float:
        """Where an encode is, in the unit of the goal."""
        return math.log(bpp) if self.kind == "bpp" else psnr_db

    def met(self, found: float) -> bool:
        """Whether that is near enough."""
        return abs(found - self.wanted) <= self.tolerance

    def near(self, found: float) -> bool:
        """Whether a short refinement of the trained model can do the rest."""
        return abs(found - self.wanted) <= _NEAR * self.tolerance

    def next_lmbda(self, attempts: Sequence[Attempt]) -> float | None:
        """Lambda to try next, or None if the goal is out of reach.

        A straight line in the logarithm of lambda is followed, at most a factor of 5 far, with the
        slope of the last two attempts or the usual one.

        Examples
        --------
        >>> goal = Goal("psnr", 35.0, 0.1, -2.8)
        >>> f"{goal.next_lmbda([Attempt(1e-3, 32.2)]):.2e}"
        '3.68e-04'
        >>> f"{goal.next_lmbda([Attempt(1e-3, 34.0), Attempt(1e-4, 36.0)]):.2e}"
        '3.16e-04'
        """
        if len(attempts) >= _MAX_ATTEMPTS:
            return None
        last = attempts[-1]
        change = (self.wanted - last.found) / self._slope_at(attempts)
        lmbda = last.lmbda * math.exp(min(max(change, -_MAX_CHANGE), _MAX_CHANGE))
        lmbda = min(max(lmbda, _LOWEST), _HIGHEST)
        if any(math.isclose(lmbda, a.lmbda, rel_tol=1e-9) for a in attempts):
            return None
        return lmbda

    def _slope_at(self, attempts: Sequence[Attempt]) -> float:
        if len(attempts) < 2:
            return self.slope
        # Training goes on meanwhile, so that a slope is not to be believed beyond reason.
        return max(min(_slope(*attempts[-2:]), self.slope / 4), self.slope * 2)


def _slope(a: Attempt, b: Attempt) -> float:
    return (a.found - b.found) / math.log(a.lmbda / b.lmbda)
