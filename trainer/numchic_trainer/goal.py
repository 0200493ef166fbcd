# SPDX-License-Identifier: BSD-3-Clause
"""Finding the lambda that gives a wanted rate or quality."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from numchic_trainer.config import TrainConfig
from numchic_trainer.result import EncodeResult

_LOWEST, _HIGHEST = 1e-6, 1.0  # lambdas outside make no picture that anybody wants
_MAX_ATTEMPTS = 10
_MAX_CHANGE = math.log(5.0)  # as far as slopes can be believed
_BPP_TOLERANCE = 0.02
_PSNR_TOLERANCE = 0.1
_NEAR = 4  # tolerances
_N_AVERAGED = 3


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
        slope of the last two attempts or the usual one; from several attempts near the goal, to
        the mean of where their lines lead.

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
        slope = self._slope_of(attempts)
        logarithms = []
        for attempt in self._latest(attempts):
            change = (self.wanted - attempt.found) / slope
            change = min(max(change, -_MAX_CHANGE), _MAX_CHANGE)
            logarithms.append(math.log(attempt.lmbda) + change)
        lmbda = math.exp(sum(logarithms) / len(logarithms))
        lmbda = min(max(lmbda, _LOWEST), _HIGHEST)
        if any(math.isclose(lmbda, a.lmbda, rel_tol=1e-9) for a in attempts):
            return None
        return lmbda

    def _slope_of(self, attempts: Sequence[Attempt]) -> float:
        if len(attempts) < 2:
            return self.slope
        # Training goes on meanwhile, so that a slope is not to be believed beyond reason.
        return max(min(_slope(*attempts[-2:]), self.slope / 4), self.slope * 2)

    def _latest(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Attempts to start from: the last one or, near the goal, the latest ones near it.

        What one of them finds is a little accidental: steps that follow the last one alone would
        jump to and fro.
        """
        if not self.near(attempts[-1].found):
            return attempts[-1:]
        return [a for a in attempts[-_N_AVERAGED:] if self.near(a.found)]


def _slope(a: Attempt, b: Attempt) -> float:
    return (a.found - b.found) / math.log(a.lmbda / b.lmbda)


class Search:
    """The way to the goal of the settings, if they have one.

    Attributes
    ----------
    lmbda : float
        The present attempt has this lambda.
    attempts : list of Attempt
        These attempts missed the goal.
    nearest : EncodeResult or None
        What came nearest to it so far.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._goal = Goal.of(config)
        self.lmbda = config.lmbda
        self.attempts: list[Attempt] = []
        self.nearest: EncodeResult | None = None

    def ends_with(self, result: EncodeResult) -> bool:
        """Take the result of an attempt in; if there is to be another one, choose its lambda."""
        if self._goal is None:
            self.nearest = result
            return True
        found = self._found(result)
        met = self._goal.met(found)
        if self.nearest is None or self._distance(result) < self._distance(self.nearest):
            self.nearest = dataclasses.replace(result, goal_met=met)
        if met:
            return True
        self.attempts.append(Attempt(result.lmbda, found))
        lmbda = self._goal.next_lmbda(self.attempts)
        self.lmbda = lmbda or self.lmbda
        return lmbda is None

    @property
    def is_near(self) -> bool:
        """Whether a short refinement of the last attempt can do the rest."""
        return self._goal is not None and self._goal.near(self.attempts[-1].found)

    def outcome(self, last: EncodeResult) -> EncodeResult:
        """Return the nearest result, with the time and the log of all attempts.

        The row of the log that tells of its stream comes again at the end.
        """
        nearest = self.nearest or last
        log = last.log if nearest.log[-1] in last.log[-1:] else [*last.log, nearest.log[-1]]
        return dataclasses.replace(nearest, cpu_seconds=last.cpu_seconds, log=log)

    def _found(self, result: EncodeResult) -> float:
        assert self._goal is not None
        return self._goal.measure(result.bits_per_pixel, result.psnr_db)

    def _distance(self, result: EncodeResult) -> float:
        assert self._goal is not None
        return abs(self._found(result) - self._goal.wanted)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        nearest = None
        if self.nearest is not None:
            nearest = dataclasses.asdict(self.nearest)
            nearest |= {"stream": self.nearest.stream.hex(), "log": self.nearest.log[-1:]}
        return {"lmbda": self.lmbda, "attempts": self.attempts, "nearest": nearest}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        self.lmbda = state["lmbda"]
        self.attempts = [Attempt(*attempt) for attempt in state["attempts"]]
        nearest = state["nearest"]
        if nearest is not None:
            self.nearest = EncodeResult(**nearest | {"stream": bytes.fromhex(nearest["stream"])})
