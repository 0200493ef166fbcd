# SPDX-License-Identifier: BSD-3-Clause
"""How far a decoder with another order of float32 operations may be off."""

from __future__ import annotations

import numpy as np

from numchic.frame import to_samples
from numchic.resize import resize
from numchic_bitstream import Frame
from numchic_conformance.manifest import Bounds
from numchic_conformance.stages import Array

_RELATIVE = np.float32(1e-6)
_LEAST = 4
_REASON = (
    "coolchic-5, section 1.5: float32 stages agree to about 1e-6, so a sample whose value lies "
    "that close to a rounding boundary may differ by 1"
)


def sample_bounds(frame: Frame, synthesis: Array) -> Bounds:
    """Bounds for the samples of an intra frame.

    Counts the samples that change when the signal moves by 1e-6 of itself and of 1, up or down.

    Parameters
    ----------
    frame : Frame
    synthesis : float32[3, h, w]
        Output of the synthesis.
    """
    header = frame.residue.header
    signal = resize(synthesis, header.img_size, header.final_upsampling_type)
    margin = _RELATIVE * (1 + np.abs(signal))
    data_type, bitdepth = frame.header.frame_data_type, frame.header.bitdepth
    centre = to_samples(signal, data_type, bitdepth)
    changed = [np.zeros(plane.shape, bool) for plane in centre]
    largest = 1
    for moved in (signal - margin, signal + margin):
        for i, plane in enumerate(to_samples(moved, data_type, bitdepth)):
            difference = np.abs(plane.astype(np.int64) - centre[i])
            changed[i] |= difference > 0
            largest = max(largest, int(difference.max(initial=0)))
    n_changed = sum(int(np.count_nonzero(plane)) for plane in changed)
    return Bounds(largest, max(_LEAST, n_changed), _REASON)
