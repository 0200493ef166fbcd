# SPDX-License-Identifier: BSD-3-Clause
"""Starting networks, choice of the preset, search for a rate, training speed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from numchic import Picture
from numchic_trainer import CoolChicEncoder, TrainConfig
from numchic_trainer.benchmark import main as benchmark
from numchic_trainer.config import architecture
from numchic_trainer.goal import Attempt, Goal
from numchic_trainer.preset import choose_preset
from numchic_trainer.start import starting_points
from numchic_trainer.training.plan import plan


@pytest.mark.parametrize("preset", ["lop", "mop", "hop", "vhop"])
def test_shared_networks_fit_their_preset(preset: Any) -> None:
    config = TrainConfig()
    model = CoolChicEncoder(architecture(config, preset, (40, 56)))
    (start,) = starting_points(model, config, preset)
    (other_seed,) = starting_points(model, TrainConfig(seed=1), preset)
    for name, tensor in start.items():
        assert torch.equal(tensor, other_seed[name]), name  # nothing is left to chance
        assert torch.isfinite(tensor).all()
        if name.startswith("latent"):
            assert not tensor.any()


def test_larger_pictures_have_more_inputs_than_the_shared_networks() -> None:
    config = TrainConfig()
    small = CoolChicEncoder(architecture(config, "lop", (40, 56)))
    large = CoolChicEncoder(architecture(config, "lop", (1000, 1000)))
    (a,), (b,) = (starting_points(model, config, "lop") for model in (small, large))
    assert torch.equal(a["arm.hidden.0.weight"], b["arm.hidden.0.weight"])
    weights = a["synthesis.trunk.0.weight"], b["synthesis.trunk.0.weight"]
    assert weights[0].shape[1] + 1 == weights[1].shape[1]
    assert torch.equal(weights[0], weights[1][:, :-1])


def test_other_channels_have_a_synthesis_of_their_own() -> None:
    config = TrainConfig()
    model = CoolChicEncoder(architecture(config, "lop", (40, 56)))
    (rgb,) = starting_points(model, config, "lop")
    (yuv,) = starting_points(model, config, "lop", rgb=False)
    differing = {name.split(".")[0] for name in rgb if not torch.equal(rgb[name], yuv[name])}
    assert differing == {"synthesis"}


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


def test_all_iterations_are_planned() -> None:
    for n in (20, 100, 1000):
        config = TrainConfig(iterations=n, init="random")
        *warm_up, main = plan(config, "lop")
        lengths = [phase.n_iterations for phase in warm_up]
        assert 5 * lengths[0] + 2 * lengths[1] + main.n_iterations == n
        (only,) = plan(TrainConfig(iterations=n), "lop")
        assert only.n_iterations == n


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


def test_benchmark() -> None:
    result = CliRunner().invoke(benchmark, ["lop", "--size", "40x24"])
    assert result.exit_code == 0, result.output
    assert "iterations per second at 40x24" in result.output
