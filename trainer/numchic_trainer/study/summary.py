# SPDX-License-Identifier: BSD-3-Clause
"""``summary.md``: tables of a study as Markdown, with how every number is made."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from numchic_trainer.study.content import Content
from numchic_trainer.study.names import printable
from numchic_trainer.study.tables import Table

_MARKUP = re.compile(r"([\\`*_\[\]|~#$])")


def summary(content: Content) -> str:
    """Text of the file."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield f"# {text(content.title)}"
    yield ""
    yield from _list([f"{name}: {value}" for name, value in content.facts.items()])
    yield "All points are in [results.csv](results.csv), figures on [the page](index.html)."
    yield ""
    for table in (*content.comparisons, content.costs):
        yield from _table(table)
    if content.remarks:
        yield "## Left out"
        yield ""
        yield from _list(content.remarks)
    yield "## How the numbers are made"
    yield ""
    yield from _list(content.methods)
    for picture in content.pictures:
        if picture.table is not None:
            yield from _table(picture.table)


def _table(table: Table) -> Iterator[str]:
    groups = [name for name, width in table.groups for _ in range(width)] or [""] * len(
        table.columns
    )
    heads = [f"{g}: {c}" if g else c for g, c in zip(groups, table.columns, strict=True)]
    yield f"## {text(table.title)}"
    yield ""
    yield _row(heads)
    yield _row(["--:" if table.is_number(k) else "---" for k in range(len(heads))], raw=True)
    yield from map(_row, table.rows)
    yield ""
    yield from _list(table.notes)


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else map(text, cells))} |"


def _list(items: Sequence[str]) -> Iterator[str]:
    yield from (f"- {text(item)}" for item in items)
    if items:
        yield ""


def text(value: str) -> str:
    """Any text as one line that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", html.escape(printable(value), quote=False))
