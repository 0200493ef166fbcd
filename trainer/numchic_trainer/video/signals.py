# SPDX-License-Identifier: BSD-3-Clause
"""What a P or B frame is made of, as its decoder sees it (coolchic-5, section 13.2). Float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numchic.picture import Picture
from numchic.schedule import Meter
from numchic.v5.coolchic import decode_signal
from numchic.v5.frame import FrameWriter
from numchic.v5.prediction import predict
from numchic_bitstream import CoolChic, Frame
from numchic_bitstream.arrays import F32

_HALF = np.float32(0.5)


@dataclass(frozen=True)
class Signals:
    """Signals whose sum ``alpha * prediction + residue`` is a frame.

    Attributes
    ----------
    residue : float32[3, H, W]
    alpha : float32[H, W]
        0 .. 1.
    beta : float32[H, W] or None
        Share of the first reference in the prediction, 0 .. 1; None if there is only one.
    motion : float32[n, 2, H, W]
        For each reference the horizontal and vertical distance, in pixels, at which it is looked
        at, after its global flow.
    prediction : Picture
        Rounded like a decoded one.
    picture : Picture
        The frame, as it is decoded.
    """

    residue: F32
    alpha: F32
    beta: F32 | None
    motion: F32
    prediction: Picture
    picture: Picture


def signals_of(frame: Frame, references: Sequence[Picture]) -> Signals:
    """Decode a P or B frame in parts.

    Parameters
    ----------
    frame : Frame
    references : sequence of Picture
        Decoded.
    """
    assert frame.motion is not None
    header = frame.header
    n_references = len(references)
    raw = _signal(frame.residue, 3 + n_references)
    motion = _signal(frame.motion, 2 * n_references)

    def predicted(residue: F32) -> Picture:
        writer = FrameWriter(header, frame.residue.header.img_size)
        predict(header, residue, motion, references, writer.put, Meter())
        return writer.picture()

    nothing = raw.copy()  # no residue, and alpha 1
    nothing[:3], nothing[3] = 0, _HALF
    gains = np.clip(raw[3:] + _HALF, np.float32(0), np.float32(1))
    return Signals(
        raw[:3],
        gains[0],
        gains[1] if n_references == 2 else None,
        motion.reshape(-1, 2, *motion.shape[1:]),
        prediction=predicted(nothing),
        picture=predicted(raw),
    )


def _signal(coolchic: CoolChic, n_channels: int) -> F32:
    """Decode a part: the channels that a frame needs."""
    signal = np.empty((n_channels, *coolchic.header.img_size), np.float32)

    def put(first: int, band: F32) -> None:
        signal[:, first : first + band.shape[1]] = band[:n_channels]

    decode_signal(coolchic, put, Meter())
    return signal
