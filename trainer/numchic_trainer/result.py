# SPDX-License-Identifier: BSD-3-Clause
"""What an encode tells: on its way and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Row = dict[str, float | str]
"""Row of the training log, see :class:`EncodeResult`."""


@dataclass(frozen=True)
class Event:
    """How far an encode is.

    Attributes
    ----------
    phase : str
        "warm-up", "main", "refine", "quantise", "rdoq" or "write".
    iteration, n_iterations : int
        Iterations done and, as far as is known, in all.
    row : dict or None
        The row of the training log, when there is a new one.
    """

    phase: str
    iteration: int
    n_iterations: int
    row: Row | None = None


Progress = Callable[[Event], None]
"""Called after every iteration. An exception that it raises stops the encode."""


@dataclass(frozen=True)
class EncodeResult:
    """What :func:`numchic_trainer.encode` returns.

    Attributes
    ----------
    stream : bytes
        The stream, with its trailer.
    trailer_bytes : int
        Size of the trailer; 0 if there is none.
    preset : str
    start : str
        What training started from: "zero", "shared", "ladder" or "stream".
    lmbda : float
        Differs from the one of the settings if a rate or quality was asked for.
    measure : str
        Name of what the picture was optimised for: "mse", "weighted mse", "ssim", "ms-ssim",
        "wasserstein" or "user function".
    distortion : float
        Of the decoded picture, by that measure.
    psnr_db, mse : float
        Quality of the decoded picture by plain squared error, in [0, 1] units.
    bits_per_pixel : float
        Rate of the stream without its trailer.
    loss : float
        distortion + lambda * bits_per_pixel.
    goal_met : bool
        Whether the rate or quality that was asked for has been reached; True if none was.
    cpu_seconds : dict
        Process CPU time per phase, without that of interrupted runs.
    log : list of dict
        One row per evaluation: phase, iteration, measure, loss and distortion by this measure, mse,
        psnr_db, bpp (without the bits of the networks before "quantise"), learning_rate, lmbda,
        cpu_seconds. The last one is that of the stream. The warm-up measures plain squared error
        unless it is weighted squared error that is wanted.
    """

    stream: bytes
    trailer_bytes: int
    preset: str
    start: str
    lmbda: float
    measure: str
    distortion: float
    psnr_db: float
    mse: float
    bits_per_pixel: float
    loss: float
    goal_met: bool
    cpu_seconds: dict[str, float]
    log: list[Row] = field(repr=False)
