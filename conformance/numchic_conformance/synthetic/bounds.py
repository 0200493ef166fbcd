# SPDX-License-Identifier: BSD-3-Clause
"""How far a decoder with another order of float32 operations may be off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numchic.picture import Picture
from numchic.schedule import Meter
from numchic.v5.frame import to_samples
from numchic.v5.latents import decode_latents
from numchic.v5.noise import common_randomness
from numchic.v5.prediction import predict
from numchic.v5.resize import resize
from numchic.v5.synthesis import synthesise
from numchic.v5.upsampling import upsample
from numchic_bitstream import CoolChic, Frame, FrameHeader, Stream, read_parameters
from numchic_conformance.manifest import Bounds
from numchic_conformance.stages import Array
from numchic_conformance.synthetic.float64 import dense_latents, predict_wide, synthesis_layers

_RELATIVE = np.float32(1e-6)
_LEAST = 4
_REASON = (
    "coolchic-5, section 1.5: float32 stages agree to about 1e-6, so a sample whose value lies "
    "that close to a rounding boundary may differ by 1"
)
_OURS, _DOWN, _UP, _WIDE = range(4)


def sample_bounds(stream: Stream) -> Bounds:
    """Bounds for the samples of a stream.

    Counts the samples that change when the signal of every frame moves by 1e-6 of itself and of 1,
    up or down, or when everything after the latents is done in float64; the larger of the two.
    Frames are predicted from what has changed. Where float64 gives the very same value, nothing was
    rounded and nothing moves.
    """
    n_moved = n_exact = largest = 0
    decoded: dict[int, list[Picture]] = {}  # by display index: ours, moved down, moved up, float64
    last_use = {i: place for place, c in enumerate(stream.places) for i in c.references}
    for place, frame in enumerate(stream.frames):
        header = frame.header
        references = [[decoded[i][v] for i in header.index_references] for v in range(4)]
        variants = [_round(signal, header) for signal in _variants(frame, references)]
        ours, down, up, wide = (np.concatenate([_flat(p) for p in v.planes]) for v in variants)
        n_moved += int(np.count_nonzero((down != ours) | (up != ours)))
        n_exact += int(np.count_nonzero(wide != ours))
        largest = max(largest, *(int(np.abs(other - ours).max()) for other in (down, up, wide)))
        if header.display_index in last_use:
            decoded[header.display_index] = variants
        for i in header.index_references:
            if last_use[i] == place:
                del decoded[i]
    return Bounds(max(1, largest), max(_LEAST, n_moved, n_exact), _REASON)


def _round(signal: Array, header: FrameHeader) -> Picture:
    data_type, bitdepth = header.frame_data_type, header.bitdepth
    return Picture(to_samples(signal, data_type, bitdepth), data_type, bitdepth)


def _flat(plane: Array) -> Array:
    return plane.ravel().astype(np.int64)


def _variants(frame: Frame, references: Sequence[Sequence[Picture]]) -> tuple[Array, ...]:
    """Signal of a frame: ours, moved down, moved up, in float64."""
    narrow, wide = zip(*(_signals(part) for part in frame.parts), strict=True)
    if frame.motion is None:
        signal, exact = narrow[0], wide[0]
        margin = _margin(signal, exact)
        return signal, signal - margin, signal + margin, exact.astype(np.float32)
    header = frame.header
    signals = [_predict(header, narrow, seen) for seen in references[:_WIDE]]
    margin = _margin(signals[_OURS], predict_wide(header, wide, references[_OURS]))
    exact = predict_wide(header, wide, references[_WIDE])
    return (
        signals[_OURS],
        signals[_DOWN] - margin,
        signals[_UP] + margin,
        exact.astype(np.float32),
    )


def _margin(signal: Array, wide: Array) -> Array:
    margin: Array = np.where(wide == signal, np.float32(0), _RELATIVE * (1 + np.abs(signal)))
    return margin


def _predict(header: FrameHeader, signals: Sequence[Array], references: Sequence[Picture]) -> Array:
    residue, motion = signals
    out = np.empty((3, *residue.shape[1:]), np.float32)

    def put(first: int, band: Array) -> None:
        out[:, first : first + band.shape[1]] = band

    predict(header, residue, motion, references, put, Meter())
    return out


def _signals(part: CoolChic) -> tuple[Array, Array]:
    """Signal of one Cool-chic decoder in float32 and in float64."""
    header = part.header
    size, kind = header.img_size, header.final_upsampling_type
    parameters = read_parameters(header, part.nn_payload)
    pairs = zip(header.derived.grids, decode_latents(part, parameters), strict=True)
    latents = [samples for grid, samples in pairs if not grid.hyper]
    with np.errstate(over="ignore", invalid="ignore"):
        dense = upsample(header, parameters.upsampling, latents)
        if header.flag_common_randomness:
            noise = common_randomness(size, *header.latent_resolution)
            dense = np.concatenate([dense, noise])
        narrow = resize(synthesise(header, parameters.synthesis, dense), size, kind)
    output, _ = synthesis_layers(header, parameters, dense_latents(header, parameters, latents))
    return narrow, resize(output, size, kind)  # type: ignore[arg-type]
