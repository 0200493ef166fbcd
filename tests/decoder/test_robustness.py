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
from stage_digests import THREADS, stages

pytestmark = compiled_only

HERE = Path(__file__).parent
V4 = HERE.parents[1] / "conformance" / "vectors" / "v4"


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


@pytest.fixture
def all_kinds(small: Path, tmp_path: Path) -> list[Path]:
    """A still and a video of 5.0, and both of 4.x."""
    video = tmp_path / "video.cool"
    video.write_bytes(builders.video())
    return [small, video, V4 / "4.2-noise-everywhere.cool", V4 / "4.1-p.cool"]


@linux_only
def test_soak(all_kinds: list[Path]) -> None:
    result = run("soak.py", *all_kinds, EXAMPLE, "--decodes", 400, "--threads", 4)
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


def test_machines(all_kinds: list[Path]) -> None:
    """For the smallest processor, and without a compiler."""
    chosen = f"{machines.INTERPRETED},generic"
    result = run("machines.py", *all_kinds, "--settings", chosen)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("4 streams, 179 digests, 0 differences") == 2


def test_machines_look_at_every_stage(all_kinds: list[Path]) -> None:
    still, video, still4, video4 = (set(stages(path.read_bytes())) for path in all_kinds)
    samples = {f"samples, {n} threads" for n in THREADS}
    assert still >= samples | {
        "parameters.arm_weight",
        "latents.0",
        "dense",
        "synthesis",
        "resized",
    }
    assert video >= samples | {"frame1.motion.resized", "frame1.prediction"}
    assert still4 >= samples | {"parameters.arm_weight", "latents.0", "dense", "synthesis"}
    assert video4 >= samples | {"frame1.motion.latents.1", "frame1.prediction", "frame1.samples"}


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
