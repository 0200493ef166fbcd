# SPDX-License-Identifier: BSD-3-Clause
"""Kernels without autograd against plain torch: one iteration, derivative by derivative."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from numchic import Picture
from numchic_trainer import TrainConfig
from numchic_trainer.config import Start
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.start import starting_points
from numchic_trainer.task import Task
from numchic_trainer.training.autograd import AutogradEngine
from numchic_trainer.training.distortion import Planes, UserFunction
from numchic_trainer.training.engine import Step
from numchic_trainer.training.sweep import SweepEngine
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Training
from pictures import picture, yuv_picture

STEP = Step(0, 0.3, 0.0, 1e-2, 1e-2, 1.0)


def rgb(height: int, width: int) -> Picture:
    planes = np.moveaxis(picture(height, width), -1, 0)
    return Picture((planes[0], planes[1], planes[2]), "rgb", 8)


CASES: dict[str, tuple[Picture, dict[str, Any]]] = {
    "lop": (rgb(65, 130), {"preset": "lop"}),
    "mop": (rgb(33, 40), {"preset": "mop"}),
    "hop": (rgb(40, 71), {"preset": "hop"}),
    "vhop": (rgb(40, 71), {"preset": "vhop"}),
    "hyperlatents": (rgb(64, 64), {"preset": "lop", "hyperlatent_resolution": "auto"}),
    "no ifce": (rgb(20, 30), {"preset": "lop", "ifce_resolution": None}),
    "coarse": (rgb(41, 30), {"preset": "lop", "latent_resolution": (1, 4)}),
    "noise": (rgb(41, 30), {"preset": "lop", "common_randomness": True}),
    "ssim": (rgb(41, 30), {"preset": "lop", "tune": "ssim"}),
    "4:2:0": (yuv_picture(35, 42, "yuv420"), {"preset": "lop"}),
    "4:4:4": (yuv_picture(35, 42, "yuv444"), {"preset": "lop"}),
    "one pixel": (rgb(1, 1), {"preset": "lop"}),
}


def made(name: str) -> tuple[CoolChicEncoder, Target]:
    """Model in the middle of a training."""
    source, settings = CASES[name]
    config = TrainConfig(**settings)
    task = Task(source, config, settings["preset"])
    target = task.target(1e-3, "cpu")
    model = task.model(target)
    start: Start = "zero" if source.data_type != "rgb" else "shared"
    candidates = starting_points(model, config, start, task.preset, target, rgb=task.is_rgb)
    model.set_param(candidates[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator), alpha=0.02)
    return model, target


def gradients(model: CoolChicEncoder, target: Target) -> dict[str, torch.Tensor]:
    """Derivatives of the loss by plain torch in double precision."""
    plain = CoolChicEncoder(model.param).double()
    plain.load_state_dict(model.state_dict())
    y, u, v = (plane.double() for plane in target.planes)
    wide = Target((y, u, v), target.lmbda, target.maximum, target.measure)
    AutogradEngine(plain, 0).loss(STEP, wide).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_is_that_of_plain_torch(name: str) -> None:
    model, target = made(name)
    expected = gradients(model, target)
    assert SweepEngine.fits(model)
    engine = SweepEngine(model, 0, Workers())
    loss, found = engine.differentiate(STEP, target)
    wide = AutogradEngine(model, 0).loss(STEP, target)
    assert loss == pytest.approx(wide.item(), rel=1e-5)
    assert set(found) == set(expected)
    for key, gradient in found.items():
        scale = float(expected[key].abs().max())
        np.testing.assert_allclose(
            gradient, expected[key].numpy(), rtol=2e-3, atol=2e-4 * scale + 1e-12, err_msg=key
        )


@pytest.mark.parametrize("name", CASES)
def test_evaluations_are_the_same(name: str) -> None:
    model, target = made(name)
    found = SweepEngine(model, 0, Workers()).evaluate(target)
    expected = target.evaluate(model)
    assert found.measure == expected.measure
    assert found[:4] == pytest.approx(expected[:4], rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_evaluations_without_a_way_back_are_the_same(name: str) -> None:
    model, _ = made(name)
    raw, bits = model.evaluate()
    assert model.training
    output = model.eval()()
    assert bits == pytest.approx(output["rate"].item(), rel=1e-6)
    torch.testing.assert_close(raw, output["raw_out"], rtol=1e-5, atol=1e-5)
    raw, bits = model.double().evaluate()
    assert not model.training
    torch.testing.assert_close(raw, output["raw_out"].double(), rtol=1e-4, atol=1e-4)
    assert bits == pytest.approx(output["rate"].item(), rel=1e-4)


@pytest.mark.parametrize("name", ["lop", "hop", "4:2:0", "noise"])
def test_threads_change_nothing(name: str) -> None:
    results = []
    for n_threads in (1, 2, 4):
        model, target = made(name)
        with Workers(n_threads) as workers:
            training = Training(model, target, 3, workers)
            losses = [training.engine.iterate(STEP, target) for _ in range(3)]
        parameters = b"".join(p.numpy().tobytes() for p in training.model.get_param().values())
        results.append((losses, parameters))
    assert results[0] == results[1] == results[2]


def test_a_derivative_that_is_no_number_moves_nothing() -> None:
    model, target = made("lop")

    def distortion(decoded: Planes, original: Planes) -> torch.Tensor:
        return torch.sqrt(torch.abs(decoded[0] - decoded[0]).sum() + 0.0 * original[0].sum())

    odd = dataclasses.replace(target, measure=UserFunction(distortion))
    before = model.get_param()
    assert np.isnan(SweepEngine(model, 0, Workers()).iterate(STEP, odd))
    for name, value in model.get_param().items():
        assert torch.equal(value, before[name]), name


def test_what_kernels_cannot_do_is_done_by_torch() -> None:
    model, target = made("lop")
    assert isinstance(Training(model, target, 0).engine, SweepEngine)
    y, u, v = (plane.double() for plane in target.planes)
    wide = Target((y, u, v), target.lmbda)
    training = Training(model.double(), wide, 0)
    assert isinstance(training.engine, AutogradEngine)
    losses = [training.engine.iterate(STEP, wide) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_a_loss_that_is_no_number_moves_nothing() -> None:
    model, target = made("lop")
    before = model.get_param()
    with torch.no_grad():
        model.get_parameter("synthesis.trunk.0.bias").fill_(torch.nan)
    engine = SweepEngine(model, 0, Workers())
    assert np.isnan(engine.iterate(STEP, target))
    torch.testing.assert_close(model.get_param()["latent_grids.0"], before["latent_grids.0"])
