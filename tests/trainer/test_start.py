# SPDX-License-Identifier: BSD-3-Clause
"""Choice of the preset, search for a rate, training speed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from numchic import Picture
from numchic_trainer import TrainConfig
from numchic_trainer.benchmark import main as benchmark
from numchic_trainer.goal import Attempt, Goal
from numchic_trainer.preset import choose_preset
from numchic_trainer.start import starting_points
from numchic_trainer.task import Task
from pictures import picture


def noise(height: int, width: int, strength: float) -> Picture:
    random = np.random.default_rng(0)
    plane = np.clip(128 + random.normal(0, strength, (height, width)), 0, 255).astype(np.uint8)
    return Picture((plane, plane, plane), "rgb", 8)


def test_small_and_flat_pictures_get_small_networks() -> None:
    auto = TrainConfig()
    assert choose_preset(noise(1, 1, 20), auto) == "lop"
    assert choose_preset(noise(64, 64, 20), auto) == "lop"
    assert choose_preset(noise(512, 512, 20), auto) == "hop"
    assert choose_preset(noise(128, 128, 1), auto) == "lop"
    assert choose_preset(noise(1, 1, 20), TrainConfig(preset="vhop")) == "vhop"
    assert choose_preset(noise(512, 512, 20), TrainConfig(effort="fast")) == "lop"


def test_networks_are_drawn_from_the_seed_alone() -> None:
    """And nobody else's random numbers change by it."""
    config = TrainConfig(seed=7, init="zero")
    task = Task(noise(24, 40, 20), config, "lop")
    before = torch.get_rng_state()
    target = task.target(config.lmbda, "cpu")
    model = task.model(target)
    first = starting_points(model, config, "zero", "lop", target)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)  # torch's own generator gives the same
        for param in first:
            model.reinitialize_parameters()
            expected = model.get_param()
            assert all(torch.equal(x, expected[name]) for name, x in param.items())
    assert len(first) > 1


@pytest.mark.parametrize("wanted", [0.2, 0.7, 2.0])
def test_the_search_finds_a_rate(wanted: float) -> None:
    goal = Goal.of(TrainConfig(target_bpp=wanted))
    assert goal is not None
    lmbda: float | None = 1e-3
    attempts: list[Attempt] = []
    while lmbda is not None:
        bpp = 0.02 + 0.5 * (lmbda / 1e-3) ** -0.4
        attempts.append(Attempt(lmbda, goal.measure(bpp, 30.0)))
        lmbda = None if goal.met(attempts[-1].found) else goal.next_lmbda(attempts)
    assert math.exp(attempts[-1].found) == pytest.approx(wanted, rel=0.02)
    assert len(attempts) <= 5


def test_benchmark_of_iterations(tmp_path: Path) -> None:
    arguments = ["iterations", "lop", "--sizes", "40x24", "--threads", "1,2"]
    kept = ["--save", str(tmp_path / "rows.json")]
    result = CliRunner().invoke(benchmark, [*arguments, *kept])
    assert result.exit_code == 0, result.output
    assert "preset=lop  size=40x24  threads=2" in result.output
    result = CliRunner().invoke(benchmark, [*arguments, "--against", kept[1]])
    assert result.exit_code == 0, result.output
    assert "cpu_ns_per_pixel" in result.output
    assert "  x per_second" in result.output


def test_benchmark_of_encodes(tmp_path: Path) -> None:
    Image.fromarray(picture(300, 260)).save(tmp_path / "x.png")
    arguments = [f"{tmp_path}/x.png@2,40", "--iterations", "0,20", "--seeds", "1"]
    result = CliRunner().invoke(benchmark, ["encodes", *arguments])
    assert result.exit_code == 0, result.output
    assert "picture=x.png@2,40  iterations=20" in result.output
