# SPDX-License-Identifier: BSD-3-Clause
"""4.x frames that are predicted from others (coolchic-4.2, section 13.8). Float.

Every product and sum is rounded to float32, in the order of the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic.schedule import BAND_ROWS, Meter
from numchic.v4.motion import interpolation_table, warp_blocks, warp_samples
from numchic_bitstream.arrays import F32, F32_2D, F32_3D, F32_4D
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.stream import Frame, Stream

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)


def predict(
    stream: Stream,
    frame: Frame,
    residue: F32,
    motion: F32,
    references: Sequence[Picture],
    sink: Callable[[int, F32], None],
    meter: Meter,
) -> None:
    """Predict a frame and hand its signal to ``sink``, a band of rows at a time (section 13.8).

    Parameters
    ----------
    stream, frame
    residue : float32[4, H, W]
        Residue and alpha.
    motion : float32[2 or 5, H / B, W / B]
        A vector for each reference, and beta.
    references : sequence of Picture
    sink : callable
    meter : Meter
        Counts the rows as "rendering".

    Raises
    ------
    CorruptError
        A vector is not finite.
    """
    header = frame.header
    if not np.isfinite(motion).all():
        offset = frame.parts[1].parameters["syn.w"].offset
        raise CorruptError("the motion overflows", "syn.w", offset, None, "finite vectors")
    block = residue.shape[2] // motion.shape[2]
    pairs = zip(references, header.global_flow, strict=True)
    shifted = [shifted_reference(picture, flow) for picture, flow in pairs]
    # In 4.0 samples are not limited to the nominal range.
    bound = np.float32(np.inf) if stream.generation == "4.0" else _ONE
    height, width = residue.shape[1:]
    for first in range(0, height, BAND_ROWS):
        n_rows = min(BAND_ROWS, height - first)
        warped = np.empty((len(shifted), 3, n_rows, width), np.float32)
        for k, reference in enumerate(shifted):
            flow = motion[2 * k : 2 * k + 2]
            if stream.generation == "4.0":
                warp_samples(reference, flow, first, warped[k])
            else:
                table = interpolation_table(header.n_taps)
                warp_blocks(reference, flow, block, table, first, warped[k])
        signal = np.empty((3, n_rows, width), np.float32)
        combine(residue, motion[-1], block, first, warped, bound, signal)
        sink(first, signal)
        meter.advance("rendering", n_rows)


@kernel(entry=True)
def combine(
    residue: F32_3D,
    beta: F32_2D,
    block: int,
    first: int,
    warped: F32_4D,
    bound: np.float32,
    out: F32_3D,
) -> None:
    """Join residue and warped references in some rows (section 13.8).

    Parameters
    ----------
    residue : float32[4, H, W]
    beta : float32[H / B, W / B]
        Not looked at in P frames.
    block : int
        B.
    first : int
        First row.
    warped : float32[1 or 2, 3, n_rows, W]
    bound : float32
        The signal is limited to 0 .. bound, and not at all if that is infinite.
    out : float32[3, n_rows, W]
        Output.
    """
    bidirectional = warped.shape[0] == 2
    lowest = -bound if np.isinf(bound) else _ZERO
    for i in range(out.shape[1]):
        y = first + i
        for x in range(out.shape[2]):
            alpha = min(max(residue[3, y, x] + _HALF, _ZERO), _ONE)
            gain = _ONE
            other = _ONE
            if bidirectional:
                gain = beta[y // block, x // block] + _HALF
                other = min(max(_ONE - gain, _ZERO), _ONE)
                gain = min(max(gain, _ZERO), _ONE)
            for c in range(3):
                prediction = warped[0, c, i, x]
                if bidirectional:
                    prediction = prediction * gain + warped[1, c, i, x] * other
                signal = prediction * alpha + residue[c, y, x]
                out[c, i, x] = min(max(signal, lowest), bound)
