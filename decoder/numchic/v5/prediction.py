# SPDX-License-Identifier: BSD-3-Clause
"""Frames that are predicted from others (coolchic-5, sections 12.4 and 13.2). Float.

Order of operations, every product and sum rounded to float32: the samples of a reference are
divided by the largest one; then ``beta * first + (1 - beta) * second``; then
``alpha * prediction + residue``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic.schedule import BAND_ROWS, Meter
from numchic.v5.warp import warp_rows
from numchic_bitstream.arrays import F32
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.v5.headers import FrameHeader

_HALF, _ONE = np.float32(0.5), np.float32(1)


def predict(
    header: FrameHeader,
    residue: F32,
    motion: F32,
    references: Sequence[Picture],
    sink: Callable[[int, F32], None],
    meter: Meter,
    *,
    offset: int = 0,
) -> None:
    """Predict a frame and hand its signal to ``sink``, a band of rows at a time.

    Parameters
    ----------
    header : FrameHeader
        Header of a P or B frame.
    residue : float32[4 or 5, H, W]
        Residue and, after it, alpha and beta.
    motion : float32[2 or 4, H, W]
        A vector for each reference.
    references : sequence of Picture
    sink : callable
        Called with the number of a first row, which is even, and float32[3, n_rows, W].
    meter : Meter
        Counts the rows as "rendering".
    offset : int
        Position of the motion's network payload in the stream, for errors.

    Raises
    ------
    CorruptError
        A vector is not finite.
    """
    if not np.isfinite(motion).all():
        raise CorruptError(
            "the motion overflows", "nn_payload.synthesis", offset, None, "finite vectors"
        )
    flows = zip(header.global_flow[::2], header.global_flow[1::2], strict=True)
    shifted = [shifted_reference(p, flow) for p, flow in zip(references, flows, strict=True)]
    height, width = residue.shape[1:]
    k = header.warp_filter_size or 0
    for first in range(0, height, BAND_ROWS):
        band = residue[:, first : first + BAND_ROWS]
        warped = np.empty((len(shifted), 3, band.shape[1], width), np.float32)
        for i, reference in enumerate(shifted):
            flow = motion[2 * i : 2 * i + 2]
            warp_rows(reference, flow, k, first, warped[i])
        sink(first, combine(band, warped))
        meter.advance("rendering", band.shape[1])


def combine(residue: F32, warped: F32) -> F32:
    """Join residue and warped references (13.2).

    Parameters
    ----------
    residue : float32[4 or 5, h, w]
    warped : float32[1 or 2, 3, h, w]

    Returns
    -------
    float32[3, h, w]
    """
    gains = np.clip(residue[3:] + _HALF, np.float32(0), _ONE)
    # A hostile stream may overflow; that is an error when the samples are rounded.
    with np.errstate(over="ignore", invalid="ignore"):
        if len(warped) == 1:
            prediction = warped[0]
        else:
            prediction = gains[1] * warped[0] + (_ONE - gains[1]) * warped[1]
        signal: F32 = gains[0] * prediction + residue[:3]
    return signal
