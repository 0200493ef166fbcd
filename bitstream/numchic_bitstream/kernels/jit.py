# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that Numba compiles when they are called. The only module that imports Numba.

The cache and the lock below use what is inside Numba, which may change from version to version.
Where it has, every process compiles its kernels anew, and everything else works as before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, cast

import numba

from numchic_bitstream.kernels.cache import Cache

# What is raised where a name is missing, or means something else than it did.
_NUMBA_HAS_CHANGED = (ImportError, AttributeError, TypeError)


def compile_lazily(
    function: Callable[..., Any], *, contract: bool, inline: bool, nrt: bool
) -> Callable[..., Any]:
    """Give a function that is compiled for the types that it is called with.

    Parameters
    ----------
    function : callable
    contract, inline : bool
        See :func:`numchic_bitstream.kernels.kernel`.
    nrt : bool
        Whether it may allocate memory. Without, arrays have no reference counts.
    """
    njit: Any = numba.njit
    compiled = njit(
        nogil=True,
        error_model="numpy",
        fastmath={"contract"} if contract else False,
        forceinline=inline,
        **({} if nrt else _without_memory()),
    )(function)
    if compiled is not function:
        with contextlib.suppress(*_NUMBA_HAS_CHANGED):
            _keep(compiled)
        with contextlib.suppress(*_NUMBA_HAS_CHANGED):
            _ignore_constants(compiled)
    return compiled  # type: ignore[no-any-return]


def _without_memory() -> dict[str, bool]:
    """Option that forbids allocation and thus saves reference counts, if Numba still has it."""
    with contextlib.suppress(*_NUMBA_HAS_CHANGED):
        from numba.core.options import DefaultOptions

        if hasattr(DefaultOptions, "_nrt"):
            return {"_nrt": False}
    return {}


def _keep(compiled: Any) -> None:
    """Use the files of the cache."""
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps

    compiled._cache = Cache(compiled, numba.__version__, dumps, CompileResult._rebuild)


def _ignore_constants(compiled: Any) -> None:
    """Let a kernel be compiled for the types of its arguments, not again for every constant."""
    from numba.core import types

    resolve, plain = compiled.get_call_template, cast("Any", types.unliteral)

    def resolve_types(arguments: Any, named: Any) -> Any:
        return resolve(tuple(map(plain, arguments)), {k: plain(v) for k, v in named.items()})

    compiled.get_call_template = resolve_types


with contextlib.suppress(*_NUMBA_HAS_CHANGED):
    from numba.core.compiler_lock import global_compiler_lock as _lock

    # A process forked while another thread compiles would wait for that thread for ever.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
        )
