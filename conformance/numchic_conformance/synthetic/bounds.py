# SPDX-License-Identifier: BSD-3-Clause
"""How far a decoder with another order of float32 operations may be off."""

from __future__ import annotations

import numpy as np

from numchic.frame import to_samples
from numchic.latents import decode_latents
from numchic.resize import resize
from numchic_bitstream import Frame, read_parameters
from numchic_bitstream.grids import grid_list
from numchic_conformance.manifest import Bounds
from numchic_conformance.stages import Array
from numchic_conformance.synthetic.float64 import dense_latents, synthesis_layers

_RELATIVE = np.float32(1e-6)
_LEAST = 4
_REASON = (
    "coolchic-5, section 1.5: float32 stages agree to about 1e-6, so a sample whose value lies "
    "that close to a rounding boundary may differ by 1"
)


def sample_bounds(frame: Frame, synthesis: Array) -> Bounds:
    """Bounds for the samples of an intra frame.

    Counts the samples that change when the signal moves by 1e-6 of itself and of 1, up or down, or
    when everything after the latents is done in float64; the larger of the two. Where float64 gives
    the very same value, nothing was rounded and nothing moves.

    Parameters
    ----------
    frame : Frame
    synthesis : float32[3, h, w]
        Output of the synthesis.
    """
    header = frame.residue.header
    signal = resize(synthesis, header.img_size, header.final_upsampling_type)
    wide = _wide_signal(frame)
    margin = np.where(wide == signal, np.float32(0), _RELATIVE * (1 + np.abs(signal)))
    samples = _samples(frame, signal)
    moved = [_samples(frame, signal - margin), _samples(frame, signal + margin)]
    exact = _samples(frame, wide.astype(np.float32))
    n_moved = np.count_nonzero((moved[0] != samples) | (moved[1] != samples))
    n_exact = np.count_nonzero(exact != samples)
    largest = max(int(np.abs(other - samples).max()) for other in (*moved, exact))
    return Bounds(max(1, largest), max(_LEAST, int(n_moved), int(n_exact)), _REASON)


def _samples(frame: Frame, signal: Array) -> Array:
    planes = to_samples(signal, frame.header.frame_data_type, frame.header.bitdepth)
    return np.concatenate([plane.ravel().astype(np.int64) for plane in planes])


def _wide_signal(frame: Frame) -> Array:
    part = frame.residue
    header = part.header
    parameters = read_parameters(header, part.nn_payload)
    pairs = zip(grid_list(header), decode_latents(part, parameters), strict=True)
    dense = dense_latents(header, parameters, [grid for kind, grid in pairs if not kind.hyper])
    output, _ = synthesis_layers(header, parameters, dense)
    return resize(output, header.img_size, header.final_upsampling_type)  # type: ignore[arg-type]
