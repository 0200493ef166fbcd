# SPDX-License-Identifier: BSD-3-Clause
"""Hypothesis strategies for headers, parameters and symbols, and settings for all tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from numchic_bitstream import (
    CoolChicHeader,
    Descriptor,
    FrameHeader,
    SynthesisLayer,
    VideoHeader,
    kernels,
)
from numchic_bitstream.arrays import I64

MODE = kernels.describe().partition(" ")[0]
COMPILED = MODE != "python"
"""Whether kernels are compiled; tests do less when they are plain Python."""

# The first call of a kernel compiles it, so there is no deadline.
settings.register_profile("numchic", deadline=None, max_examples=100 if COMPILED else 25)
settings.load_profile("numchic")

_Q_STEPS = (8, 16, 8, 16, 12, 0, 12, 24)  # largest index, section 2.4


def bands(highest: int, lowest: int = 0) -> st.SearchStrategy[tuple[int, int]]:
    """Return bounds with ``lowest <= lo <= hi <= highest``."""
    levels = st.integers(lowest, highest)
    return st.tuples(levels, levels).map(lambda pair: (min(pair), max(pair)))


@st.composite
def coolchic_headers(draw: st.DrawFn, *, small: bool = False) -> CoolChicHeader:
    """Complete legal headers of an intra frame; ``small`` ones have few parameters."""

    def number(lowest: int, highest: int, highest_small: int, step: int = 1) -> int:
        n_steps = ((highest_small if small else highest) - lowest) // step
        return lowest + step * draw(st.integers(0, n_steps))

    flags = st.integers(0, 1)
    n_levels = 4 if small else 15
    lo, hi = draw(bands(n_levels))
    hyper = None
    if draw(st.booleans()):  # without a gap, and no more than 31 grids
        hlo = draw(st.integers(0 if hi - lo < 15 else 1, min(hi + 1, 15)))
        hyper = (hlo, draw(st.integers(max(hlo, lo - 1), 15)))
    n_features = number(0, 31, 3)
    common_randomness = draw(flags) if lo == 0 else 0
    n_layers = number(1, 7, 3)
    n_channels = (hi - lo + 1) * (1 + common_randomness)
    layers: list[SynthesisLayer] = []
    for i in range(n_layers):
        out_ft = 3 if i == n_layers - 1 else number(1, 127, 4)
        residual = out_ft == n_channels and draw(st.booleans())
        layers.append(
            SynthesisLayer(
                out_ft,
                number(1, 15, 3, step=2),
                "residual" if residual else "linear",
                draw(st.sampled_from(("none", "relu"))),
            )
        )
        n_channels = out_ft
    n_bits = 205 + 8 * (n_features > 0) + 8 * (hyper is not None) + 13 * n_layers
    return CoolChicHeader(
        linear_stabiliser_synth=draw(flags),
        n_layer_synthesis=n_layers,
        ups_k_size=number(4, 14, 14, step=2),
        ups_preconcat_k_size=number(1, 15, 15, step=2),
        output_feature_ifce=n_features,
        spatial_context_arm=number(1, 40, 5),
        linear_stabiliser_arm=draw(flags),
        n_hidden_layers_arm=number(0, 7, 2),
        img_size=(number(1, 16383, 20), number(1, 16383, 20)),
        latent_resolution=(lo, hi),
        n_latent_grids=hi - lo + 1 + (0 if hyper is None else hyper[1] - hyper[0] + 1),
        flag_hyperlatent=int(hyper is not None),
        flag_common_randomness=common_randomness,
        final_upsampling_type=draw(st.sampled_from(("nearest", "bilinear", "bicubic"))),
        nn_q_step=Descriptor(*(draw(st.integers(0, largest)) for largest in _Q_STEPS)),
        nn_expgol_cnt=Descriptor(*(draw(st.integers(0, 12)) for _ in range(8))),
        nn_n_bytes=draw(st.integers(1, (1 << 14) - 1)),
        nn_n_bit_pad=draw(st.integers(0, 7)),
        n_bytes_latent=4 * draw(st.integers(1, (1 << 26) - 1)),
        n_bytes_header=-(-n_bits // 8),
        ifce_resolution=draw(bands(15)) if n_features else None,
        hyperlatent_resolution=hyper,
        syn_layer=tuple(layers),
    )


@st.composite
def frame_headers(draw: st.DrawFn) -> FrameHeader:
    """Complete legal frame headers of any type."""
    frame_type: Any = draw(st.sampled_from("IPB"))
    n_references = "IPB".index(frame_type)
    indices, flows = st.integers(0, 4095), st.integers(-8191, 8191)

    def list_of(numbers: st.SearchStrategy[int], n: int) -> tuple[int, ...]:
        return draw(st.tuples(*[numbers] * n))

    return FrameHeader(
        display_index=draw(indices),
        frame_type=frame_type,
        frame_data_type=draw(st.sampled_from(("rgb", "yuv420", "yuv444"))),
        bitdepth=draw(st.integers(8, 16)),
        n_bytes_header=5 * (1 + n_references),
        index_references=list_of(indices, n_references),
        global_flow=list_of(flows, 2 * n_references),
        warp_filter_size=draw(st.integers(1, 7)) * 2 if n_references else None,
    )


@st.composite
def video_headers(draw: st.DrawFn, max_frames: int = 40) -> VideoHeader:
    """Complete legal video headers; the lists are in any order."""
    middle = draw(st.lists(st.sampled_from("IPB"), max_size=max_frames - 2))
    kinds = draw(st.sampled_from(("I", ["I", *middle, "I"], ["I", *middle, "P"])))
    positions = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in "IP"}
    intra_pos, p_pos = (tuple(draw(st.permutations(positions[kind]))) for kind in "IP")
    return VideoHeader(
        n_frames=len(kinds),
        n_intras=len(intra_pos),
        n_p_frames=len(p_pos),
        n_bytes_header=-(-(52 + 12 * len(intra_pos + p_pos)) // 8),
        intra_pos=intra_pos,
        p_pos=p_pos,
    )


def parameter_integers() -> st.SearchStrategy[int]:
    """Integers that every exp-Golomb order can carry, small ones more often."""
    largest = (1 << 40) - (1 << 12)
    return st.integers(-9, 9) | st.integers(-65535, 65535) | st.integers(-largest, largest)


def coded_symbols(
    max_size: int = 60, *, min_size: int = 1
) -> st.SearchStrategy[tuple[I64, I64, I64]]:
    """Return arrays of symbols, mu indices and scale indices, extremes included."""

    def numbers(lowest: int, highest: int) -> st.SearchStrategy[int]:
        return st.sampled_from((lowest, highest)) | st.integers(lowest, highest)

    coded = st.tuples(numbers(-64, 63), numbers(0, 32767), numbers(0, 2560))
    return st.lists(coded, min_size=min_size, max_size=max_size).map(
        lambda rows: tuple(np.array(rows, np.int64).reshape(-1, 3).T.copy())  # type: ignore[arg-type,return-value]
    )
