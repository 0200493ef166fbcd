# SPDX-License-Identifier: BSD-3-Clause
"""What the range coder goes through, as the specification writes it (coolchic-5, 8.4)."""

from __future__ import annotations

import math

from numchic_bitstream.v5.laplace import scale_table
from numchic_conformance.coverage.latents import Symbols
from numchic_conformance.synthetic.counts import left

_64 = 1 << 64
_32 = 1 << 32
MOST_SYMBOLS = 60_000
"""Of more symbols only the first are looked at; large vectors are not there for the coder."""


def coder_marks(symbols: Symbols, n_words: int, marks: set[str]) -> None:
    """Encode the symbols and add what happens to ``marks``.

    Parameters
    ----------
    symbols : Symbols
    n_words : int
        Size of the payload.
    marks : set
        Updated.
    """
    scales = scale_table().astype(float)
    lower, width, pending, written, renormalised = 0, _64 - 1, 0, 0, 0
    whole = len(symbols.symbol) <= MOST_SYMBOLS
    for symbol, mu, scale in zip(*(column[:MOST_SYMBOLS] for column in symbols), strict=True):
        s, m, b = int(symbol), int(mu), scales[scale]
        low, high = left(s, m, b), left(s + 1, m, b)
        if high - low == 1:
            marks.add("counts.one")
        if s > -64 and _rounds_to_one(s - 0.5 - (m - 16384) / 256, b):
            marks.add("counts.far-tail")
        step = width >> 24
        width = step * (high - low)
        new = (lower + step * low) % _64
        if pending and (new + width) % _64 > new:
            marks.add(_settled("symbol", pending, new < lower))
            written, pending = written + pending, 0
        lower = new
        if width >= _32:
            marks.add("coder.no-renormalisation")
            renormalised = 0
            continue
        renormalised += 1
        marks.add(f"coder.renormalisation.{'again' if renormalised > 1 else 'once'}")
        width <<= 32
        lower = (lower << 32) % _64
        if pending:
            pending += 1
        elif (lower + width) % _64 > lower:
            written += 1
        else:
            pending = 1
    if whole:
        _finish(lower, width, pending, written, n_words, marks)


def _settled(when: str, pending: int, carry: bool) -> str:
    n = "one" if pending == 1 else "two" if pending == 2 else "more"
    return f"coder.{'carry' if carry else 'no-carry'}.{n}.{when}"


def _finish(
    lower: int, width: int, pending: int, written: int, n_words: int, marks: set[str]
) -> None:
    point = (lower + _32 - 1) % _64
    if pending:
        marks.add(_settled("end", pending, point < lower).replace(".two.", ".more."))
    zero = ((lower + width) % _64) >> 32 == point >> 32
    marks.add(f"coder.end.{'word-of-zeros' if zero else 'plain'}")
    total = written + pending + 1 + zero
    marks.add(f"coder.words.{'one' if n_words == 1 else 'two' if n_words == 2 else 'more'}")
    if n_words != total:
        marks.add(f"coder.words-{'too-many' if n_words > total else 'missing'}")


def _rounds_to_one(distance: float, scale: float) -> bool:
    """Whether F is 1 although the tail is not nothing (8.2)."""
    return distance > 0 and 1.0 - 0.5 * math.exp(-distance / scale) == 1.0
