# SPDX-License-Identifier: BSD-3-Clause
"""What follows from a header: grids, IFCE inputs, channels (coolchic-5, section 3). Exact."""

from __future__ import annotations

from typing import NamedTuple

from numchic_bitstream.v5.headers import CoolChicHeader


class Grid(NamedTuple):
    """One latent or hyperlatent grid of ``height`` x ``width`` samples at 2**-level of the size."""

    level: int
    hyper: bool
    height: int
    width: int


def level_size(img_size: tuple[int, int], level: int) -> tuple[int, int]:
    """(height, width) of a grid at down-sampling 2**level."""
    height, width = img_size
    return -(-height >> level), -(-width >> level)


def grid_list(header: CoolChicHeader) -> tuple[Grid, ...]:
    """All grids, finest first; on a shared level the latent precedes the hyperlatent (3.1)."""
    bands = [(header.latent_resolution, False)]
    if header.hyperlatent_resolution is not None:
        bands.append((header.hyperlatent_resolution, True))
    return tuple(
        Grid(level, hyper, *level_size(header.img_size, level))
        for level in range(16)
        for (lowest, highest), hyper in bands
        if lowest <= level <= highest
    )


def ifce_inputs(header: CoolChicHeader) -> tuple[int, ...]:
    """Number C_k of IFCE inputs of every grid, 0 where a grid has no IFCE (3.2)."""
    grids = grid_list(header)
    if header.ifce_resolution is None:
        return (0,) * len(grids)
    lowest, highest = header.ifce_resolution
    max_ratio = (header.img_size[0] - 1).bit_length()
    return tuple(
        max(len(grids) - 1 - k, 1) if lowest <= min(grid.level, max_ratio) <= highest else 0
        for k, grid in enumerate(grids)
    )


def arm_width(header: CoolChicHeader) -> int:
    """Number D of ARM inputs, and width of its hidden layers (3.3)."""
    return header.spatial_context_arm + header.output_feature_ifce


def n_latents(header: CoolChicHeader) -> int:
    """Number S' of latent grids, hyperlatents left out: the channels of the upsampling."""
    lowest, highest = header.latent_resolution
    return highest - lowest + 1


def synthesis_inputs(header: CoolChicHeader) -> int:
    """Number S of synthesis input channels: twice S' with common randomness (3.3)."""
    return n_latents(header) * (1 + header.flag_common_randomness)


def dense_size(header: CoolChicHeader) -> tuple[int, int]:
    """(height, width) of the upsampled latents and the synthesis: those of the finest latent."""
    return level_size(header.img_size, header.latent_resolution[0])
