# SPDX-License-Identifier: BSD-3-Clause
"""Multiply-accumulates of one Cool-chic decoder, from its header (coolchic-5, section 16)."""

from __future__ import annotations

from typing import NamedTuple

from numchic_bitstream.grids import (
    arm_width,
    dense_size,
    grid_list,
    ifce_inputs,
    level_size,
    n_latents,
    synthesis_inputs,
)
from numchic_bitstream.headers import CoolChicHeader


class Macs(NamedTuple):
    """Multiply-accumulates per module, for the whole frame."""

    arm: int
    ifce: int
    upsampling: int
    synthesis: int

    @property
    def total(self) -> int:
        """Sum over the modules."""
        return sum(self)


def count_macs(header: CoolChicHeader) -> Macs:
    """Count the multiply-accumulates that decoding takes."""
    return Macs(_arm(header), _ifce(header), _upsampling(header), _synthesis(header))


def _arm(header: CoolChicHeader) -> int:
    width = arm_width(header)
    per_sample = width * width * header.n_hidden_layers_arm
    per_sample += 2 * width * (1 + header.linear_stabiliser_arm)
    return per_sample * sum(grid.height * grid.width for grid in grid_list(header))


def _ifce(header: CoolChicHeader) -> int:
    coarser = grid_list(header)[1:]
    return header.output_feature_ifce * sum(
        grid.height * grid.width * c for grid, c in zip(coarser, ifce_inputs(header), strict=False)
    )


def _upsampling(header: CoolChicHeader) -> int:
    total = 0
    lowest, highest = header.latent_resolution
    for n_channels, level in enumerate(range(highest, lowest, -1), start=1):
        height, width = level_size(header.img_size, level)
        total += 3 * n_channels * height * width * header.ups_k_size
        height, width = level_size(header.img_size, level - 1)
        total += 2 * header.ups_preconcat_k_size * height * width
    return total


def _synthesis(header: CoolChicHeader) -> int:
    per_pixel = 0
    n_inputs = synthesis_inputs(header)
    for layer in header.syn_layer:
        per_pixel += layer.out_ft * n_inputs * layer.k_size**2
        n_inputs = layer.out_ft
    per_pixel += n_inputs * (n_latents(header) * header.linear_stabiliser_synth + n_inputs)
    height, width = dense_size(header)
    return per_pixel * height * width
