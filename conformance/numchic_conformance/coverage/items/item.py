# SPDX-License-Identifier: BSD-3-Clause
"""One thing to exercise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Item(NamedTuple):
    """Something that at least one vector has to exercise.

    Attributes
    ----------
    section : str
        With its title, such as ``2.1 Video header``: of coolchic-5, or, after "4.x:", of
        coolchic-4.2.
    key : str
        What :func:`numchic_conformance.coverage.facts.stream_facts` calls it.
    text : str
        One line.
    """

    section: str
    key: str
    text: str


def items(section: str, *rows: tuple[str, str]) -> Iterator[Item]:
    """Items of one section from rows of key and text."""
    for key, text in rows:
        yield Item(section, key, text)


def each(section: str, key: str, values: Iterable[object], text: str) -> Iterator[Item]:
    """One item for each value, with ``{}`` in key and text standing for it."""
    for value in values:
        yield Item(section, key.format(value), text.format(value))
