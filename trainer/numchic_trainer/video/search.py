# SPDX-License-Identifier: BSD-3-Clause
"""Finding the lambda that gives a whole video a wanted rate or quality (video-training, 13)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from numchic_trainer.config import Preset
from numchic_trainer.goal import Attempt, Goal
from numchic_trainer.settings import MAX_LEVELS
from numchic_trainer.video.config import VideoConfig
from numchic_trainer.video.result import VideoResult

_MAX_ATTEMPTS = 10
_MAX_SHORT_ATTEMPTS = 5
_SHORT = 5  # how much shorter an encode is that only looks for lambda ...
_LEAST = 100  # ... but of fewer iterations the quality hardly depends on lambda

Encode = Callable[[VideoConfig], VideoResult]


def search(config: VideoConfig, preset: Preset, encode: Encode) -> VideoResult:
    """Encode, and again until the goal of the settings is met, if they have one.

    Short encodes find out about where lambda is, full ones the rest. All have the same ratios
    between the lambdas of the frames.

    Parameters
    ----------
    config : VideoConfig
    preset : str
        That of I frames in short encodes, which would choose others otherwise.
    encode : callable
        Encodes the video with other settings.

    Returns
    -------
    VideoResult
        Of a full encode; the one nearest to the goal if it is out of reach.
    """
    goal = Goal.of(config)
    if goal is None:
        return encode(config)
    first, n_attempts = _short_search(goal, _shorter(config, preset), encode)
    lmbda: float | None = first
    attempts: list[Attempt] = []
    results: list[VideoResult] = []
    while lmbda is not None and n_attempts + len(attempts) < _MAX_ATTEMPTS:
        result, attempt = _try(goal, encode, config, lmbda)
        attempts.append(attempt)
        results.append(dataclasses.replace(result, goal_met=goal.met(attempt.found)))
        lmbda = None if goal.met(attempt.found) else goal.next_lmbda(attempts)
    distances = [abs(attempt.found - goal.wanted) for attempt in attempts]
    return results[distances.index(min(distances))]


def _short_search(goal: Goal, config: VideoConfig, encode: Encode) -> tuple[float, int]:
    """Return the lambda to go on with, and how many encodes that took."""
    lmbda, attempts = config.lmbda, list[Attempt]()
    while len(attempts) < _MAX_SHORT_ATTEMPTS:
        _, attempt = _try(goal, encode, config, lmbda)
        attempts.append(attempt)
        following = None if goal.met(attempt.found) else goal.next_lmbda(attempts)
        if following is None:
            break
        lmbda = following
        if goal.near(attempt.found):
            break
    return lmbda, len(attempts)


def _try(
    goal: Goal, encode: Encode, config: VideoConfig, lmbda: float
) -> tuple[VideoResult, Attempt]:
    result = encode(dataclasses.replace(config, lmbda=lmbda))
    return result, Attempt(lmbda, goal.measure(result.bits_per_pixel, result.psnr_db))


def _shorter(config: VideoConfig, preset: Preset) -> VideoConfig:
    inter = (_share(config.n_inter_iterations(level)) for level in range(MAX_LEVELS))
    return dataclasses.replace(
        config,
        preset=preset,
        iterations=_share(config.n_iterations(preset)),
        inter_iterations=tuple(inter),
    )


def _share(n_iterations: int) -> int:
    return min(n_iterations, max(n_iterations // _SHORT, _LEAST))
