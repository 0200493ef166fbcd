# SPDX-License-Identifier: BSD-3-Clause
"""What a P or B frame is made of, as its decoder sees it (coolchic-5, section 13.2). Float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic.schedule import frame_meter
from numchic.v5.coolchic import decode_signal, signal_totals
from numchic.v5.frame import to_samples
from numchic.v5.prediction import combine
from numchic.v5.warp import warp_rows
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
    """

    residue: F32
    alpha: F32
    beta: F32 | None
    motion: F32
    prediction: Picture


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
    vectors = motion.reshape(-1, 2, *motion.shape[1:])
    flows = zip(header.global_flow[::2], header.global_flow[1::2], strict=True)
    warped = np.empty((n_references, 3, *raw.shape[1:]), np.float32)
    for reference, flow, own, out in zip(references, flows, vectors, warped, strict=True):
        warp_rows(shifted_reference(reference, flow), own, header.warp_filter_size or 0, 0, out)
    gains = np.clip(raw[3:] + _HALF, np.float32(0), np.float32(1))
    nothing = raw.copy()  # no residue, and alpha 1
    nothing[:3], nothing[3] = 0, _HALF
    planes = to_samples(combine(nothing, warped), header.frame_data_type, header.bitdepth)
    return Signals(
        raw[:3],
        gains[0],
        gains[1] if n_references == 2 else None,
        vectors,
        Picture(planes, header.frame_data_type, header.bitdepth),
    )


def _signal(coolchic: CoolChic, n_channels: int) -> F32:
    """Decode a part: the channels that a frame needs."""
    signal = np.empty((n_channels, *coolchic.header.img_size), np.float32)

    def put(first: int, band: F32) -> None:
        signal[:, first : first + band.shape[1]] = band[:n_channels]

    decode_signal(coolchic, put, frame_meter(None, [signal_totals(coolchic.header)], 0))
    return signal
