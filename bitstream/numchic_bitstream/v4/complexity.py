# SPDX-License-Identifier: BSD-3-Clause
"""Cost of 4.x decoders from their headers: multiply-accumulates and work.

*Work* is in the units of :mod:`numchic_bitstream.v5.complexity`, some 0.1 ns, and for limits.
"""

from __future__ import annotations

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


def count_macs(header: CoolChicHeader, _: object = None) -> dict[str, int]:
    """Multiply-accumulates of one decoder per module: "arm", "upsampling", "synthesis"."""
    samples = sum(_area(header, i) for i in header.derived.coded_planes)
    return {
        "arm": arm_macs(header) * samples,
        "upsampling": _upsampling_macs(header),
        "synthesis": header.derived.n_parameters["syn.w"] * _area(header, header.lead),
    }


def count_warping(header: FrameHeader, img_size: tuple[int, int]) -> int:
    """Multiply-accumulates of the motion compensation of a frame."""
    if header.frame_type == "I":
        return 0
    # Blocks share the horizontal sums of the rows they have in common.
    block, n_taps = 1 << header.parts[1].lead, header.n_taps
    per_block = n_taps * block * (block + n_taps - 1) + n_taps * block * block
    n_blocks = -(-img_size[0] // block) * -(-img_size[1] // block)
    return 3 * len(header.global_flow) * per_block * n_blocks


def arm_macs(header: CoolChicHeader) -> int:
    """Multiply-accumulates of the ARM per sample."""
    width, n_hidden = header.topology.arm
    return n_hidden * width * width + 2 * width


def _area(header: CoolChicHeader, i: int) -> int:
    height, width = header.derived.sizes[i]
    return height * width


def _upsampling_macs(header: CoolChicHeader) -> int:
    total = 0
    ups, n_res = header.topology.ups, len(header.len_lat)
    for i in header.derived.coded_planes:
        if i < n_res - 1:
            total += 2 * ups.pre_size * _area(header, i)
        for j in range(header.lead, i):
            total += 3 * ups.ups_size * _area(header, j + 1)
    return total


def estimate_work(header: CoolChicHeader) -> int:
    """Estimate what decoding one Cool-chic decoder takes, without warping."""
    height, width = header.derived.output_size
    layers = header.topology.syn
    work = _PER_DECODER + _PER_PARAMETER * sum(header.derived.n_parameters.values())
    work += _PER_LAYER * len(layers)
    for i in header.derived.coded_planes:
        work += _PER_PLANE + _PER_LATENT_BYTE * header.len_lat[i]
        work += (_PER_SAMPLE + arm_macs(header)) * _area(header, i)
        work += _PER_ROW * header.derived.sizes[i][0]
    work += 3 * _upsampling_macs(header)
    work += header.n_latents * height * (_PER_UPSAMPLED * width + _PER_ROW)
    work += header.n_noise * height * (_PER_RANDOM * width + _PER_ROW)
    work += header.derived.n_parameters["syn.w"] * height * (width + _ROW_OVERHEAD)
    work += sum(layer.n_outputs for layer in layers) * height * _PER_SYNTHESISED_ROW
    return work


def estimate_warping(header: FrameHeader, img_size: tuple[int, int]) -> int:
    """Estimate what warping and rounding a frame take."""
    height, width = img_size
    work = _PER_PIXEL * height * width
    if header.frame_type != "I":
        block = 1 << header.parts[1].lead
        n_blocks = -(-height // block) * -(-width // block)
        work += 3 * count_warping(header, img_size)
        work += len(header.global_flow) * _PER_BLOCK * n_blocks
    return work
