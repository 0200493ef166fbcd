# SPDX-License-Identifier: BSD-3-Clause
"""All valid stills."""

from __future__ import annotations

from numchic_conformance.synthetic.recipe import Recipe
from numchic_conformance.synthetic.stills.accumulators import accumulator_recipes
from numchic_conformance.synthetic.stills.grids import grid_recipes
from numchic_conformance.synthetic.stills.networks import network_recipes
from numchic_conformance.synthetic.stills.numbers import number_recipes
from numchic_conformance.synthetic.stills.pictures import picture_recipes
from numchic_conformance.synthetic.stills.symbols import symbol_recipes
from numchic_conformance.synthetic.stills.synthesis import synthesis_recipes


def still_recipes() -> list[Recipe]:
    """Return the recipes of all stills."""
    return [
        *picture_recipes(),
        *grid_recipes(),
        *network_recipes(),
        *synthesis_recipes(),
        *number_recipes(),
        *accumulator_recipes(),
        *symbol_recipes(),
    ]
