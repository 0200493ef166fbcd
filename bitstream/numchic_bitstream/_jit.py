# SPDX-License-Identifier: BSD-3-Clause
"""The ``kernel`` decorator: Numba compilation with a cache that cannot go stale.

Numba's own cache looks only at the file of the cached function. A kernel that calls a kernel of
another file, or uses a constant of one, would keep the old machine code after an edit or upgrade,
which for an exact decoder means a wrong picture. Here the cache lies in a user folder whose name is
a hash of all sources the kernel can reach. Without a writable folder nothing is cached.

The folder is ``$NUMCHIC_CACHE_DIR`` or ``numchic`` in the user's cache folder. With
``NUMBA_DISABLE_JIT=1`` kernels stay plain Python.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


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
        package = Path(function.__code__.co_filename).parent
        folder = _cache_folder(package)
        config: Any = numba.config  # filled at run time
        before = config.CACHE_DIR
        try:
            config.CACHE_DIR = folder or before
            compiled = numba.njit(
                nogil=True,
                cache=folder is not None,
                error_model="numpy",
                fastmath={"contract"} if contract else False,
                forceinline=inline,
            )(function)
        finally:
            config.CACHE_DIR = before
        return cast("Callable[P, R]", compiled)

    return decorate


@functools.cache
def _cache_folder(package: Path) -> str | None:
    """Folder for the machine code of one package; None when it cannot be written."""
    here = Path(__file__).parent
    # Not part of Numba's own key.
    boundscheck = os.environ.get("NUMBA_BOUNDSCHECK", "")
    if not (here / "_jit.py").is_file():
        return None  # sources out of reach: nothing to derive a name from
    digest = hashlib.sha256(f"{numba.__version__} {boundscheck}".encode())
    for source in sorted({*here.rglob("*.py"), *package.rglob("*.py")}):
        digest.update(f"{source.parent.name}/{source.name} {source.stat().st_size} ".encode())
        digest.update(source.read_bytes())
    folder = _user_cache() / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return None
    return str(folder)


def _user_cache() -> Path:
    if chosen := os.environ.get("NUMCHIC_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # Without a home folder this stays a relative path with "~", which must not be created.
    folder = Path(os.path.expanduser(base)) / "numchic"  # noqa: PTH111 - never raises
    return folder if folder.is_absolute() else Path(os.devnull) / "numchic"
