# SPDX-License-Identifier: BSD-3-Clause
"""Small valid headers, parameters, latents and streams, with values drawn from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numchic
from numchic.v5.latents import decode_latents, encode_latents
from numchic_bitstream import (
    CoolChic,
    CoolChicHeader,
    Descriptor,
    Frame,
    FrameHeader,
    Metadata,
    Parameters,
    Stream,
    SynthesisLayer,
    VideoHeader,
    append_trailer,
    latents_crc,
    read_parameters,
    read_stream,
    samples_digest,
    write_parameters,
    write_stream,
)
from numchic_bitstream.arrays import I8
from numchic_bitstream.v5.parameters import zero_parameters
from numchic_bitstream.v5.structure import coding_order

SMALL = CoolChicHeader(
    linear_stabiliser_synth=1,
    ups_k_size=4,
    ups_preconcat_k_size=3,
    output_feature_ifce=2,
    spatial_context_arm=3,
    linear_stabiliser_arm=1,
    n_hidden_layers_arm=1,
    img_size=(5, 6),
    latent_resolution=(0, 2),
    nn_q_step=Descriptor(1, 9, 2, 10, 4, 0, 4, 13),
    nn_expgol_cnt=Descriptor(3, 4, 2, 3, 4, 0, 5, 6),
    ifce_resolution=(0, 1),
    hyperlatent_resolution=(1, 2),
    syn_layer=(
        SynthesisLayer(4, 1, "linear", "relu"),
        SynthesisLayer(3, 1, "linear", "none"),
        SynthesisLayer(3, 3, "residual", "none"),
    ),
)


def header(**changes: Any) -> CoolChicHeader:
    """Header of a 5 x 6 picture with one of everything, some fields changed.

    Fields that follow from others are filled in unless given, except the sizes of the payloads.
    """
    changed = dataclasses.replace(SMALL, **changes)
    derived: dict[str, Any] = {
        "n_layer_synthesis": len(changed.syn_layer),
        "n_latent_grids": changed.derived.n_latent_grids,
        "flag_hyperlatent": int(changed.hyperlatent_resolution is not None),
    }
    if changed.output_feature_ifce == 0:
        derived["ifce_resolution"] = None
    return dataclasses.replace(changed, **derived | changes)


def parameters(header: CoolChicHeader, seed: int = 0, magnitude: int = 20) -> Parameters:
    """Random integers in -magnitude .. magnitude; the output transform is the identity."""
    source = np.random.default_rng(seed)
    result = zero_parameters(header)
    layers = [*result.arm.layers(), *result.ifce.layers(), *result.upsampling.layers()]
    layers += result.synthesis.layers()[1:]
    for array in (array for layer in layers for array in layer):
        array[...] = source.integers(-magnitude, magnitude, array.shape, endpoint=True)
    return result


def latents(header: CoolChicHeader, seed: int = 0, magnitude: int = 8) -> list[I8]:
    """Random grids, finest first, with values in -magnitude .. magnitude but at most 63."""
    source = np.random.default_rng(seed)
    shapes = [grid.shape for grid in header.derived.grids]
    highest = min(magnitude, 63)
    return [source.integers(-magnitude, highest, s, np.int8, endpoint=True) for s in shapes]


def coolchic(
    header: CoolChicHeader, parameters: Parameters, latents: Sequence[NDArray[np.integer]]
) -> CoolChic:
    """Both payloads of one Cool-chic decoder."""
    nn_payload, n_bit_pad = write_parameters(header, parameters)
    latent_payload = encode_latents(header, parameters, latents)
    complete = dataclasses.replace(
        header,
        nn_n_bytes=len(nn_payload),
        nn_n_bit_pad=n_bit_pad,
        n_bytes_latent=len(latent_payload),
    )
    return CoolChic(complete, nn_payload, latent_payload)


def random_coolchic(seed: int = 0, magnitude: int = 20, **changes: Any) -> CoolChic:
    """One Cool-chic decoder with random parameters and latents."""
    the_header = header(**changes)
    return coolchic(the_header, parameters(the_header, seed, magnitude), latents(the_header, seed))


def stream(
    seed: int = 0, magnitude: int = 20, frame: FrameHeader | None = None, **changes: Any
) -> bytes:
    """Return a still picture with random parameters and latents; changes are for :func:`header`."""
    residue = random_coolchic(seed, magnitude, **changes)
    return write_stream(Stream(VideoHeader(), (Frame(frame or FrameHeader(), residue),)))


def with_trailer(plain: bytes, metadata: Metadata | None = None) -> bytes:
    """Return a stream with a trailer that fits it."""
    pieces = (
        piece for picture in numchic.decode_frames(plain, threads=1) for piece in picture.pieces()
    )
    parts = [part for frame in read_stream(plain).frames for part in frame.parts]
    grids = (
        decode_latents(part, read_parameters(part.header, part.nn_payload, part.nn_offset))
        for part in parts
    )
    return append_trailer(plain, latents_crc(grids), samples_digest(pieces), metadata)


def video(
    seed: int = 0,
    *,
    structure: VideoHeader | None = None,
    img_size: tuple[int, int] = (4, 6),
    warp_filter_size: int = 8,
    networks: dict[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """Return a video, by default I0 P2[0] B1[0,2], in 4:2:0.

    ``networks`` are changes for :func:`header`, other changes are for the frame headers.
    """
    structure = structure or VideoHeader(n_frames=3, p_pos=(2,))
    frames = []
    for i, (display_index, frame_type, references) in enumerate(coding_order(structure)):
        n = len(references)
        frame_header = FrameHeader(
            display_index=display_index,
            frame_type=frame_type,
            index_references=references,
            global_flow=(1, -2) * n,
            warp_filter_size=warp_filter_size if n else None,
            **{"frame_data_type": "yuv420", **changes},
        )
        parts = [(SynthesisLayer(o, 1, "linear", "none"),) for o in (3 + n, 2 * n) if o]
        common = {**(networks or {}), "img_size": img_size}
        decoders = [random_coolchic(seed + i, **common | {"syn_layer": p}) for p in parts]
        frames.append(Frame(frame_header, *decoders))
    return write_stream(Stream(structure, tuple(frames)))
