# SPDX-License-Identifier: BSD-3-Clause
"""What follows from a 4.x header (coolchic-4.2, sections 8.1 and 9.1). Exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numchic_bitstream.structure import level_size

if TYPE_CHECKING:
    from numchic_bitstream.v4.headers import CoolChicHeader


@dataclass(frozen=True)
class Derived:
    """Numbers that follow from a Cool-chic header.

    Attributes
    ----------
    sizes : tuple of (height, width)
        (h_i, w_i) of every resolution.
    output_size : (height, width)
        Size of the synthesis: that of resolution ``lead``.
    coded_planes : tuple of int
        Resolutions whose latents are coded and not all zero, finest first.
    n_parameters : dict of int
        Numbers of parameters in the sub-streams "arm.w" ... "syn.b" (8.1).
    reach : int
        Rows and columns around a sample that the synthesis needs.
    """

    sizes: tuple[tuple[int, int], ...]
    output_size: tuple[int, int]
    coded_planes: tuple[int, ...]
    n_parameters: dict[str, int]
    reach: int


def derive(header: CoolChicHeader) -> Derived:
    """Derive all numbers; nothing is checked."""
    return Derived(
        sizes=tuple(level_size(header.img_size, i) for i in range(len(header.len_lat))),
        output_size=level_size(header.img_size, header.lead),
        coded_planes=tuple(i for i, n_bytes in enumerate(header.len_lat) if n_bytes),
        n_parameters=_n_parameters(header),
        reach=sum(layer.k_size // 2 for layer in header.topology.syn),
    )


def _n_parameters(header: CoolChicHeader) -> dict[str, int]:
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
