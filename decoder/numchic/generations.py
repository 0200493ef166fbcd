# SPDX-License-Identifier: BSD-3-Clause
"""The table of generations that can be decoded.

How their streams are told apart and read is in :mod:`numchic_bitstream.generations`.
"""

from __future__ import annotations

from typing import Any

from numchic.generation import Generation


def _load_5() -> Generation[Any, Any]:
    from numchic.v5 import generation

    return generation


def _load_4() -> Generation[Any, Any]:
    from numchic.v4 import generation

    return generation


# Functions, so that a program loads only what its streams need.
_GENERATIONS = {"5.0": _load_5, "4.2": _load_4, "4.1": _load_4, "4.0": _load_4}


def generation(name: str) -> Generation[Any, Any]:
    """Give the generation of a name such as "5.0"."""
    return _GENERATIONS[name]()


def all_generations() -> list[Generation[Any, Any]]:
    """Give every generation once."""
    return [load() for load in dict.fromkeys(_GENERATIONS.values())]
