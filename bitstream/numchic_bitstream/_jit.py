# SPDX-License-Identifier: BSD-3-Clause
"""The ``kernel`` decorator: compilation with Numba, and a cache of what was compiled.

The cache and the lock below use what is inside Numba, which may change from version to version.
Where it has, every process compiles its kernels anew, and everything else works as before.

With ``NUMBA_DISABLE_JIT=1`` kernels stay plain Python.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

# What is raised where a name is missing, or means something else than it did.
_NUMBA_HAS_CHANGED = (ImportError, AttributeError, TypeError)


def kernel(
    *, contract: bool = False, inline: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function with Numba: no Python objects, no global interpreter lock.

    Parameters
    ----------
    contract : bool
        Allow fused multiply-add. Only for float64 arithmetic that is exact in any order, where it
        changes no bit.
    inline : bool
        Ask the compiler to put the kernel into its callers.

    Returns
    -------
    callable
        A decorator that keeps the signature.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        compiled: Any = numba.njit(
            nogil=True,
            error_model="numpy",
            fastmath={"contract"} if contract else False,
            forceinline=inline,
        )(function)
        if compiled is not function:
            with contextlib.suppress(*_NUMBA_HAS_CHANGED):
                from numchic_bitstream._cache import Cache

                compiled._cache = Cache(compiled)
        return cast("Callable[P, R]", compiled)

    return decorate


with contextlib.suppress(*_NUMBA_HAS_CHANGED):
    from numba.core.compiler_lock import global_compiler_lock as _lock

    # A process forked while another thread compiles would wait for that thread for ever.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
        )
