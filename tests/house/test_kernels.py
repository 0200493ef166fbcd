# SPDX-License-Identifier: BSD-3-Clause
"""Rules for compiled code: one decorator, no fast-math, a cache that knows all that matters."""

from __future__ import annotations

import ast
import dis
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from children import jit_only
from numchic_bitstream.kernels.cache import fingerprint

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("bitstream", "decoder")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "jit.py"
]
# Fused operations are allowed where float64 arithmetic is exact in any order.
MAY_CONTRACT = {"_add_product"}


def kernels(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for decorator in getattr(node, "decorator_list", []):
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "kernel":
                yield node.name, decorator  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_numba_is_used_through_one_decorator(path: Path) -> None:
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert "numba" not in imported


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_only_exact_kernels_contract(path: Path) -> None:
    contracting = {
        name
        for name, decorator in kernels(path)
        if any(keyword.arg == "contract" for keyword in decorator.keywords)
    }
    assert contracting <= MAY_CONTRACT


def test_there_are_kernels() -> None:
    assert sum(1 for path in SOURCES for _ in kernels(path)) > 10


# --- What the cache of compiled kernels depends on ---------------------------------------------

COMPILED_KERNELS = [
    (path.relative_to(ROOT / folder), name)
    for folder in ("bitstream", "decoder", "trainer")
    for path in sorted((ROOT / folder).rglob("*.py"))
    for name, _ in kernels(path)
]


def own_globals(function: FunctionType) -> set[str]:
    """Global names that a function uses, those of functions in it included."""
    names, codes = set(), [function.__code__]
    for code in codes:
        names |= {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        codes += [value for value in code.co_consts if isinstance(value, CodeType)]
    return names & function.__globals__.keys()


def reached(kernel: Any) -> set[tuple[Any, str]]:
    """Every kernel that one can call, with every global name that it uses."""
    found: set[tuple[Any, str]] = set()
    pending = [kernel]
    while pending:
        kernel = pending.pop()
        for name in own_globals(kernel.py_func):
            if (kernel, name) not in found:
                found.add((kernel, name))
                value = kernel.py_func.__globals__[name]
                pending += [value] if hasattr(value, "py_func") else []
    return found


@jit_only
@pytest.mark.parametrize(("path", "name"), COMPILED_KERNELS, ids=str)
def test_the_cache_depends_on_all_that_a_kernel_reaches(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = getattr(importlib.import_module(".".join(path.with_suffix("").parts)), name)
    before = fingerprint(kernel, "")
    for other, used in reached(kernel):
        with monkeypatch.context() as patch:
            patch.setitem(other.py_func.__globals__, used, -12345.5)
            assert fingerprint(kernel, "") != before, (other, used)
    assert fingerprint(kernel, "") == before
