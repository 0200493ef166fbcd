# SPDX-License-Identifier: BSD-3-Clause
"""Kernels from the library that was compiled when the package was built.

Every entry kernel is a function ``name(slots)`` of the library, for each of its signatures and, on
x86-64, for each of three kinds of processor. ``slots`` is an array of 8-byte numbers: the arguments
(of an array its address and dimensions, of a named tuple its fields), then room for the results.

The library carries the version of this convention and a digest of all sources of the packages that
it was compiled from. One that carries another is not used: it would be that of older kernels.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import operator
import platform
import struct
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numchic_bitstream.errors import UsageError
from numchic_bitstream.kernels.signature import (
    Array,
    Fields,
    Scalar,
    Signature,
    Type,
    signatures,
    symbol,
)

CONVENTION = 1
"""Version of what the library and this module agree on."""

PACKAGES = ("numchic_bitstream", "numchic")
"""Packages whose kernels are in the library."""

SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
PATH = Path(__file__).with_name(f"library{SUFFIX}")
_CHECKSUM = PATH.with_suffix(".sha256")
_REASON = PATH.with_name("no_library.txt")  # of the build backend
_SITE = Path(__file__).parents[2]


class MismatchError(TypeError):
    """An argument is not what a signature says."""


def covers(function: Callable[..., Any]) -> bool:
    """Whether the library would have this kernel."""
    return function.__module__.partition(".")[0] in PACKAGES


def source_digest() -> str:
    """Digest of all sources of the packages beside this one, as a wheel installs them."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((_SITE / package).rglob("*.py")):
            content = path.read_bytes()
            name = path.relative_to(_SITE).as_posix()
            digest.update(f"{name} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()


def identity() -> str:
    """What a library must say of itself."""
    return f"numchic kernels {CONVENTION} {source_digest()}"


def find(processor: str) -> Library | str:
    """Open the library.

    Parameters
    ----------
    processor : str
        "v2", "v3", "v4", or "" for what the processor can do.

    Returns
    -------
    Library or str
        Why there is none, if there is none that can be used.
    """
    if not PATH.exists():
        made = _REASON.exists()
        return _REASON.read_text(encoding="utf-8").strip() if made else f"there is no {PATH.name}"
    try:
        # A part of a library would end the process.
        if hashlib.sha256(PATH.read_bytes()).hexdigest() != _CHECKSUM.read_text("ascii"):
            return "the library is damaged"
        library = Library(ctypes.CDLL(str(PATH)), processor)
    except (OSError, AttributeError, ValueError) as error:
        return f"the library cannot be used: {error}"
    if library.identity != identity():
        return "the library was made from other sources"
    return library


class Library:
    """An open library.

    Parameters
    ----------
    functions : ctypes.CDLL
    processor : str
        "v2", "v3", "v4" or "".

    Attributes
    ----------
    identity : str
        See :func:`identity`.
    processor : str
        Kind of processor for which the chosen code is.

    Raises
    ------
    AttributeError
        It is no library of kernels.
    ValueError
        Its code is not for this processor.
    """

    def __init__(self, functions: ctypes.CDLL, processor: str) -> None:
        functions.numchic_identity.restype = ctypes.c_char_p
        self.identity: str = functions.numchic_identity().decode("ascii", "replace")
        available: int = functions.numchic_level()
        level = int(processor[1:]) if processor else available
        if not 0 < level <= available:
            raise ValueError(f"it has no code for {processor or 'x86-64-v1'} on this processor")
        self.processor = f"x86-64-v{level}" if level > 1 else platform.machine()
        self._functions = functions
        self._suffix = f"_v{level}" if level > 1 else ""

    def function(self, name: str) -> Callable[[int], None]:
        """Give the function of a kernel for the chosen kind of processor; it takes an address."""
        function = self._functions[name + self._suffix]
        function.argtypes, function.restype = [ctypes.c_void_p], None
        return function


class Kernel:
    """An entry kernel of the library, called like the function that it was compiled from.

    Parameters
    ----------
    function : callable
    library : Library

    Raises
    ------
    UsageError
        When it is called with arguments that fit none of its signatures.
    """

    def __init__(self, function: Callable[..., Any], library: Library) -> None:
        functools.update_wrapper(self, function)
        self._function, self._library = function, library

    @functools.cached_property
    def _variants(self) -> list[_Variant]:
        return [
            _variant(self._library.function(symbol(self._function, i)), signature)
            for i, signature in enumerate(signatures(self._function))
        ]

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel; other threads run meanwhile."""
        for function, pack, results, read in self._variants:
            slots: list[int] = []
            try:
                for one, argument in zip(pack, arguments, strict=True):
                    one(argument, slots)
            except MismatchError:
                continue
            memory = array("q", slots + results)
            function(memory.buffer_info()[0])
            return read(memory[len(slots) :]) if results else None
        found = ", ".join(map(_described, arguments))
        allowed = " or ".join(map(str, signatures(self._function)))
        name = f"{self._function.__module__}.{self._function.__name__}"
        raise UsageError("arguments do not fit a kernel", name, None, found, allowed)


_Packer = Callable[[Any, list[int]], None]


class _Variant(NamedTuple):
    """One signature of a kernel: how to check and store arguments, call it, and read results."""

    function: Callable[[int], None]
    pack: list[_Packer]
    results: list[int]
    read: Callable[[array[int]], Any]


def _variant(function: Callable[[int], None], signature: Signature) -> _Variant:
    pack = [_packer(kind) for kind in signature.arguments]
    return _Variant(function, pack, [0] * len(signature.results), _reader(signature.results))


def _packer(kind: Type) -> _Packer:
    """Give a function that checks an argument and appends its slots."""
    if isinstance(kind, Array):
        return _array_packer(np.dtype(kind.dtype), kind.ndim)
    if isinstance(kind, Fields):
        return _tuple_packer(kind.cls, [_packer(item) for item in kind.items])
    return {"float64": _pack_float64, "float32": _pack_float32}.get(kind.kind, _pack_integer)


def _array_packer(dtype: np.dtype[Any], ndim: int) -> _Packer:
    def pack(values: Any, slots: list[int]) -> None:
        if type(values) is not np.ndarray or values.dtype != dtype or values.ndim != ndim:
            raise MismatchError
        flags = values.flags
        if not (flags.c_contiguous and flags.aligned):
            raise MismatchError
        if flags.writeable and values.size:
            # Three times as fast as what works with all arrays.
            buffer: Any = values  # which Python 3.11 cannot say
            slots.append(ctypes.addressof(ctypes.c_char.from_buffer(buffer)))
        else:
            slots.append(values.ctypes.data)
        slots += values.shape

    return pack


def _tuple_packer(cls: type[Any], pack: list[_Packer]) -> _Packer:
    def pack_all(fields: Any, slots: list[int]) -> None:
        if type(fields) is not cls:
            raise MismatchError
        for one, field in zip(pack, fields, strict=True):
            one(field, slots)

    return pack_all


def _pack_integer(value: Any, slots: list[int]) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        raise MismatchError from None
    if not -(1 << 63) <= number < 1 << 63:
        raise MismatchError
    slots.append(number)


def _pack_float64(value: Any, slots: list[int]) -> None:
    if not isinstance(value, float):
        raise MismatchError
    slots += struct.unpack("q", struct.pack("d", value))


def _pack_float32(value: Any, slots: list[int]) -> None:
    if not isinstance(value, np.float32):
        raise MismatchError
    slots += struct.unpack("i", struct.pack("f", value))


def _reader(results: tuple[Scalar, ...]) -> Callable[[array[int]], Any]:
    """Give a function that takes results from their slots."""
    layout = "".join("q" if kind == "int64" else "d" for (kind,) in results)

    def read(slots: array[int]) -> Any:
        values = struct.unpack(layout, slots)
        return values[0] if len(values) == 1 else values

    return read


def _described(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        order = "" if argument.flags.c_contiguous else ", not contiguous"
        return f"{argument.dtype}{list(argument.shape)}{order}"
    return type(argument).__name__
