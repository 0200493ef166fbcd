# SPDX-License-Identifier: BSD-3-Clause
"""Streams that are malformed, odd or damaged, and what has to come of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from numchic_bitstream import SynthesisLayer
from numchic_conformance.manifest import Expect, ExpectedError, Level
from numchic_conformance.synthetic.malformed.editing import Change
from numchic_conformance.synthetic.recipe import Recipe, still
from numchic_conformance.synthetic.videos import video

STILL = still(
    "base",
    "The good still that most malformed ones are made of.",
    spatial_context_arm=4,
    ups_k_size=4,
    ups_preconcat_k_size=3,
    img_size=(6, 12),
    hyperlatent_resolution=(1, 2),
    syn_layer=(
        SynthesisLayer(4, 1, "linear", "relu"),
        SynthesisLayer(3, 1, "linear", "none"),
        SynthesisLayer(3, 3, "residual", "none"),
    ),
)
VIDEO = video("base-video", "The same for videos.", 3, (0,), (2,), img_size=(6, 12))


@functools.cache
def base(recipe: Recipe) -> bytes:
    """Return the bytes of a good stream."""
    return recipe.build()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A stream that is not as it should be.

    Parameters
    ----------
    id : str
    description : str
        One sentence: what is wrong.
    change : callable
        Makes it out of a good stream.
    expect : Expect
    error : ExpectedError or None
        What numchic must raise; None if it decodes the stream.
    good : Recipe
        The good stream.
    same_picture : bool
        Whether a decoder that takes it must give the picture of the good stream.
    features : tuple of str
    level : Level
    """

    id: str
    description: str
    change: Change
    expect: Expect
    error: ExpectedError | None = None
    good: Recipe = STILL
    same_picture: bool = False
    features: tuple[str, ...] = ()
    level: Level = Level.CORE

    def build(self) -> bytes:
        """Return the bad stream."""
        return self.change(base(self.good))


def refuse(
    name: str,
    description: str,
    change: Change,
    error: str,
    field: str,
    *features: str,
    good: Recipe = STILL,
) -> Case:
    """Return a case that every decoder must refuse."""
    return Case(
        id=name,
        description=description,
        change=change,
        expect=Expect.REFUSE,
        error=ExpectedError(error, field),
        good=good,
        features=features,
    )
