# SPDX-License-Identifier: BSD-3-Clause
"""What an entry kernel declares, and how its arguments get into slots, without a library."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

import numchic.v4.frame
import numchic.v5.frame  # noqa: F401 - all kernels
from numchic_bitstream import UsageError, kernels
from numchic_bitstream.arrays import F32_1D, I8_2D, I32_2D
from numchic_bitstream.kernels import native
from numchic_bitstream.kernels.signature import signatures, symbol


class Pair(NamedTuple):
    factor: float
    taps: F32_1D


def add(grid: I8_2D | I32_2D, pair: Pair, n: int, flag: bool, small: np.float32) -> tuple[int, int]:
    raise NotImplementedError


def scale(x: float) -> float:
    raise NotImplementedError


def bad(text: str) -> None:
    raise NotImplementedError


class Recorder:
    """Stands for a library: keeps what it is called with, and answers with some results."""

    def __init__(self, *results: int) -> None:
        self.results = results
        self.called: list[tuple[str, list[int]]] = []

    def function(self, name: str) -> Callable[[int], None]:
        def call(address: int) -> None:
            slots = (ctypes.c_int64 * 16).from_address(address)
            n = 9 if "_add_" in name else 1
            self.called.append((name, list(slots[:n])))
            for i, result in enumerate(self.results):
                slots[n + i] = result

        return call


def kernel_of(function: Callable[..., Any], *results: int) -> tuple[native.Kernel, Recorder]:
    recorder = Recorder(*results)
    return native.Kernel(function, cast("native.Library", recorder)), recorder


def test_every_entry_declares_its_types() -> None:
    names = set()
    for entry in kernels.ENTRIES:
        function = getattr(entry, "py_func", getattr(entry, "__wrapped__", entry))
        for i, _ in enumerate(signatures(function)):
            names.add(symbol(function, i))
    assert "numchic_filters__preconcat_rows_1" in names


def test_a_type_that_no_entry_can_take_is_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        signatures(bad)


@pytest.mark.parametrize(("dtype", "variant"), [(np.int8, 0), (np.int32, 1)])
def test_arguments_become_slots(dtype: type[Any], variant: int) -> None:
    kernel, recorder = kernel_of(add, 7, -8)
    grid, taps = np.zeros((2, 3), dtype), np.zeros(5, np.float32)
    assert kernel(grid, Pair(1.5, taps), -4, True, np.float32(2.5)) == (7, -8)
    ((name, slots),) = recorder.called
    assert name.endswith(f"test_native_add_{variant}")
    half = struct.unpack("q", struct.pack("d", 1.5))[0]
    small = struct.unpack("i", struct.pack("f", 2.5))[0]
    assert slots[:6] == [grid.ctypes.data, 2, 3, half, taps.ctypes.data, 5]
    assert slots[6:] == [-4, 1, small]


def test_a_float_comes_back() -> None:
    kernel, _ = kernel_of(scale, *array("q", struct.pack("d", 0.25)))
    assert kernel(1.0) == 0.25


GRID, PAIR = np.zeros((2, 3), np.int8), Pair(1.5, np.zeros(5, np.float32))
ONE = np.float32(1)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((GRID.astype(np.int16), PAIR, 1, True, ONE), "int16"),
        ((np.zeros((3, 2), np.int8).T, PAIR, 1, True, ONE), "not contiguous"),
        ((GRID[0], PAIR, 1, True, ONE), r"int8\[3\]"),
        ((GRID, tuple(PAIR), 1, True, ONE), "tuple"),
        ((GRID, Pair(1, PAIR.taps), 1, True, ONE), "Pair"),
        ((GRID, PAIR, 1.0, True, ONE), "float"),
        ((GRID, PAIR, 1 << 63, True, ONE), "int"),
        ((GRID, PAIR, 1, True, 1.0), "float"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: tuple[Any, ...], found: str) -> None:
    kernel, recorder = kernel_of(add)
    with pytest.raises(UsageError, match=rf"(?s){found}.*allowed int8\[:, :\], Pair\(float64, "):
        kernel(*arguments)
    assert not recorder.called


def test_arrays_that_cannot_be_written_are_passed_too() -> None:
    kernel, recorder = kernel_of(add, 0, 0)
    grid = np.zeros((2, 3), np.int8)
    grid.flags.writeable = False
    kernel(grid, Pair(1.5, np.zeros(0, np.float32)), 1, False, ONE)
    assert recorder.called[0][1][0] == grid.ctypes.data


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Place of a library that is not there."""
    path = tmp_path / "library.so"
    monkeypatch.setattr(native, "PATH", path)
    monkeypatch.setattr(native, "_CHECKSUM", path.with_suffix(".sha256"))
    monkeypatch.setattr(native, "_REASON", tmp_path / "no_library.txt")
    return path


def test_no_library(place: Path) -> None:
    assert native.find("") == "there is no library.so"
    (place.parent / "no_library.txt").write_text("there is no C compiler cc\n")
    assert native.find("") == "there is no C compiler cc"


def test_no_good_library(place: Path) -> None:
    place.write_bytes(b"text")
    place.with_suffix(".sha256").write_text("other")
    assert native.find("") == "the library is damaged"
    place.with_suffix(".sha256").write_text(hashlib.sha256(b"text").hexdigest())
    assert str(native.find("")).startswith("the library cannot be used: ")


class Functions:
    """What ctypes gives of a library."""

    def __init__(self, level: int) -> None:
        self.numchic_level = lambda: level

    @staticmethod
    def numchic_identity() -> bytes:
        return b"numchic kernels"

    def __getitem__(self, name: str) -> Any:
        return lambda _: name


@pytest.mark.parametrize(("level", "asked", "chosen"), [(4, "", 4), (4, "v2", 2), (1, "", 1)])
def test_the_best_code_is_chosen(level: int, asked: str, chosen: int) -> None:
    library = native.Library(cast("Any", Functions(level)), asked)
    assert library.identity == "numchic kernels"
    suffix = f"_v{chosen}" if chosen > 1 else ""
    assert cast("Any", library.function("kernel"))(0) == f"kernel{suffix}"
    assert library.processor == (f"x86-64-v{chosen}" if chosen > 1 else platform.machine())


@pytest.mark.parametrize(("level", "asked"), [(0, ""), (2, "v3"), (1, "v2")])
def test_code_that_this_processor_cannot_run_is_refused(level: int, asked: str) -> None:
    with pytest.raises(ValueError, match="no code for"):
        native.Library(cast("Any", Functions(level)), asked)


def test_the_identity_has_a_digest_of_all_sources() -> None:
    assert native.identity() == f"numchic kernels {native.CONVENTION} {native.source_digest()}"
