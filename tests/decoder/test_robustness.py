# SPDX-License-Identifier: BSD-3-Clause
"""Short forms of the commands that take long: soak, machines, work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import builders
from children import EXAMPLE, compiled_only, environment, linux_only
from decoder import machines, soak

pytestmark = compiled_only

HERE = Path(__file__).parent


def run(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, HERE / command, *map(str, arguments)],
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.cool"
    path.write_bytes(builders.stream())
    return path


@linux_only
def test_soak(small: Path) -> None:
    result = run("soak.py", small, EXAMPLE, "--decodes", 400, "--threads", 4)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "400 decodes: good" in result.stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _: None, True),
        (lambda result: result.update(wrong=1), False),
        (lambda result: result.update(outcomes=["another"]), False),
        (lambda result: result["memory"].append((300_000, 10)), False),
        (lambda result: result["memory"].append((0, 5_000_000)), False),
        (lambda result: result["memory"].extend([(300_000, 5_000_000), (90_000, 900_000)]), True),
    ],
)
def test_soak_notices(
    change: Callable[[dict[str, Any]], None], expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    sound: dict[str, Any] = {"outcomes": ["digest"], "wrong": 0, "memory": [(10, 10)]}
    other = sound | {"memory": [(10, 10)]}
    change(other)
    assert soak.report([sound, other]) == expected
    assert "resident" in capsys.readouterr().out


def test_machines(small: Path) -> None:
    """For the smallest processor, and without a compiler."""
    chosen = f"{machines.INTERPRETED},generic"
    result = run("machines.py", small, "--settings", chosen)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("1 streams, 7 digests, 0 differences") == 2


def test_machines_notices(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {machines.HOST: {"latents": "a", "dense": "b"}, "generic": {"latents": "c"}}
    monkeypatch.setattr(machines, "run_setting", lambda name, _: {str(small): results[name]})
    assert machines.compare([small], ["generic"]) == 2
    assert f"{small}: latents" in capsys.readouterr().out


def test_work() -> None:
    result = run("work.py", "--count", 3)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ns per unit of work" in result.stdout
