# SPDX-License-Identifier: BSD-3-Clause
"""Which vectors exercise what: the table, as data and as ``coverage.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from numchic_conformance.coverage.facts import stream_facts
from numchic_conformance.coverage.items import Item, all_items
from numchic_conformance.coverage.v4 import stream_facts4
from numchic_conformance.manifest import Vector, load_suite
from numchic_conformance.synthetic.generate import SUITES

Table = Mapping[Item, tuple[str, ...]]
"""Item to the ids of the vectors that exercise it."""

_SHOWN = 3
_HEAD = """# Coverage

What the vectors exercise, computed from their bytes: those of `v4` and `v4-malformed` the sections
of the older generations, all others those of 5.0. For every item: how many vectors, and some of
them, synthetic ones first. What cannot be covered, and why, is in
`numchic_conformance/coverage/items/__init__.py`. Written by `numchic conformance coverage --write`.
"""


def coverage_table(vectors: Iterable[Vector]) -> Table:
    """Compute what every vector exercises."""
    by_key: dict[str, list[str]] = {}
    for vector in vectors:
        facts = stream_facts if vector.generation == "5.0" else stream_facts4
        for key in facts(vector.read()):
            by_key.setdefault(key, []).append(vector.id)
    return {item: tuple(by_key.get(item.key, ())) for item in all_items()}


def project_table(folder: Path) -> Table:
    """Return the table of the suites in ``folder/suites``, the synthetic ones first."""
    synthetic = [folder / "suites" / f"{name}.json" for name in SUITES]
    others = sorted(set((folder / "suites").glob("*.json")) - set(synthetic))
    suites = map(load_suite, [*synthetic, *others])
    return coverage_table(vector for suite in suites for vector in suite.vectors)


def uncovered(table: Table) -> list[Item]:
    """Items that no vector exercises."""
    return [item for item, ids in table.items() if not ids]


def render(table: Table) -> str:
    """Return the table as Markdown."""
    parts = [_HEAD]
    for section, group in groupby(table.items(), lambda pair: pair[0].section):
        parts.append(f"\n## {section}\n\n| item | vectors | among them |\n|---|---|---|\n")
        for item, ids in group:
            shown = ", ".join(ids[:_SHOWN]) or "**none**"
            parts.append(f"| {item.text} | {len(ids)} | {shown} |\n")
    return "".join(parts)
