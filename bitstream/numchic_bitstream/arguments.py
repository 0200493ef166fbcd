# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what callers pass in."""

from __future__ import annotations

import operator
from typing import Any

from numchic_bitstream.errors import UsageError


def as_integer(value: Any, name: str, lowest: int, highest: int | None = None) -> int:
    """Give an argument as an int; NumPy's integers are integers, truth values are not.

    Raises
    ------
    UsageError
        It is no integer, or out of range.
    """
    allowed = f">= {lowest}" if highest is None else f"{lowest}..{highest}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise UsageError("not an integer", name, None, value, allowed)
    if number < lowest or (highest is not None and number > highest):
        raise UsageError("out of range", name, None, value, allowed)
    return int(number)
