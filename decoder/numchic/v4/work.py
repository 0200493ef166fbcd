# SPDX-License-Identifier: BSD-3-Clause
"""Time that decoding 4.x takes, estimated from headers, in the units of :mod:`numchic.v5.work`."""

from __future__ import annotations

from numchic_bitstream.v4.complexity import arm_macs, count_warping, plane_area, upsampling_macs
from numchic_bitstream.v4.headers import CoolChicHeader, FrameHeader

_PER_DECODER = 10_000_000
_PER_PLANE = 1_000_000
_PER_LAYER = 500_000
_PER_PARAMETER = 500
_PER_LATENT_BYTE = 500
_PER_SAMPLE = 400
_PER_UPSAMPLED = 6
_PER_ROW = 1_500
_PER_SYNTHESISED_ROW = 400
_ROW_OVERHEAD = 32
_PER_RANDOM = 250
_PER_PIXEL = 50
_PER_BLOCK = 500


def frame_work(header: FrameHeader) -> int:
    """Estimate what decoding a frame takes."""
    return estimate_warping(header) + sum(estimate_work(part) for part in header.parts)


def estimate_work(header: CoolChicHeader) -> int:
    """Estimate what decoding one Cool-chic decoder takes, without warping."""
    height, width = header.derived.output_size
    layers = header.topology.syn
    work = _PER_DECODER + _PER_PARAMETER * sum(header.derived.n_parameters.values())
    work += _PER_LAYER * len(layers)
    for i in header.derived.coded_planes:
        work += _PER_PLANE + _PER_LATENT_BYTE * header.len_lat[i]
        work += (_PER_SAMPLE + arm_macs(header)) * plane_area(header, i)
        work += _PER_ROW * header.derived.sizes[i][0]
    work += 3 * upsampling_macs(header)
    work += header.n_latents * height * (_PER_UPSAMPLED * width + _PER_ROW)
    work += header.n_noise * height * (_PER_RANDOM * width + _PER_ROW)
    work += header.derived.n_parameters["syn.w"] * height * (width + _ROW_OVERHEAD)
    work += sum(layer.n_outputs for layer in layers) * height * _PER_SYNTHESISED_ROW
    return work


def estimate_warping(header: FrameHeader) -> int:
    """Estimate what warping and rounding a frame take."""
    height, width = header.parts[0].img_size
    work = _PER_PIXEL * height * width
    if header.frame_type != "I":
        block = 1 << header.parts[1].lead
        n_blocks = -(-height // block) * -(-width // block)
        work += 3 * count_warping(header, (height, width))
        work += len(header.global_flow) * _PER_BLOCK * n_blocks
    return work
