# SPDX-License-Identifier: BSD-3-Clause
"""Rules for compiled code: one decorator, no fast-math."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("bitstream", "decoder")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in {"_jit.py", "benchmark.py"}
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
