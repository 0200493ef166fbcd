# SPDX-License-Identifier: BSD-3-Clause
"""The ``kernel`` decorator: one source of the kernels, three ways to run it.

native
    A library that was compiled with the package (:mod:`.native`); nothing is compiled any more.
jit
    Numba compiles kernels when they are first called, and keeps what it has compiled (:mod:`.jit`).
python
    Kernels are run as they are written, for tests and for reading.

``$NUMCHIC_KERNELS`` names one of them; ``native-v2``, ``native-v3`` and ``native-v4`` also choose
the code for older and newer x86-64 processors. Otherwise it is the first one that can be had, plain
Python only with ``NUMBA_DISABLE_JIT=1``. All give the same bits.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from numchic_bitstream.errors import UnsupportedError, UsageError
from numchic_bitstream.kernels import native

P = ParamSpec("P")
R = TypeVar("R")

ENTRIES: list[Callable[..., Any]] = []
"""Kernels that are called from Python, as they were decorated; filled by their modules."""

_CHOICES = ("native", "native-v2", "native-v3", "native-v4", "jit", "python")


def kernel(
    *, entry: bool = False, contract: bool = False, inline: bool = False, allocates: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a kernel of a function: no Python objects, no global interpreter lock.

    Parameters
    ----------
    entry : bool
        Called from Python. The annotations of such a kernel say all about its arguments, with
        arrays as in :mod:`numchic_bitstream.arrays`; see :mod:`.signature`.
    contract : bool
        Allow fused multiply-add. Only for float64 arithmetic that is exact in any order, where it
        changes no bit.
    inline : bool
        Ask the compiler to put the kernel into its callers.
    allocates : bool
        Makes arrays. Only outside the library, which has no memory of its own.

    Returns
    -------
    callable
        A decorator that keeps the signature.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        made: Any = function
        if _mode() == "native" and native.covers(function):
            made = native.Kernel(function, _library()) if entry else function
        elif _mode() != "python":
            made = _compiled(function, contract=contract, inline=inline, nrt=allocates)
        if entry:
            ENTRIES.append(made)
        return cast("Callable[P, R]", made)

    return decorate


def describe() -> str:
    """Say how kernels are run: "native (x86-64-v3)", "jit (Numba 0.68.1)", "python" or "none"."""
    if _mode() == "native":
        return f"native ({_library().processor})"
    if _mode() == "python":
        return "python"
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"jit (Numba {version('numba')})"
    except PackageNotFoundError:
        return "none"


def why_not_native() -> str:
    """Give the reason why there is no library that can be used; empty if there is one."""
    found = _found()
    return found if isinstance(found, str) else ""


def is_native() -> bool:
    """Whether there is nothing to compile."""
    return _mode() == "native"


@functools.cache
def _mode() -> str:
    asked = os.environ.get("NUMCHIC_KERNELS", "")
    if asked not in ("", *_CHOICES):
        raise UsageError(
            "there are no such kernels", "NUMCHIC_KERNELS", None, asked, ", ".join(_CHOICES)
        )
    if asked:
        return asked.partition("-")[0]
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "python"
    return "jit" if why_not_native() else "native"


def _library() -> native.Library:
    found = _found()
    if isinstance(found, str):
        raise UnsupportedError(f"there are no native kernels: {found}", "NUMCHIC_KERNELS")
    return found


@functools.cache
def _found() -> native.Library | str:
    """Give the library, or the reason why there is none."""
    return native.find(os.environ.get("NUMCHIC_KERNELS", "").partition("-")[2])


def _compiled(function: Callable[..., Any], **options: bool) -> Callable[..., Any]:
    try:
        from numchic_bitstream.kernels import jit
    except Exception as error:  # there is no Numba, or one that does not go with this Python
        return _unavailable(error)
    return jit.compile_lazily(function, **options)


def _unavailable(error: Exception) -> Callable[..., NoReturn]:
    def refuse(*_: object) -> NoReturn:
        raise UnsupportedError(
            f"there are no native kernels ({why_not_native()}), "
            f"and Numba cannot be used ({error}); pip install 'numchic[jit]'",
            "NUMCHIC_KERNELS",
        ) from error

    return refuse
