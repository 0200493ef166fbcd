# SPDX-License-Identifier: BSD-3-Clause
"""Kinds of options of the command line."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from numchic_bitstream.limits import Limits

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # which is generic only in newer versions

LIMIT_OPTIONS = {
    "memory_bytes": "--max-memory",
    "work": "--max-work",
    "total_work": "--max-total-work",
    "pixels": "--max-pixels",
}


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that set :class:`Limits`, collected into one argument ``limits``."""

    @functools.wraps(command)
    def with_limits(
        max_pixels: int, max_work: int, max_total_work: int, max_memory: int, **arguments: object
    ) -> None:
        command(
            limits=Limits(
                pixels=max_pixels,
                work=max_work,
                total_work=max_total_work,
                memory_bytes=max_memory,
            ),
            **arguments,
        )

    decorated: Callable[..., None] = with_limits
    for field, option in LIMIT_OPTIONS.items():
        decorated = click.option(
            option,
            type=click.IntRange(min=1),
            default=getattr(Limits(), field),
            show_default=True,
            help=f"Refuse streams that need more {field.replace('_', ' ')}.",
        )(decorated)
    return decorated


class FrameRange(_ParamType):
    """Frames: N as an integer, or A:B as a slice."""

    name = "N|A:B"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | slice:
        """Convert the text."""
        found = re.fullmatch(r"(\d{0,9})(:?)(\d{0,9})", str(value), re.ASCII)
        if not found or not value:
            self.fail(f"{value!r} is neither a frame N nor frames A:B", param, ctx)
        first, colon, stop = found.groups()
        return slice(*(int(n) if n else None for n in (first, stop))) if colon else int(first)


class Rate(_ParamType):
    """Frames per second, a number or a fraction, as numerator and denominator."""

    name = "N|N/D"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Convert the text."""
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if rate <= 0:
            self.fail("not a positive number such as 25 or 30000/1001", param, ctx)
        return rate.numerator, rate.denominator
