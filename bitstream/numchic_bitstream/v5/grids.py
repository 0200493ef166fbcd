# SPDX-License-Identifier: BSD-3-Clause
"""What follows from a header, one by one; use :attr:`CoolChicHeader.derived`."""

from __future__ import annotations

from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import CoolChicHeader

__all__ = ["arm_width", "dense_size", "grid_list", "level_size", "n_latents", "synthesis_inputs"]


def grid_list(header: CoolChicHeader) -> tuple[Grid, ...]:
    """All grids."""
    return header.derived.grids


def arm_width(header: CoolChicHeader) -> int:
    """Width of the ARM."""
    return header.derived.arm_width


def n_latents(header: CoolChicHeader) -> int:
    """Number of latent grids."""
    return header.derived.n_latents


def synthesis_inputs(header: CoolChicHeader) -> int:
    """Number of synthesis input channels."""
    return header.derived.synthesis_inputs


def dense_size(header: CoolChicHeader) -> tuple[int, int]:
    """(height, width) of the synthesis."""
    return header.derived.dense_size
