# SPDX-License-Identifier: BSD-3-Clause
"""Names as people can read them: those of files and curves may have anything in them."""

from __future__ import annotations

_LONGEST = 60  # characters


def printable(text: str) -> str:
    """Text without what cannot be shown or written."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def shown(name: str) -> str:
    """Name that is printable, and not too long."""
    name = printable(name)
    if len(name) <= _LONGEST:
        return name
    half = _LONGEST // 2
    return f"{name[: half - 1]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
