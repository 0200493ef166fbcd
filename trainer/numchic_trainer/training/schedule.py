# SPDX-License-Identifier: BSD-3-Clause
"""Schedules as pure functions of the step (training, sections 6 and 7)."""

from __future__ import annotations

import math

_LAST_LEARNING_RATE = 1e-5


def linear(start: float, end: float, step: int, n_steps: int) -> float:
    """Value after ``step`` of ``n_steps`` steps on a straight line."""
    return start + (end - start) * step / n_steps


def cosine_learning_rate(first: float, step: int, n_steps: int) -> float:
    """Learning rate that falls from ``first`` to 1e-5 along half a cosine."""
    share = 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
    return _LAST_LEARNING_RATE + (first - _LAST_LEARNING_RATE) * share


def warm_up_noise(lmbda: float) -> float:
    """Standard deviation of the Gaussian noise during warm-up."""
    return (0.747 - 0.432 * math.log10(lmbda)) / 10.0


def encoder_gain(lmbda: float) -> int:
    """Gain of the latents of a still picture (training, section 2.3)."""
    if lmbda < 2e-4:
        return 24
    return 20 if lmbda < 5e-4 else 16
