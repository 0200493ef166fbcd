# SPDX-License-Identifier: BSD-3-Clause
"""A cache of the machine code of kernels that cannot go stale.

Numba's own cache looks only at the file of the cached function. A kernel that calls a kernel of
another file, or uses a constant of one, would keep the old machine code after an edit or upgrade,
which for an exact decoder means a wrong picture. It also fails when its files are damaged or the
disk is full, and mixes up signatures when two processes save at the same time.

Here every signature of a kernel has a file of its own for every kind of processor, with a digest of
its content, and a name that is a hash of all that the compiler sees: the bytecode of the kernel,
the values of its global names, and the same of all kernels that it calls. A file that cannot be
read or written, or is damaged, costs a compilation and nothing else.

The files are in ``$NUMCHIC_CACHE_DIR`` or ``numchic`` in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import math
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

_DIGEST_SIZE = 32


class Cache:
    """Machine code of one kernel, in the form that Numba asks for.

    Parameters
    ----------
    kernel : numba.core.dispatcher.Dispatcher
    compiler : str
        Version of Numba.
    serialise, rebuild : callable
        Numba's functions for what it has compiled.
    """

    def __init__(
        self,
        kernel: Any,
        compiler: str,
        serialise: Callable[[Any], bytes],
        rebuild: Callable[..., Any],
    ) -> None:
        self._kernel = kernel
        self._compiler = compiler
        self._serialise, self._rebuild = serialise, rebuild
        self._folder = user_cache()

    @property
    def cache_path(self) -> str:
        """Folder of the files, for Numba's statistics."""
        return str(self._folder)

    def load_overload(self, *asked: Any) -> Any:
        """Machine code for a signature; None when there is no sound file with it."""
        try:
            return self._load(*asked)
        except Exception:  # no file, no right to read it, or a Numba that is different inside
            return None

    def save_overload(self, *compiled: Any) -> None:
        """Save the machine code for a signature, if that is possible."""
        # No folder, no room, no right to write; or a Numba that is different inside.
        with contextlib.suppress(Exception):
            self._save(*compiled)

    def _load(self, signature: object, target_context: Any) -> Any:
        target_context.refresh()
        data = self._path(signature, target_context.codegen()).read_bytes()
        digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
        if hashlib.sha256(content).digest() != digest:
            return None
        return self._rebuild(target_context, *pickle.loads(content))

    def _save(self, signature: object, result: Any) -> None:
        content = self._serialise(result._reduce())
        path = self._path(signature, result.codegen)
        _replace(path, hashlib.sha256(content).digest() + content)

    def _path(self, signature: object, codegen: Any) -> Path:
        digest = fingerprint(self._kernel, self._compiler)
        key = f"{digest} {signature} {codegen.magic_tuple()}"
        name = self._kernel.py_func.__name__
        return self._folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def fingerprint(kernel: Any, compiler: str) -> str:
    """Digest of what the machine code of a kernel follows from, beside signature and processor."""
    # The switch for bound checks is not part of Numba's own description of the target.
    boundscheck = os.environ.get("NUMBA_BOUNDSCHECK", "")
    versions = sys.implementation.cache_tag, compiler, np.__version__, boundscheck
    digest = hashlib.sha256(repr(versions).encode())
    for part in _reach(kernel, set()):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def _reach(kernel: Any, seen: set[Any]) -> Iterator[object]:
    """All that a kernel consists of, and the kernels that it calls."""
    function = kernel.py_func
    yield function.__module__, function.__qualname__, sorted(kernel.targetoptions.items())
    if kernel in seen:
        return
    seen.add(kernel)
    values = [cell.cell_contents for cell in function.__closure__ or ()]
    values += function.__defaults__ or ()
    values += (function.__kwdefaults__ or {}).values()
    for code in _nested(function.__code__):
        yield code.co_code, code.co_exceptiontable, code.co_flags, code.co_names
        yield code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
        yield code.co_varnames, code.co_cellvars, code.co_freevars
        yield [value for value in code.co_consts if not isinstance(value, CodeType)]
        # Names of attributes are among them, which is more than needed and does no harm.
        names = filter(function.__globals__.__contains__, code.co_names)
        values += map(function.__globals__.__getitem__, names)
    for value in values:
        if hasattr(value, "py_func"):
            yield from _reach(value, seen)
        elif hasattr(value, "_defn"):  # an intrinsic, which writes code with all of its module
            yield inspect.getsource(inspect.getmodule(value._defn) or value._defn)
        else:
            yield _described(value)


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Code of a function and of the functions in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _nested(value)


def _described(value: Any) -> object:
    """All that a kernel can know of a value; of some kinds of value nobody needs to know it yet."""
    if isinstance(value, int | float | tuple | np.generic | np.ndarray | None):
        return pickle.dumps(value, protocol=5)
    if isinstance(value, ModuleType):
        return (math, np).index(value)  # what is in them goes with their versions
    return value.__module__, value.__qualname__, value._fields  # a class of named tuples


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


def user_cache() -> Path:
    """Folder of the files; one that cannot be made if the user has none."""
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
