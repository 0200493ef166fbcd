# SPDX-License-Identifier: BSD-3-Clause
"""What the encode of a video tells: on its way and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from numchic_trainer.video.frame import FrameReport


@dataclass(frozen=True)
class VideoEvent:
    """How far the encode of a video is.

    Attributes
    ----------
    phase : str
        Of the training of a frame; "finished" when the frame is.
    frame : int
        Display index of that frame.
    n_done, n_frames : int
        Frames that are finished, those of an interrupted encode among them, and all frames.
    attempt : int
        1, 2, ... in the search for a rate or a quality, in which all frames are encoded again.
    report : FrameReport or None
        Of a frame that is finished.
    """

    phase: str
    frame: int
    n_done: int
    n_frames: int
    attempt: int = 1
    report: FrameReport | None = None


VideoProgress = Callable[[VideoEvent], None]
"""Called after every iteration; where frames are encoded side by side, after every frame. An
exception that it raises stops the encode."""


@dataclass(frozen=True)
class VideoResult:
    """What :func:`numchic_trainer.encode_video` returns.

    Attributes
    ----------
    stream : bytes
        The stream, with its trailer.
    trailer_bytes : int
        Size of the trailer; 0 if there is none.
    intra, p : tuple of int
        The I frames and the P frames, by display index.
    lmbda : float
        That of the video; it differs from that of the settings if a rate or a quality was asked
        for.
    psnr_db : float
        Quality of all frames together: that of their mean squared error.
    plane_psnr_db : (float, float, float)
        Of every plane, the mean of the PSNR of all frames.
    mse : float
        Mean over all frames, in [0, 1] units.
    bits_per_pixel : float
        Rate of the stream without its trailer.
    loss : float
        mse + lambda * bits_per_pixel.
    goal_met : bool
        Whether the rate or quality that was asked for has been reached; True if none was.
    cpu_seconds : float
        Process CPU time of all frames.
    frames : tuple of FrameReport
        In coding order.
    """

    stream: bytes
    trailer_bytes: int
    intra: tuple[int, ...]
    p: tuple[int, ...]
    lmbda: float
    psnr_db: float
    plane_psnr_db: tuple[float, float, float]
    mse: float
    bits_per_pixel: float
    loss: float
    goal_met: bool
    cpu_seconds: float
    frames: tuple[FrameReport, ...] = field(repr=False)
