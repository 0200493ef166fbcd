# SPDX-License-Identifier: BSD-3-Clause
"""Sizes that follow from a 4.x header (coolchic-4.2, sections 8.1 and 9.1). Exact."""

from __future__ import annotations

from numchic_bitstream.v4.headers import CoolChicHeader


def resolution_size(img_size: tuple[int, int], i: int) -> tuple[int, int]:
    """(h_i, w_i) of resolution i."""
    height, width = img_size
    return -(-height >> i), -(-width >> i)


def output_size(header: CoolChicHeader, img_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the synthesis: that of resolution ``lead``."""
    return resolution_size(img_size, header.lead)


def coded_planes(header: CoolChicHeader) -> tuple[int, ...]:
    """Resolutions whose latents are coded and not all zero, finest first."""
    return tuple(i for i, n_bytes in enumerate(header.len_lat) if n_bytes)


def parameter_counts(header: CoolChicHeader) -> dict[str, int]:
    """Numbers of parameters in the sub-streams "arm.w" ... "syn.b" (section 8.1)."""
    (c, n_hidden), ups, layers, _ = header.topology
    syn_w, n_inputs = 0, header.n_inputs
    for layer in layers:
        syn_w += layer.n_outputs * n_inputs * layer.k_size**2
        n_inputs = layer.n_outputs
    counts = {
        "arm.w": n_hidden * c * c + 2 * c,
        "arm.b": n_hidden * c + 2,
        "ups.w": ups.n_ups * ((ups.ups_size + 1) // 2) + ups.n_pre * ((ups.pre_size + 1) // 2),
        "ups.b": 0,
        "syn.w": syn_w,
        "syn.b": sum(layer.n_outputs for layer in layers),
    }
    if header.latents_zero:
        del counts["ups.w"], counts["ups.b"]
    return counts
