# SPDX-License-Identifier: BSD-3-Clause
"""What one model of a frame should become: the same loss and derivatives as of both together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inter_frames import LAMBDA, InterCase
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.sample import PictureSample
from numchic_trainer.quantisation.stepsearch import one_thread, quantise_networks
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.part import PartTarget, motion_target, residue_target
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.sweep import SweepEngine
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Training
from numchic_trainer.training.vectors import VectorTarget
from numchic_trainer.video.models import inter_architecture

CASES = {
    "P 4:2:0": InterCase("lop"),
    "B 4:2:0": InterCase("tiny", 2),
    "B 4:4:4": InterCase("linear", 2, "yuv444", (33, 41)),
}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Tensors as small as these are only slowed down by threads."""
    with one_thread():
        yield


def parts(model: InterEncoder, target: Target) -> tuple[PartTarget, PartTarget]:
    comparison = InterComparison(model, target, Workers())
    return residue_target(model, target, comparison), motion_target(model, target, comparison)


def network_bits(model: InterEncoder) -> int:
    return sum(part.get_network_rate()[1] for part in model.parts)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_by_one_output_are_those_by_both(name: str) -> None:
    model, target = CASES[name].trained(), CASES[name].target()
    outputs = [part.evaluate()[0] for part in model.parts]
    wide = [output.double().requires_grad_() for output in outputs]
    y, u, v = (plane.double() for plane in target.planes)
    expected = Target((y, u, v), LAMBDA).distortion(model.join(*wide), rounded=False)
    expected.backward()  # type: ignore[no-untyped-call]
    for part, output, leaf in zip(parts(model, target), outputs, wide, strict=True):
        raw = output.clone().requires_grad_()
        found = part.distortion(raw, rounded=False)
        (3 * found).backward()  # type: ignore[no-untyped-call]
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        assert raw.grad is not None
        assert leaf.grad is not None
        scale = float(leaf.grad.abs().max())
        np.testing.assert_allclose(
            raw.grad.numpy(), 3 * leaf.grad.numpy(), rtol=2e-3, atol=3e-4 * scale
        )


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_that_of_the_frame_and_of_all_networks(name: str) -> None:
    model, target = CASES[name].trained(), CASES[name].target()
    comparison = InterComparison(model, target, Workers())
    quantise_networks(model.motion, motion_target(model, target, comparison))
    loss = quantise_networks(model.residue, residue_target(model, target, comparison))
    found = SweepEngine(model, 0, Workers()).evaluate(target)
    expected = found.loss + target.rate_weight() * network_bits(model)
    assert loss == pytest.approx(expected, rel=1e-6)
    for part, of_part in zip(model.parts, parts(model, target), strict=True):
        judged = of_part.evaluate(part, part.get_network_rate()[1])
        assert judged.loss == pytest.approx(expected, rel=1e-6)
        assert judged.mse == pytest.approx(found.mse, rel=1e-6)
    before = loss
    for part, target_of in ((model.motion, motion_target), (model.residue, residue_target)):
        loss = optimise_integers(part, target_of(model, target, comparison), 0, loss)
    assert loss < before
    found = SweepEngine(model, 0, Workers()).evaluate(target)
    assert loss == pytest.approx(found.loss + target.rate_weight() * network_bits(model), rel=1e-6)


def test_a_large_residue_is_judged_by_blocks() -> None:
    case = InterCase("lop", 2, size=(256, 300))
    model, target = case.trained(), case.target()
    whole, _ = parts(model, target)
    with torch.no_grad():
        sample = PictureSample(model.residue, whole, 32768)
        assert len(sample.blocks) > 4
        raw = model.residue.evaluate()[0]
        found = sample.distortion(sample.dense(), rounded=True)
        expected = [
            whole.window(*block).distortion(raw[:, :, block[0], block[1]], rounded=True)
            for block in sample.blocks
        ]
    assert float(found) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-3)
    assert float(found) == pytest.approx(float(whole.distortion(raw, rounded=True)), rel=0.2)
    dense = sample.dense().detach().requires_grad_()
    sample.distortion(dense, rounded=False).backward()  # type: ignore[no-untyped-call]
    assert dense.grad is not None
    assert float(dense.grad.abs().max()) > 0


def test_large_motion_is_judged_as_a_whole() -> None:
    case = InterCase("skip", 2, size=(256, 300))
    model, target = case.model(), case.target()
    _, whole = parts(model, target)
    with torch.no_grad():
        sample = PictureSample(model.motion, whole, 32768)
        found = sample.distortion(sample.dense(), rounded=True)
        expected = target.distortion(model.evaluate()[0], rounded=True)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_gains_are_second_derivatives(name: str) -> None:
    model = CASES[name].model()
    outputs = [part.evaluate()[0] for part in model.parts]
    # No error is left: then second derivatives are products of first ones.
    planes = CASES[name].target().decoded(model.join(*outputs), rounded=False)
    for part, raw, step in zip(
        parts(model, Target(planes, LAMBDA)), outputs, (0.01, 0.2), strict=True
    ):
        assert part.gains is not None
        assert len(part.gains) == raw.shape[1]
        for channel, gain in enumerate(part.gains):
            change = torch.zeros_like(raw)
            change[:, channel] = step
            errors = [float(part.distortion(raw + s * change, rounded=False)) for s in (-1, 1)]
            assert sum(errors) / (2 * step**2) == pytest.approx(float(gain) ** 2, rel=0.2), channel


def test_errors_of_vectors_cost_what_they_cost_in_the_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    planes = tuple(torch.rand(4, 2, 3, generator=generator))
    costs = torch.rand(3, 2, 3, generator=generator)
    target = VectorTarget(planes, LAMBDA, costs=costs, n_pixels_of_frame=96)
    raw = torch.rand(1, 4, 2, 3, generator=generator)
    x, y = (raw[0] - torch.stack(planes)).view(2, 2, 2, 3).unbind(1)
    expected = (costs[0] * x**2 + 2 * costs[1] * x * y + costs[2] * y**2).mean() / 2
    torch.testing.assert_close(target.distortion(raw, rounded=False), expected)
    found = target.judge(raw, 48)
    assert found.loss == pytest.approx(float(expected) + LAMBDA * 48 / 96)


def test_motion_learns_vectors() -> None:
    _, architecture = inter_architecture("linear", 1, (16, 20))
    model = InterEncoder(
        *inter_architecture("linear", 1, (16, 20)), [np.zeros((16, 20, 4), np.float32)], 8
    ).motion
    assert model.param == architecture
    generator = torch.Generator().manual_seed(0)
    planes = [1.0 + 3.0 * torch.rand(4, 5, generator=generator) for _ in range(2)]
    target = VectorTarget(tuple(planes), LAMBDA, n_pixels_of_frame=320)
    phase = Phase(
        "motion", 60, 4, 1, LAMBDA, 1e-2, False, (0.3, 0.3), (0.2, 0.2), (0.9, 0.999), 0.0, True
    )
    training = Training(model, target, 0)
    before = training.engine.evaluate(target)
    training.begin("zero", [phase], [model.get_param()])
    while not training.finished:
        training.advance()
    model.set_param(training.result())
    found = training.engine.evaluate(target)
    assert found.distortion < 0.3 * before.distortion
    raw, bits = model.evaluate()
    assert found.loss == pytest.approx(target.judge(raw, bits).loss, rel=1e-4)
