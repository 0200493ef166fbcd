# SPDX-License-Identifier: BSD-3-Clause
"""What docstrings of this project need to become pages, as an extension of Griffe."""

from __future__ import annotations

import importlib
import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([^`]+)`")
_NAMES = re.compile(r"^(\w+(?:, \w+)+)\n((?: {4}.*(?:\n|\Z))+)", re.MULTILINE)
_SETTINGS = "documented"  # the decorator that writes the parameters of settings


class Docstrings(griffe.Extension):
    """Make links of roles, and show settings as they are at run time."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Take the docstring of settings from the class itself, and only defaults of its fields."""
        if not any(str(decorator.value) == _SETTINGS for decorator in cls.decorators):
            return
        found = getattr(importlib.import_module(cls.module.path), cls.name)
        cls.docstring = griffe.Docstring(found.__doc__, parent=cls)
        for field in cls.attributes.values():
            if isinstance(field.value, griffe.ExprCall):
                field.value = field.value.arguments[0]

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Make links of roles such as ``:func:`decode```, and give every name its own entry."""
        if obj.docstring is not None:
            text = _NAMES.sub(_entries, obj.docstring.value)
            obj.docstring.value = _ROLE.sub(lambda role: _link(role[1], obj), text)


def _entries(several: re.Match[str]) -> str:
    """Split what is said of several arguments at once: Griffe gives all the type of the first."""
    text = several[2].rstrip("\n")
    return "\n".join(f"{name}\n{text}" for name in several[1].split(", ")) + "\n"


def _link(name: str, scope: griffe.Object) -> str:
    """Give a link, which is plain code if what it names has no place in the pages."""
    try:
        path = scope.resolve(name)
    except griffe.NameResolutionError:
        path = name
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
