# SPDX-License-Identifier: BSD-3-Clause
"""Choices that follow from a name, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from numchic_bitstream.arrays import I64
from numchic_conformance.synthetic.seeded import Source

T = TypeVar("T")


class Draw:
    """A sequence of choices.

    Parameters
    ----------
    name : object
        What everything follows from.

    Examples
    --------
    >>> draw = Draw("example")
    >>> [draw.integer(1, 6) for _ in range(5)]
    [2, 6, 1, 2, 3]
    """

    def __init__(self, name: object) -> None:
        self._source = Source(str(name))
        self._n_drawn = 0

    def integers(self, lowest: int, highest: int, shape: tuple[int, ...]) -> I64:
        """Draw int64[shape] in lowest .. highest."""
        self._n_drawn += 1
        return self._source.integers(str(self._n_drawn), lowest, highest, shape)

    def integer(self, lowest: int, highest: int) -> int:
        """Draw an integer in lowest .. highest."""
        return int(self.integers(lowest, highest, ()))

    def choice(self, values: Sequence[T]) -> T:
        """Draw one of some values."""
        return values[self.integer(0, len(values) - 1)]

    def chance(self, percent: int) -> bool:
        """Draw whether something happens."""
        return self.integer(1, 100) <= percent
