# SPDX-License-Identifier: BSD-3-Clause
"""Streams of legal but extreme headers, which say more about cost than ordinary pictures do."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

import builders
from numchic_bitstream import (
    CoolChicHeader,
    Descriptor,
    Frame,
    FrameHeader,
    Limits,
    Stream,
    SynthesisLayer,
    VideoHeader,
    count_macs,
    write_stream,
)
from numchic_bitstream.v5.parameters import n_parameters, zero_parameters

UNLIMITED = Limits(
    stream_bytes=1 << 62,
    pixels=1 << 62,
    work=1 << 62,
    total_work=1 << 62,
    memory_bytes=1 << 62,
    metadata_bytes=1 << 62,
)
MAX_SIDE = 16383
MAX_PARAMETERS = 129_000  # of one bit each, what a payload can hold


def quiet_stream(header: CoolChicHeader, frame: FrameHeader | None = None) -> bytes:
    """Return a still of zeros, whose payloads are as short as they can be."""
    header = dataclasses.replace(header, nn_expgol_cnt=Descriptor(*[0] * 8))
    grids = [np.zeros(grid.shape, np.int8) for grid in header.derived.grids]
    coolchic = builders.coolchic(header, zero_parameters(header), grids)
    return write_stream(Stream(VideoHeader(), (Frame(frame or FrameHeader(), coolchic),)))


def random_header(seed: int, max_pixels: int = 1_500_000, max_macs: int = 10**9) -> CoolChicHeader:
    """Header of any shape of picture and any architecture, ends of ranges more often."""
    source = random.Random(seed)
    while True:
        header = _draw(source)
        levels = {grid.level for grid in header.derived.grids}
        if (
            len(levels) == max(levels) - min(levels) + 1
            and header.img_size[0] * header.img_size[1] <= max_pixels
            and sum(n_parameters(header).values()) <= MAX_PARAMETERS
            and count_macs(header).total <= max_macs
        ):
            return header


def _draw(source: random.Random) -> CoolChicHeader:
    def number(lowest: int, highest: int, step: int = 1) -> int:
        any_number = source.randrange(lowest, highest + 1, step)
        return source.choice((lowest, highest, any_number, min(any_number, lowest + 4 * step)))

    long, short = number(1, MAX_SIDE), number(1, 90)
    size = source.choice(
        ((long, short), (short, long), (number(1, 20), number(1, 20)), (number(1, 1200),) * 2)
    )
    lowest = source.choice((0, 0, 0, 1, 2, number(0, 15)))
    highest = source.choice((lowest, min(lowest + 1, 15), source.randint(lowest, 15)))
    hyper = None
    if source.random() < 0.5:
        first = source.randint(0 if highest - lowest < 15 else 1, min(highest + 1, 15))
        hyper = (first, source.randint(max(first, lowest - 1), 15))
    noise = int(lowest == 0 and source.random() < 0.3)
    n_features = source.choice((0, 0, number(1, 31)))
    changes: dict[str, Any] = {
        "linear_stabiliser_synth": source.randint(0, 1),
        "ups_k_size": number(4, 14, 2),
        "ups_preconcat_k_size": number(1, 15, 2),
        "output_feature_ifce": n_features,
        "ifce_resolution": (0, 15) if n_features else None,
        "spatial_context_arm": number(1, 40),
        "linear_stabiliser_arm": source.randint(0, 1),
        "n_hidden_layers_arm": number(0, 7),
        "img_size": size,
        "latent_resolution": (lowest, highest),
        "hyperlatent_resolution": hyper,
        "flag_common_randomness": noise,
        "final_upsampling_type": source.choice(("nearest", "bilinear", "bicubic")),
        "syn_layer": _draw_layers(source, (highest - lowest + 1) * (1 + noise)),
    }
    return builders.header(**changes)


def _draw_layers(source: random.Random, n_inputs: int) -> tuple[SynthesisLayer, ...]:
    layers: list[SynthesisLayer] = []
    for _ in range(source.randint(0, 6)):
        n_outputs = source.choice((1, 2, 3, 3, 8, 48, 127, n_inputs))
        layers.append(_draw_layer(source, n_inputs, n_outputs))
        n_inputs = n_outputs
    return (*layers, _draw_layer(source, n_inputs, 3))


def _draw_layer(source: random.Random, n_inputs: int, n_outputs: int) -> SynthesisLayer:
    residual = n_outputs == n_inputs and source.random() < 0.5
    return SynthesisLayer(
        n_outputs,
        source.choice((1, 1, 1, 3, 3, 5, 7, 15)),
        "residual" if residual else "linear",
        "relu" if source.random() < 0.5 else "none",
    )
