# SPDX-License-Identifier: BSD-3-Clause
"""What follows from a header: grids, IFCE inputs, channels (coolchic-5, section 3). Exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from numchic_bitstream.structure import level_size

if TYPE_CHECKING:
    from numchic_bitstream.v5.headers import CoolChicHeader, Descriptor

T = TypeVar("T")


class Grid(NamedTuple):
    """One latent or hyperlatent grid of ``height`` x ``width`` samples at 2**-level of the size."""

    level: int
    hyper: bool
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def n_samples(self) -> int:
        """Number of its samples."""
        return self.height * self.width


@dataclass(frozen=True)
class Derived:
    """Numbers that follow from a Cool-chic header.

    Attributes
    ----------
    steps : Descriptor
        Exponents e of the eight quantisation steps 2**-e (2.4).
    grids : tuple of Grid
        Finest first; on a shared level the latent precedes the hyperlatent (3.1).
    ifce_inputs : tuple of int
        Number C_k of IFCE inputs of every grid, 0 where a grid has no IFCE (3.2).
    arm_width : int
        Number D of ARM inputs, and width of its hidden layers (3.3).
    n_latents : int
        Number S' of latent grids, hyperlatents left out: the channels of the upsampling.
    synthesis_inputs : int
        Number S of synthesis input channels: twice S' with common randomness (3.3).
    dense_size : (height, width)
        Size of the upsampled latents and the synthesis: that of the finest latent.
    reach : int
        Rows and columns around a sample that the synthesis needs.
    """

    steps: Descriptor
    grids: tuple[Grid, ...]
    ifce_inputs: tuple[int, ...]
    arm_width: int
    n_latents: int
    synthesis_inputs: int
    dense_size: tuple[int, int]
    reach: int

    @property
    def n_latent_grids(self) -> int:
        """Field ``n_latent_grids``, which 32 grids do not fit."""
        return len(self.grids) % 32

    @property
    def n_samples(self) -> int:
        """Number of samples of all grids."""
        return sum(grid.n_samples for grid in self.grids)

    def latents(self, items: Iterable[T]) -> list[T]:
        """Of one item per grid, those of the latents, hyperlatents left out."""
        return [item for item, grid in zip(items, self.grids, strict=True) if not grid.hyper]


def derive(header: CoolChicHeader, steps: Descriptor) -> Derived:
    """Derive all numbers; nothing is checked."""
    bands = [(header.latent_resolution, False)]
    if header.hyperlatent_resolution is not None:
        bands.append((header.hyperlatent_resolution, True))
    grids = tuple(
        Grid(level, hyper, *level_size(header.img_size, level))
        for level in range(16)
        for (lowest, highest), hyper in bands
        if lowest <= level <= highest
    )
    lowest, highest = header.latent_resolution
    n_latents = highest - lowest + 1
    return Derived(
        steps=steps,
        grids=grids,
        ifce_inputs=tuple(_ifce_inputs(header, grids)),
        arm_width=header.spatial_context_arm + header.output_feature_ifce,
        n_latents=n_latents,
        synthesis_inputs=n_latents * (1 + header.flag_common_randomness),
        dense_size=level_size(header.img_size, lowest),
        reach=sum(layer.k_size // 2 for layer in header.syn_layer),
    )


def _ifce_inputs(header: CoolChicHeader, grids: tuple[Grid, ...]) -> list[int]:
    if header.ifce_resolution is None:
        return [0] * len(grids)
    lowest, highest = header.ifce_resolution
    max_ratio = (header.img_size[0] - 1).bit_length()
    return [
        max(len(grids) - 1 - k, 1) if lowest <= min(grid.level, max_ratio) <= highest else 0
        for k, grid in enumerate(grids)
    ]
