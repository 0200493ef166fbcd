# SPDX-License-Identifier: BSD-3-Clause
"""What follows from a 4.x header, one by one; use :attr:`CoolChicHeader.derived`."""

from __future__ import annotations

from numchic_bitstream.structure import level_size as resolution_size
from numchic_bitstream.v4.headers import CoolChicHeader

__all__ = ["coded_planes", "output_size", "parameter_counts", "resolution_size"]


def output_size(header: CoolChicHeader, _: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the synthesis."""
    return header.derived.output_size


def coded_planes(header: CoolChicHeader) -> tuple[int, ...]:
    """Resolutions whose latents are coded."""
    return header.derived.coded_planes


def parameter_counts(header: CoolChicHeader) -> dict[str, int]:
    """Numbers of parameters."""
    return header.derived.n_parameters
