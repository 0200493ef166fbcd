# SPDX-License-Identifier: BSD-3-Clause
"""First inputs of every target, made from the builders of the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import builders
from fuzz import decoders
from numchic.v5.latents import encode_latents
from numchic_bitstream import (
    CoolChic,
    Frame,
    FrameHeader,
    Metadata,
    Stream,
    SynthesisLayer,
    VideoHeader,
    read_stream,
    write_parameters,
    write_stream,
)
from numchic_bitstream.v5.headers import (
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from numchic_bitstream.v5.rangecoder import encode
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import CodedFrame, make_stream

CORPUS = Path(__file__).parent / "corpus"


def corpus(target: str) -> list[bytes]:
    """Committed inputs of a target, in order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def seeds(target: str) -> list[bytes]:
    """First inputs of a target."""
    makers = {
        "headers": _headers,
        "parameters": _parameters,
        "latents": _latents,
        "rangecoder": _rangecoder,
        "video": _videos,
        "v4": _older,
    }
    return list(makers.get(target, _streams)())


def _streams() -> Iterator[bytes]:
    last = SynthesisLayer(3, 1, "linear", "none")
    stills: tuple[dict[str, Any], ...] = (
        *decoders.ARCHITECTURES,
        {"flag_common_randomness": 1},
        {"latent_resolution": (1, 2), "final_upsampling_type": "nearest"},
        {"latent_resolution": (1, 1), "final_upsampling_type": "bilinear", "img_size": (9, 2)},
        {"latent_resolution": (2, 3), "img_size": (7, 8), "ups_k_size": 14},
        {"syn_layer": (SynthesisLayer(3, 5, "residual", "relu"), last)},
        {"syn_layer": (SynthesisLayer(2, 3, "linear", "relu"),) * 2 + (last,)},
    )
    for seed, changes in enumerate(stills):
        yield builders.stream(seed, **changes)
    for data_type, bitdepth in (("yuv420", 8), ("yuv444", 10), ("rgb", 16), ("yuv420", 12)):
        frame = FrameHeader(frame_data_type=data_type, bitdepth=bitdepth)  # type: ignore[arg-type]
        yield builders.stream(frame=frame, **decoders.ARCHITECTURES[0])
    yield builders.stream(magnitude=1 << 12)
    yield _overflow()
    yield builders.video()
    metadata = Metadata(b"profile", b"II*\0" + bytes(4), (("Title", "A"),), ((9, b""),))
    for some in (None, metadata):
        yield builders.with_trailer(builders.stream(**decoders.ARCHITECTURES[0]), some)


def _videos() -> Iterator[bytes]:
    """Short videos of small decoders, with every filter size and kind of samples."""
    plain = decoders.ARCHITECTURES[0]
    structures = (
        VideoHeader(n_frames=2, p_pos=(1,)),
        VideoHeader(n_frames=3, intra_pos=(0, 2)),
        VideoHeader(n_frames=4, p_pos=(1, 3)),
    )
    for i, k in enumerate((2, 4, 6, 8, 14)):
        frame: dict[str, Any] = {"frame_data_type": ("yuv420", "rgb", "yuv444")[i % 3]}
        yield builders.video(
            i, structure=structures[i % 3], warp_filter_size=k, networks=plain, **frame
        )
    yield builders.with_trailer(builders.video(structure=structures[0], networks=plain))
    yield builders.video(networks=plain, img_size=(2, 2), bitdepth=10)


def _older() -> Iterator[bytes]:
    """Small stills and videos of 4.2, 4.1 and 4.0."""
    small: dict[str, Any] = {"arm": (8, 0), "zero": 0}
    structures: tuple[tuple[CodedFrame, ...], ...] = (
        ((0, "I"),),
        ((0, "I"), (1, "P")),
        ((0, "I"), (2, "I"), (1, "B")),
    )
    for generation in ("4.2", "4.1", "4.0"):
        for i, frames in enumerate(structures):
            draw = Draw(f"fuzz {generation} {i}")
            data_type = ("rgb", "yuv420", "yuv444")[i]
            yield make_stream(draw, generation, (8, 4), data_type, 8, frames, **small)


def _overflow() -> bytes:
    """Accumulators of the IFCE that overflow when the finest grid is reached."""
    steps = builders.SMALL.nn_q_step._replace(ifce_weight=8)
    header = builders.header(nn_q_step=steps, output_feature_ifce=1, ifce_resolution=(0, 0))
    parameters = builders.parameters(header)
    # The same for all grids but the finest, whatever its IFCE.
    lowest = [np.full_like(grid, -64) for grid in builders.latents(header)]
    latents = encode_latents(header, parameters, lowest)
    for layer in parameters.ifce.layers():
        layer.weight[...] = (1 << 40) - (1 << 12)
    payload, n_bit_pad = write_parameters(header, parameters)
    header = dataclasses.replace(header, nn_n_bit_pad=n_bit_pad)
    frame = Frame(FrameHeader(), CoolChic(header, payload, latents))
    return write_stream(Stream(VideoHeader(), (frame,)))


def _headers() -> Iterator[bytes]:
    for data in _streams():
        stream = read_stream(data)
        yield b"\0" + write_video_header(stream.header)
        for frame in stream.frames:
            yield b"\1" + write_frame_header(frame.header)
            for part in frame.parts:
                yield b"\2" + write_coolchic_header(part.header)


def _parameters() -> Iterator[bytes]:
    for i in range(len(decoders.ARCHITECTURES)):
        for magnitude in (0, 4, 1 << 36):
            header = decoders.header(i)
            parameters = builders.parameters(header, i, magnitude)
            payload, n_bit_pad = write_parameters(header, parameters)
            yield bytes([i << 3 | n_bit_pad]) + payload


def _latents() -> Iterator[bytes]:
    for i in range(decoders.N_DECODERS):
        header, parameters = decoders.decoder(i)
        for magnitude in (0, 2, 64):
            grids = builders.latents(header, i, magnitude)
            yield bytes([i]) + encode_latents(header, parameters, grids)


def _rangecoder() -> Iterator[bytes]:
    models = ((16384, 1280), (0, 0), (32767, 2560), (16384, 0), (16300, 700), (20000, 2560))
    for n in (1, 2, 6, 12):
        mu_index, scale_index = np.array((models * 2)[-n:]).T
        for symbols in (np.zeros(n, int), np.full(n, -64), np.full(n, 63), np.arange(n)):
            rows = np.stack([mu_index, scale_index], -1).astype(">u2").tobytes()
            yield bytes([n]) + rows + encode(symbols, mu_index.copy(), scale_index.copy())
