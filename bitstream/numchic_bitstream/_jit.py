# SPDX-License-Identifier: BSD-3-Clause
"""The ``kernel`` decorator: Numba compilation with a cache that cannot go stale.

Numba's own cache looks only at the file of the cached function. A kernel that calls a kernel of
another file, or uses a constant of one, would keep the old machine code after an edit or upgrade,
which for an exact decoder means a wrong picture. It also fails when its files are damaged or the
disk is full, and mixes up signatures when two processes save at the same time.

Here every signature of a kernel has a file of its own for every kind of processor, with a digest of
its content, in a folder whose name is a hash of all sources the kernel can reach. A file that
cannot be read or written, or is damaged, costs a compilation and nothing else.

The folder is in ``$NUMCHIC_CACHE_DIR`` or ``numchic`` in the user's cache folder. With
``NUMBA_DISABLE_JIT=1`` kernels stay plain Python.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

P = ParamSpec("P")
R = TypeVar("R")

_DIGEST_SIZE = 32
# Numba does not say their types.
_serialise: Any = dumps
_CompileResult: Any = CompileResult


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
        folder = _cache_folder(Path(function.__code__.co_filename).parent)
        if compiled is not function and folder is not None:
            compiled._cache = _Cache(function, folder)
        return cast("Callable[P, R]", compiled)

    return decorate


class _Cache(NullCache):
    """Machine code of one kernel, in the form that Numba asks for."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._folder = folder
        self._name = function.__name__
        self._key = (
            f"{sys.implementation.cache_tag} {function.__module__}.{function.__qualname__} "
            f"{function.__code__.co_firstlineno}"
        )

    @property
    def cache_path(self) -> str:
        """Folder of the files, for Numba's statistics."""
        return str(self._folder)

    def _path(self, signature: object, codegen: Any) -> Path:
        key = f"{self._key} {signature} {codegen.magic_tuple()}"
        return self._folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def load_overload(self, sig: object, target_context: Any) -> Any:
        """Machine code for a signature; None when there is no sound file with it."""
        target_context.refresh()
        try:
            data = self._path(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
        if hashlib.sha256(content).digest() != digest:
            return None
        try:
            return _CompileResult._rebuild(target_context, *pickle.loads(content))
        except Exception:  # a Numba that is different inside: compile
            return None

    def save_overload(self, sig: object, data: Any) -> None:
        """Save the machine code for a signature, if that is possible."""
        # No folder, no room, no right to write; or a Numba that is different inside.
        with contextlib.suppress(Exception):
            content: bytes = _serialise(data._reduce())
            path = self._path(sig, data.codegen)
            _replace(path, hashlib.sha256(content).digest() + content)


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that other processes see nothing of it or all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@functools.cache
def _cache_folder(package: Path) -> Path | None:
    """Folder for the machine code of one package; None without sources to derive a name from."""
    here = Path(__file__).parent
    if not (here / "_jit.py").is_file():
        return None
    # The switch for bound checks is not part of Numba's own description of the target.
    boundscheck = os.environ.get("NUMBA_BOUNDSCHECK", "")
    digest = hashlib.sha256(f"{numba.__version__} {boundscheck}".encode())
    try:
        for source in sorted({*here.rglob("*.py"), *package.rglob("*.py")}):
            digest.update(f"{source.parent.name}/{source.name} {source.stat().st_size} ".encode())
            digest.update(source.read_bytes())
    except OSError:  # such as a link to nowhere
        return None
    return _user_cache() / digest.hexdigest()[:16]


def _user_cache() -> Path:
    if chosen := os.environ.get("NUMCHIC_CACHE_DIR"):
        return Path(chosen).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # Without a home folder this stays a relative path with "~", which must not be created.
    folder = Path(os.path.expanduser(base)) / "numchic"  # noqa: PTH111 - never raises
    return folder if folder.is_absolute() else Path(os.devnull) / "numchic"


if hasattr(os, "register_at_fork"):
    # A process forked while another thread compiles would wait for that thread for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
