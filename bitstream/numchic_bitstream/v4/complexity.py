# SPDX-License-Identifier: BSD-3-Clause
"""Multiply-accumulates of 4.x decoders, from their headers (coolchic-4.2). Exact."""

from __future__ import annotations

from numchic_bitstream.v4.headers import CoolChicHeader, FrameHeader


def count_macs(header: CoolChicHeader) -> dict[str, int]:
    """Multiply-accumulates of one decoder per module: "arm", "upsampling", "synthesis"."""
    samples = sum(plane_area(header, i) for i in header.derived.coded_planes)
    return {
        "arm": arm_macs(header) * samples,
        "upsampling": upsampling_macs(header),
        "synthesis": header.derived.n_parameters["syn.w"] * plane_area(header, header.lead),
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


def plane_area(header: CoolChicHeader, i: int) -> int:
    """Samples of a plane of resolution i."""
    height, width = header.derived.sizes[i]
    return height * width


def upsampling_macs(header: CoolChicHeader) -> int:
    """Multiply-accumulates of all planes."""
    total = 0
    ups, n_res = header.topology.ups, len(header.len_lat)
    for i in header.derived.coded_planes:
        if i < n_res - 1:
            total += 2 * ups.pre_size * plane_area(header, i)
        for j in range(header.lead, i):
            total += 3 * ups.ups_size * plane_area(header, j + 1)
    return total
