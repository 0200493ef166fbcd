# SPDX-License-Identifier: BSD-3-Clause
"""What a setting may be, said once: for the check of a value, for help and for the command line."""

from __future__ import annotations

import dataclasses
import numbers
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from numchic_bitstream import UsageError

_KEY = "setting"  # of the metadata of a field


class Kind(Protocol):
    """A type and a range; as text it is what an error message calls allowed."""

    @property
    def metavar(self) -> str:
        """What the command line shows for a value."""

    def check(self, value: object) -> Any:
        """Return the value as a plain one of Python, or raise a ValueError."""

    def parse(self, text: str) -> Any:
        """Return the value that a word of the command line stands for, or raise a ValueError."""


@dataclass(frozen=True)
class Number:
    """A whole (``int``) or real (``float``) number, both ends included."""

    kind: type[int] | type[float]
    low: float
    high: float
    metavar: str = "NUMBER"

    def __str__(self) -> str:
        noun = "a whole number" if self.kind is int else "a number"
        return f"{noun}, {self.low} .. {self.high}"

    def check(self, value: object) -> int | float:
        """See :class:`Kind`."""
        wanted = numbers.Integral if self.kind is int else numbers.Real
        if not isinstance(value, bool) and isinstance(value, wanted):
            number: Any = value
            if self.low <= number <= self.high:  # which NaN is not
                return self.kind(number)
        raise ValueError

    def parse(self, text: str) -> int | float:
        """See :class:`Kind`."""
        return self.check(self.kind(text))


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """See :class:`Kind`."""
        return f"[{'|'.join(self.words)}]"

    def __str__(self) -> str:
        return ", ".join(self.words)

    def check(self, value: object) -> str:
        """See :class:`Kind`."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError
        return str(value)

    parse = check


@dataclass(frozen=True)
class Flag:
    """True or False; an option of two names on the command line."""

    metavar: str = ""

    def __str__(self) -> str:
        return "True, False"

    def check(self, value: object) -> bool:
        """See :class:`Kind`."""
        if type(value) not in (bool, np.bool):
            raise ValueError
        return bool(value)

    parse = check


@dataclass(frozen=True)
class Text:
    """Some text, such as the name of a file; paths become text."""

    metavar: str = "TEXT"

    def __str__(self) -> str:
        return "text"

    def check(self, value: object) -> str:
        """See :class:`Kind`."""
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(text, str) or not text or "\0" in text:
            raise ValueError
        return str(text)

    parse = check


@dataclass(frozen=True)
class Pair:
    """Two numbers."""

    each: Number
    metavar: str = "LO:HI"

    def __str__(self) -> str:
        return f"two of: {self.each}"

    def check(self, value: object) -> tuple[int | float, ...]:
        """See :class:`Kind`."""
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise ValueError
        return tuple(self.each.check(v) for v in value)

    def parse(self, text: str) -> tuple[int | float, ...]:
        """See :class:`Kind`."""
        return self.check([self.each.parse(part) for part in text.split(":")])


@dataclass(frozen=True)
class Subset:
    """Some of the words of a choice, in any order, none of them twice."""

    each: Choice
    metavar: str = "NAME,..."

    def __str__(self) -> str:
        return f"one or more of: {self.each}"

    def check(self, value: object) -> tuple[str, ...]:
        """See :class:`Kind`."""
        if not isinstance(value, tuple | list) or not value:
            raise ValueError
        words = tuple(self.each.check(v) for v in value)
        if len(set(words)) < len(words):
            raise ValueError
        return words

    def parse(self, text: str) -> tuple[str, ...]:
        """See :class:`Kind`."""
        return self.check(text.split(","))


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

    def __str__(self) -> str:
        return ", ".join([str(self.kind), *(repr(value) for value in self.words.values())])

    def check(self, name: str, value: object) -> Any:
        """Return the value as a plain one of Python, or raise a UsageError that names it."""
        if any(type(value) is type(w) and value == w for w in self.words.values()):
            return value
        try:
            return self.kind.check(value)
        except ValueError:
            raise UsageError("illegal setting", name, None, shown(value), str(self)) from None

    def parse(self, text: str) -> Any:
        """Return the value that a word of the command line stands for, or raise a ValueError."""
        return self.words[text] if text in self.words else self.kind.parse(text)

    def word(self, value: object) -> str:
        """Return what the command line calls a value."""
        for word, meant in self.words.items():
            if value == meant:
                return word
        separator = "," if isinstance(self.kind, Subset) else ":"
        return separator.join(map(str, value)) if isinstance(value, tuple) else str(value)


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


def defaults_of(config: type) -> dict[str, Any]:
    """Defaults of a dataclass of settings, by name."""
    return {field.name: field.default for field in dataclasses.fields(config)}


def check_settings(config: Any) -> None:
    """Check the fields of a frozen dataclass of settings and make their values plain ones."""
    for name, known in settings_of(type(config)).items():
        object.__setattr__(config, name, known.check(name, getattr(config, name)))


def documented(config: type) -> type:
    """Decorate a dataclass of settings: its docstring lists them."""
    defaults = defaults_of(config)
    lines = [config.__doc__ or "", "", "    Parameters", "    ----------"]
    for name, known in settings_of(config).items():
        lines += [f"    {name} : {known}, default {defaults[name]!r}", f"        {known.help}"]
    config.__doc__ = "\n".join([*lines, "    "])
    return config
