# SPDX-License-Identifier: BSD-3-Clause
"""Kinds of options of the command line."""

from __future__ import annotations

import dataclasses
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
    field.name: "--max-" + field.name.removesuffix("_bytes").replace("_", "-")
    for field in dataclasses.fields(Limits)
}
_HELP = dict(re.findall(r"(\w+) : int\n +(.+?\.)\s", Limits.__doc__ or "", re.DOTALL))


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that set :class:`Limits`, collected into one argument ``limits``."""

    @functools.wraps(command)
    def with_limits(**arguments: Any) -> None:
        limits = {name: arguments.pop(f"max_{name}") for name in LIMIT_OPTIONS}
        command(limits=Limits(**limits), **arguments)

    for field in reversed(dataclasses.fields(Limits)):
        click.option(
            LIMIT_OPTIONS[field.name],
            f"max_{field.name}",
            type=click.IntRange(min=0),
            default=field.default,
            show_default=True,
            help=_HELP.get(field.name),  # none where Python leaves docstrings out
        )(with_limits)
    return with_limits


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
        number = re.fullmatch(r"\d{1,9}(\.\d{1,9}|/0*[1-9]\d{,8})?", str(value), re.ASCII)
        rate = Fraction(str(value)) if number else Fraction(0)
        if not 0 < rate.numerator < 1 << 31:  # what other programs can read
            self.fail("not a rate such as 25, 29.97 or 30000/1001", param, ctx)
        return rate.numerator, rate.denominator
