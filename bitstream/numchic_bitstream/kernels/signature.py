# SPDX-License-Identifier: BSD-3-Clause
"""What the annotations of an entry kernel say: types of arguments and results.

Arguments are arrays of :mod:`numchic_bitstream.arrays` with a number of dimensions, ``int``
(int64), ``float`` (float64), ``bool``, ``np.float32``, and named tuples of these; ``A | B`` stands
for one signature with each. Results are ``None``, ``int``, ``float`` or a tuple of ``int``.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

SCALARS: dict[Any, str] = {int: "int64", float: "float64", bool: "bool", np.float32: "float32"}


class Scalar(NamedTuple):
    """One number: int64, float64, float32 or bool."""

    kind: str

    def __str__(self) -> str:
        return self.kind


class Array(NamedTuple):
    """A C-contiguous array."""

    dtype: str
    ndim: int

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(':' * self.ndim)}]"


class Fields(NamedTuple):
    """A named tuple."""

    cls: type[Any]
    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"{self.cls.__name__}({', '.join(map(str, self.items))})"


Type = Scalar | Array | Fields


class Signature(NamedTuple):
    """Types of one form of a kernel."""

    arguments: tuple[Type, ...]
    results: tuple[Scalar, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.arguments))


def signatures(function: Callable[..., Any]) -> list[Signature]:
    """All signatures that a function declares, in a fixed order."""
    hints = get_type_hints(function, include_extras=True)
    results = _results(hints.pop("return"))
    choices = [list(_types(hint)) for hint in hints.values()]
    return [Signature(chosen, results) for chosen in itertools.product(*choices)]


def _types(hint: Any) -> Iterator[Type]:
    """Types that an annotation admits."""
    if get_origin(hint) in (Union, types.UnionType):
        for other in get_args(hint):
            yield from _types(other)
    elif get_origin(hint) is Annotated:
        array, ndim = get_args(hint)
        dtype = get_args(get_args(array)[1])[0]
        yield Array(np.dtype(dtype).name, ndim)
    elif hint in SCALARS:
        yield Scalar(SCALARS[hint])
    elif hasattr(hint, "_fields"):
        fields = get_type_hints(hint, include_extras=True)
        items = [list(_types(fields[name])) for name in hint._fields]
        for chosen in itertools.product(*items):
            yield Fields(hint, chosen)
    else:
        raise TypeError(f"no argument of an entry kernel can be of type {hint}")


def _results(hint: Any) -> tuple[Scalar, ...]:
    if hint is type(None):
        return ()
    kinds = get_args(hint) if get_origin(hint) is tuple else (hint,)
    return tuple(Scalar(SCALARS[kind]) for kind in kinds)


def symbol(function: Callable[..., Any], variant: int) -> str:
    """Name of a signature of a kernel in the library."""
    return f"{function.__module__}_{function.__name__}_{variant}".replace(".", "_")
