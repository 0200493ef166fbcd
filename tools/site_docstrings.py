# SPDX-License-Identifier: BSD-3-Clause
"""What docstrings of this project need to become pages, as an extension of Griffe."""

from __future__ import annotations

import importlib
import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([^`]+)`")
_AT_RUN_TIME = "documented"  # the decorator that writes the parameters of settings


class Docstrings(griffe.Extension):
    """Make links of roles, and take docstrings that are made when a module is imported."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Take the docstring of settings from the class itself."""
        if any(decorator.value == _AT_RUN_TIME for decorator in cls.decorators):
            found = getattr(importlib.import_module(cls.module.path), cls.name)
            cls.docstring = griffe.Docstring(found.__doc__, parent=cls)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Make links of roles such as ``:func:`decode```."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda role: _link(role[1], obj), obj.docstring.value)


def _link(name: str, scope: griffe.Object) -> str:
    """Give a link, which is plain code if what it names has no place in the pages."""
    try:
        path = scope.resolve(name)
    except griffe.NameResolutionError:
        path = name
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
