# SPDX-License-Identifier: BSD-3-Clause
"""Latent values, models at the ends of their tables, states of the range coder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numchic_bitstream import CoolChicHeader, Parameters
from numchic_bitstream.arrays import I8
from numchic_bitstream.v5.laplace import MAX_SYMBOL, MIN_SYMBOL, N_SCALES
from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.counts import CORRECTED_SCALES, correction_matters
from numchic_conformance.synthetic.drawing import (
    LatentRule,
    Signal,
    constant,
    from_model,
    sparse,
    uniform,
)
from numchic_conformance.synthetic.recipe import Recipe, still
from numchic_conformance.synthetic.seeded import Source
from numchic_conformance.synthetic.stills.numbers import PLAIN_ARM

_WIDE = Signal(latent=64)
_ONE = 0xFFFFFFFF


def symbol_recipes() -> Iterator[Recipe]:
    """Recipes about latents and their coding."""
    yield from _values()
    yield from _models()
    yield from _coder()


def _values() -> Iterator[Recipe]:
    for value in (-64, -1, 0, 1, 63):
        yield still(
            f"symbols-constant-{value}".replace("--", "-minus-"),
            f"All latents {value}.",
            "symbols", "flat",
            latents=constant(value), signal=_WIDE,
        )  # fmt: skip
    yield still(
        "symbols-uniform",
        "Latents of all values equally often.",
        "symbols",
        latents=uniform(64), signal=_WIDE,
    )  # fmt: skip
    yield still(
        "symbols-extremes",
        "Zeros with the smallest and largest latents in between.",
        "symbols",
        latents=sparse((-64, 63), 3), signal=_WIDE,
    )  # fmt: skip
    yield still(
        "symbols-sparse",
        "Nearly all latents zero.",
        "symbols",
        latents=sparse((-3, -2, -1, 1, 2, 3), 12), signal=Signal(latent=1.5),
    )  # fmt: skip
    yield still(
        "symbols-expected",
        "Latents as the model expects them.",
        "symbols",
        latents=from_model(),
    )  # fmt: skip


def _plain(mu: tuple[int, int, int, int], scale: tuple[int, int, int, int]) -> dict[str, object]:
    """A model without hidden layers: bias and three weights of mu and of the log-scale, in 1/256.

    The log-scale counts from its middle.
    """

    def edit(parameters: Parameters) -> None:
        output = parameters.arm.output
        output.weight[...] = mu[1:], scale[1:]
        output.bias[...] = mu[0], 1024 + scale[0]

    return {"edit": edit, "spatial_context_arm": 3, "output_feature_ifce": 0, **PLAIN_ARM}


def _models() -> Iterator[Recipe]:
    models = (
        ("mu-below", "mu clipped at its lower end", (-20000, 0, 0, 0), (500, 0, 0, 0)),
        ("mu-above", "mu clipped at its upper end", (20000, 0, 0, 0), (500, 0, 0, 0)),
        ("mu-lowest", "mu around its lower end", (-16384, 1, 0, 0), (500, 0, 0, 0)),
        ("mu-highest", "mu around its upper end", (16383, 1, 0, 0), (500, 0, 0, 0)),
        ("mu-both", "mu clipped at both ends", (0, 300, 300, -200), (500, 0, 0, 0)),
        ("scale-smallest", "the smallest scale", (0, 30, 0, 0), (-1280, 0, 0, 0)),
        ("scale-largest", "the largest scale", (0, 30, 0, 0), (1280, 0, 0, 0)),
        ("scale-below", "the scale clipped at its lower end", (0, 0, 0, 0), (-5000, 0, 0, 0)),
        ("scale-above", "the scale clipped at its upper end", (0, 0, 0, 0), (5000, 0, 0, 0)),
        ("scale-both", "the scale clipped at both ends", (0, 30, 30, 0), (0, 70, -40, 0)),
        ("mu-half", "mu half-way between two symbols", (128, 0, 0, 0), (-600, 0, 0, 0)),
        ("both-wild", "mu and scale all over their tables", (0, 170, -90, 70), (0, 11, -17, 9)),
    )
    for name, what, mu, scale in models:
        yield still(
            f"model-{name}",
            f"Model: {what}.",
            "model",
            latents=uniform(64), signal=_WIDE, **_plain(mu, scale),  # type: ignore[arg-type]
        )  # fmt: skip
    yield still(
        "model-tails",
        "Symbols of one count, far from mu under the smallest scale.",
        "model",
        latents=sparse((-64, -40, 40, 63), 4), signal=_WIDE,
        **_plain((0, 0, 0, 0), (-1280, 0, 0, 0)),  # type: ignore[arg-type]
    )  # fmt: skip
    yield still(
        "model-certain",
        "All symbols as expected under the smallest scale: hundreds of them in one word.",
        "model", "flat",
        latents=constant(0), img_size=(24, 40), **_plain((0, 0, 0, 0), (-1280, 0, 0, 0)),  # type: ignore[arg-type]
    )  # fmt: skip
    # The sample to the left counts 1, the one above 20: together they reach every entry.
    walk = _plain((0, 0, 0, 37), (0, 1, 20, 0))
    yield still(
        "scale-table-corrected-entries",
        "The 23 entries of the scale table that are not correctly rounded, where it matters.",
        "model", "scale table",
        latents=_walk(CORRECTED_SCALES), signal=_WIDE, img_size=(12, 40),
        latent_resolution=(0, 0), **walk,  # type: ignore[arg-type]
    )  # fmt: skip
    yield still(
        "scale-table-all-entries",
        "Every entry of the scale table.",
        "model", "scale table",
        latents=_walk(tuple(range(N_SCALES))), signal=_WIDE, img_size=(104, 102),
        latent_resolution=(0, 0), level=Level.FULL, **walk,  # type: ignore[arg-type]
    )  # fmt: skip


def _walk(targets: tuple[int, ...]) -> LatentRule:
    """Blocks of 2 x 2 samples whose last one is coded with a scale index out of a list.

    Above it is the sample that counts 20, to its left the one that counts 1, diagonally the one
    that moves mu. Where the correction of a table entry matters to some symbol, that one is taken.
    """

    def draw(source: Source, header: CoolChicHeader, _: Parameters) -> list[I8]:
        height, width = header.img_size
        grid = source.integers("latents", -20, 20, (height, width))
        places = [(y, x) for y in range(1, height, 2) for x in range(1, width, 2)]
        for (y, x), target in zip(places, targets * (len(places) // len(targets)), strict=False):
            above = min(max(round((target - 1280) / 20), MIN_SYMBOL), MAX_SYMBOL)
            grid[y - 1, x] = above
            grid[y, x - 1] = target - 1280 - 20 * above
            turn = range(int(source.integers(f"{y},{x}", 0, 63, ())), 64)
            for diagonal in turn:
                symbol = _telling_symbol(16384 + 37 * diagonal, target)
                if symbol is not None:
                    grid[y - 1, x - 1], grid[y, x] = diagonal, symbol
                    break
        return [grid.astype(np.int8)]

    return draw


def _telling_symbol(mu_index: int, scale_index: int) -> int | None:
    """Find a symbol whose counts depend on the correction of a scale."""
    if scale_index not in CORRECTED_SCALES:
        return None
    centre = (mu_index - 16384) // 256
    nearby = range(max(centre - 12, MIN_SYMBOL), min(centre + 12, MAX_SYMBOL) + 1)
    return next((s for s in nearby if correction_matters(s, mu_index, scale_index)), None)


def _coder() -> Iterator[Recipe]:
    for n in (1, 2, 3, 6):
        yield still(
            f"coder-carry-{n}",
            f"Range coder: words held back until a carry reaches them, with {n} words of zeros.",
            "range coder",
            latents=from_model(None, *[0] * n), signal=Signal(latent=8),
        )  # fmt: skip
        yield still(
            f"coder-no-carry-{n}",
            f"Range coder: words held back although no carry comes, with {n} words of ones.",
            "range coder",
            latents=from_model(None, *[_ONE] * n), signal=Signal(latent=8),
        )  # fmt: skip
    # Sizes for which it is so.
    for name, width in (("carry-at-the-end", 14), ("far-carry-at-the-end", 53)):
        yield still(
            f"coder-{name}-{width}",
            "Range coder: words that are still held back when the last symbol has been coded, and "
            "which a carry reaches then.",
            "range coder",
            latents=from_model(None, *[0] * 7), img_size=(1, width), latent_resolution=(0, 0),
        )  # fmt: skip
    yield still(
        "coder-carry-through-ones",
        "Range coder: held-back words that follow each other, without and with a carry.",
        "range coder",
        latents=from_model(None, _ONE, _ONE, None, 0, 0, 0, None, _ONE),
        signal=Signal(latent=8),
    )  # fmt: skip
    yield still(
        "coder-from-zero",
        "Range coder: a payload that begins with zeros.",
        "range coder",
        latents=from_model(0, 0, None), signal=Signal(latent=8),
    )  # fmt: skip
    yield still(
        "coder-one-symbol",
        "Range coder: a single symbol, a payload of one word.",
        "range coder",
        img_size=(1, 1), latent_resolution=(0, 0),
    )  # fmt: skip
    yield still(
        "coder-one-word-many-symbols",
        "Range coder: 286 symbols in few words, so that the decoder reads zeros beyond the end.",
        "range coder", "flat",
        latents=constant(1), latent_resolution=(0, 0),
        **_plain((256, 0, 0, 0), (-1280, 0, 0, 0)),  # type: ignore[arg-type]
    )  # fmt: skip
    for i in range(4):
        yield still(
            f"coder-ending-{i}",
            "Range coder: how a payload ends; some need a word of zeros after the last.",
            "range coder",
            img_size=(2, 3), latent_resolution=(0, 1), latents=uniform(20),
            signal=Signal(latent=8),
        )  # fmt: skip
