# SPDX-License-Identifier: BSD-3-Clause
"""What a setting may be, said once: for the check of a value, for help and for the command line."""

from __future__ import annotations

import dataclasses
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from numchic_bitstream import UsageError

_KEY = "setting"  # of the metadata of a field

MAX_LEVELS = 16

T = TypeVar("T")


class Kind(NamedTuple):
    """A type and a range.

    ``check`` returns a value as a plain one of Python, or raises a ValueError; so does ``parse``
    with a word of the command line, and ``word`` is the way back.
    """

    allowed: str
    metavar: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    word: Callable[[Any], str] = str


def number(kind: type[int] | type[float], low: float, high: float) -> Kind:
    """Kind of whole (``int``) or real (``float``) numbers in a range, both ends included."""
    wanted: Any = numbers.Integral if kind is int else numbers.Real
    noun = "a whole number" if kind is int else "a number"

    def check(value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
            raise ValueError  # also NaN
        return kind(value)

    return Kind(f"{noun}, {low} .. {high}", "NUMBER", check, lambda text: check(kind(text)))


def choice(*words: str) -> Kind:
    """Kind of one of some words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return str(value)

    return Kind(", ".join(words), f"[{'|'.join(words)}]", check, check)


def text(metavar: str = "TEXT") -> Kind:
    """Kind of text, such as the name of a file; paths become text."""

    def check(value: Any) -> str:
        found = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(found, str) or not found or "\0" in found:
            raise ValueError
        return str(found)

    return Kind("text", metavar, check, check)


def several(each: Kind, n: int | None, metavar: str, separator: str) -> Kind:
    """Kind of ``n`` values in order, or of any number of different ones."""

    def check(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, tuple | list) or len(values) != (n or len(set(values)) or 1):
            raise ValueError
        return tuple(each.check(value) for value in values)

    return Kind(
        f"{n or 'one or more, all different,'} of: {each.allowed}",
        metavar,
        check,
        lambda text: check([each.parse(part) for part in text.split(separator)]),
        lambda values: separator.join(map(each.word, values)),
    )


def by_level(each: Kind) -> Kind:
    """Kind of one value or more: for a level of B frames each, the last one also for all deeper."""

    def check(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, tuple | list):
            values = (values,)
        if not 1 <= len(values) <= MAX_LEVELS:
            raise ValueError
        return tuple(each.check(value) for value in values)

    return Kind(
        f"one or more of: {each.allowed}",
        "LEVEL0,LEVEL1,...",
        check,
        lambda text: check([each.parse(part) for part in text.split(",")]),
        lambda values: ",".join(map(each.word, values)),
    )


def _check_flag(value: Any) -> bool:
    if type(value) not in (bool, np.bool):
        raise ValueError
    return bool(value)


FLAG = Kind("True, False", "", _check_flag, _check_flag)


@dataclass(frozen=True)
class Setting:
    """What is known of one setting.

    Attributes
    ----------
    kind : Kind
    help : str
        Sentences for users.
    words : mapping
        Values beside those of the kind, by their names on the command line.
    option : bool
        Whether the command line has it.
    """

    kind: Kind
    help: str
    words: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    option: bool = True

    @property
    def allowed(self) -> str:
        """What an error message calls allowed."""
        return ", ".join([self.kind.allowed, *map(repr, self.words.values())])

    def check(self, name: str, value: object) -> Any:
        """Return the value as a plain one of Python, or raise a UsageError that names it."""
        if any(type(value) is type(known) and value == known for known in self.words.values()):
            return value
        try:
            return self.kind.check(value)
        except (ValueError, TypeError):
            raise UsageError("illegal setting", name, None, shown(value), self.allowed) from None

    def parse(self, word: str) -> Any:
        """Return the value that a word of the command line stands for, or raise a ValueError."""
        return self.words[word] if word in self.words else self.kind.parse(word)

    def word(self, value: object) -> str:
        """Return what the command line calls a value."""
        known = (word for word, meant in self.words.items() if value == meant)
        return next(known, None) or self.kind.word(value)


def shown(value: object) -> str:
    """Text for a value of any type in a message: one short line, with quotes around a text."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # an integer with more digits than Python wants to print
        return type(value).__name__


def setting(default: Any, kind: Kind, help: str, /, **more: Any) -> Any:  # noqa: A002
    """Field of a dataclass of settings; see :class:`Setting`."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(kind, help, **more)})


def settings_of(config: type) -> dict[str, Setting]:
    """All settings of a dataclass, by name."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(config)}


def check_settings(config: Any) -> None:
    """Check the fields of a frozen dataclass of settings and make their values plain ones."""
    for name, known in settings_of(type(config)).items():
        object.__setattr__(config, name, known.check(name, getattr(config, name)))


def documented(config: type[T]) -> type[T]:
    """Decorate a dataclass of settings: its docstring lists them."""
    lines = [config.__doc__ or "", "", "    Parameters", "    ----------"]
    for name, known in settings_of(config).items():
        default = getattr(config, name)
        lines += [f"    {name} : {known.allowed}, default {default!r}", f"        {known.help}"]
    config.__doc__ = "\n".join([*lines, "    "])
    return config
