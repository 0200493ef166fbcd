# SPDX-License-Identifier: BSD-3-Clause
"""Which grids there are: levels of latents and hyperlatents, IFCE on them."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.recipe import Recipe, still

# Lowest and highest latent level, what is special.
_LATENTS = (
    (0, 0, "a single grid, so nothing is upsampled"),
    (0, 1, "two grids"),
    (0, 3, "four grids"),
    (0, 6, "seven grids, as the official presets have"),
    (0, 9, "ten grids, of which several have a single sample"),
    (0, 15, "all sixteen levels"),
    (1, 1, "a single grid below picture size"),
    (1, 4, "levels from 1"),
    (2, 6, "levels from 2; two kernels of each kind are sent but unused"),
    (3, 3, "a single grid at level 3; all kernels are sent but unused"),
    (5, 5, "a single grid with a single sample"),
    (4, 15, "a picture smaller than a sample of its finest grid"),
    (15, 15, "a single sample at level 15"),
    (14, 15, "two grids of one sample, doubled although the size is the same"),
)

# Latent levels, hyperlatent levels, what is special.
_HYPERLATENTS = (
    ((0, 2), (0, 2), "a hyperlatent for every latent"),
    ((0, 2), (2, 2), "one hyperlatent, the first grid to be decoded"),
    ((0, 2), (0, 0), "one hyperlatent of picture size, as grid 1"),
    ((0, 3), (1, 2), "hyperlatents in the middle, with a coarser latent"),
    ((0, 2), (1, 5), "hyperlatents coarser than all latents"),
    ((0, 1), (2, 3), "hyperlatents only on levels coarser than the latents"),
    ((2, 4), (0, 1), "hyperlatents finer than all latents, so that grid 0 is one"),
    ((2, 2), (1, 3), "hyperlatents on both sides of the only latent"),
    ((1, 3), (1, 3), "hyperlatents on all levels, from level 1"),
    ((0, 6), (4, 6), "the grids of the example of section 3.1"),
    ((0, 15), (1, 15), "31 grids, the most that the field n_latent_grids can express"),
    ((15, 15), (15, 15), "two grids with one sample each"),
)

# F, IFCE levels, latent levels, hyperlatent levels, size, what is special.
_IFCE = (
    (1, (0, 1), (0, 1), (1, 1), (5, 6), "the example of section 6.4"),
    (1, (0, 0), (0, 2), None, (13, 22), "only the finest grid has one"),
    (2, (1, 1), (0, 2), None, (13, 22), "only the grid in the middle has one"),
    (2, (2, 2), (0, 2), None, (13, 22), "only the first grid to be decoded: a dummy input"),
    (3, (0, 2), (0, 2), None, (13, 22), "all grids, the first one with a dummy input"),
    (3, (0, 15), (0, 3), (1, 3), (13, 22), "all grids with hyperlatents; equal sizes are doubled"),
    (4, (0, 2), (0, 2), (0, 2), (12, 21), "each hyperlatent precedes a latent of the same size"),
    (2, (2, 2), (0, 4), None, (3, 22), "a height of 3, so that levels 2 to 4 all count as 2"),
    (2, (3, 3), (0, 5), None, (5, 22), "a height of 5, so that levels 3 to 5 all count as 3"),
    (2, (0, 0), (0, 3), None, (1, 22), "a height of 1, so that every level counts as 0"),
    (2, (1, 1), (0, 3), None, (2, 22), "a height of 2, so that all levels from 1 count as 1"),
    (2, (0, 0), (0, 3), None, (1, 1), "one pixel, so that all sizes are equal"),
    (2, (4, 4), (0, 6), None, (9, 3), "a width far smaller than the height"),
    (6, (0, 2), (0, 3), None, (13, 22), "six features"),
    (16, (0, 2), (0, 3), None, (13, 22), "16 features"),
    (31, (0, 1), (0, 3), None, (13, 22), "31 features, the most there can be"),
    (1, (0, 0), (0, 15), (1, 15), (11, 22), "30 inputs, from 31 grids"),
    (2, (0, 1), (1, 3), None, (13, 22), "levels from 1"),
    (2, (1, 3), (2, 3), (0, 1), (13, 22), "hyperlatents finer than the latents"),
    (2, (0, 15), (0, 0), None, (13, 22), "a single grid, with a dummy input"),
    (2, (15, 15), (15, 15), None, (16383, 1), "level 15, which only counts as 14"),
    (2, (14, 14), (13, 15), None, (16383, 1), "levels 14 and 15 both count as 14"),
)


def grid_recipes() -> Iterator[Recipe]:
    """Recipes about the grid list."""
    for low, high, what in _LATENTS:
        yield still(
            f"latents-{low}-{high}",
            f"Latent levels {low} to {high}: {what}.",
            "latents",
            latent_resolution=(low, high), final_upsampling_type="bilinear",
        )  # fmt: skip
        if high == 15 or high - low == 6:
            yield still(
                f"latents-{low}-{high}-without-ifce",
                f"Latent levels {low} to {high} without IFCE: {what}.",
                "latents",
                latent_resolution=(low, high), output_feature_ifce=0,
            )  # fmt: skip
    for latents, hyper, what in _HYPERLATENTS:
        yield still(
            f"hyper-{_span(hyper)}-latents-{_span(latents)}",
            f"Hyperlatents: {what}.",
            "hyperlatents",
            latent_resolution=latents, hyperlatent_resolution=hyper,
        )  # fmt: skip
    yield still(
        "hyper-31-grids-97x61",
        "31 grids on a picture of 97 x 61.",
        "hyperlatents",
        img_size=(61, 97), latent_resolution=(0, 15), hyperlatent_resolution=(1, 15),
        level=Level.FULL,
    )  # fmt: skip
    for features, levels, latents, hyper_levels, size, what in _IFCE:
        hyper_name = f"-hyper-{_span(hyper_levels)}" if hyper_levels else ""
        yield still(
            f"ifce-{features}-on-{_span(levels)}-latents-{_span(latents)}{hyper_name}-{size[1]}x{size[0]}",
            f"IFCE: {what}.",
            "ifce",
            output_feature_ifce=features, ifce_resolution=levels, img_size=size,
            latent_resolution=latents, hyperlatent_resolution=hyper_levels,
        )  # fmt: skip


def _span(levels: tuple[int, int]) -> str:
    return f"{levels[0]}-{levels[1]}"
