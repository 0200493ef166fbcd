# SPDX-License-Identifier: BSD-3-Clause
"""Public names that are imported when they are first used, and what to install if that fails."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def importer(
    package: str, homes: Mapping[str, Collection[str]], needed: Collection[str], hint: str
) -> Callable[[str], Any]:
    """Give the ``__getattr__`` of a package.

    Parameters
    ----------
    package : str
    homes : mapping
        Names by the modules that define them.
    needed : collection of str
        Packages that an extra brings.
    hint : str
        What is said if one of them is missing; ``{}`` stands for it.
    """

    def get(name: str) -> Any:
        for module, names in homes.items():
            if name in names:
                try:
                    home = importlib.import_module(f"{package}.{module}")
                except ModuleNotFoundError as error:
                    if error.name not in needed:
                        raise
                    raise ModuleNotFoundError(hint.format(error.name), name=error.name) from error
                return getattr(home, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
