# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a few samples that need every kernel of 5.0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from numchic.v5.latents import encode_latents
from numchic_bitstream.v5.headers import (
    CoolChicHeader,
    Descriptor,
    FrameHeader,
    SynthesisLayer,
    VideoHeader,
)
from numchic_bitstream.v5.parameters import write_parameters, zero_parameters
from numchic_bitstream.v5.stream import CoolChic, Frame, Stream, write_stream


def tiny_header() -> CoolChicHeader:
    """Header of a picture of 4 x 6 samples that needs every kernel for stills."""
    return CoolChicHeader(
        linear_stabiliser_synth=1,
        ups_k_size=8,
        ups_preconcat_k_size=7,
        output_feature_ifce=1,
        spatial_context_arm=2,
        linear_stabiliser_arm=1,
        n_hidden_layers_arm=1,
        img_size=(4, 6),
        latent_resolution=(0, 1),
        nn_q_step=Descriptor(*[0] * 8),
        nn_expgol_cnt=Descriptor(*[0] * 8),
        ifce_resolution=(0, 0),
        syn_layer=(SynthesisLayer(3, 3, "linear", "relu"),),
    )


def tiny_video(header: CoolChicHeader) -> bytes:
    """Stream of an I and a P frame of zeros."""
    residue, motion = (
        tiny_coolchic(replace(header, syn_layer=(SynthesisLayer(n, 1, "linear", "none"),)))
        for n in (4, 2)
    )
    inter = FrameHeader(
        display_index=1,
        frame_type="P",
        index_references=(0,),
        global_flow=(0, 0),
        warp_filter_size=8,
    )
    frames = (Frame(FrameHeader(), tiny_coolchic(header)), Frame(inter, residue, motion))
    return write_stream(Stream(VideoHeader(n_frames=2, p_pos=(1,)), frames))


def tiny_coolchic(header: CoolChicHeader) -> CoolChic:
    """Cool-chic decoder with zero parameters and zero latents."""
    parameters = zero_parameters(header)
    grids = [np.zeros((grid.height, grid.width), np.int8) for grid in header.derived.grids]
    nn_payload, nn_n_bit_pad = write_parameters(header, parameters)
    header = replace(header, nn_n_bit_pad=nn_n_bit_pad)
    return CoolChic(header, nn_payload, encode_latents(header, parameters, grids))
