# SPDX-License-Identifier: BSD-3-Clause
"""Models of P and B frames: kernels against plain torch, evaluations against the decoder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inter_frames import LAMBDA, InterCase
from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic_bitstream import Frame, FrameHeader, NumchicError
from numchic_trainer.kernels.warp import WarpSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import InterEncoder, set_alpha
from numchic_trainer.quality import mean_squared_error
from numchic_trainer.quantisation.stepsearch import one_thread, quantise_networks
from numchic_trainer.training.autograd import AutogradEngine
from numchic_trainer.training.checkpoint import load_checkpoint, save_checkpoint
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.engine import Step
from numchic_trainer.training.part import motion_target, residue_target
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.sweep import SweepEngine
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import DivergenceError, Training
from numchic_trainer.video.config import VideoConfig
from numchic_trainer.video.frame import decode
from numchic_trainer.video.inter import InterTask, train_inter
from numchic_trainer.video.models import inter_architecture
from numchic_trainer.write import write_model

STEP = Step(0, 0.3, 0.0, 1e-2, 1e-2, 1.0)
CASES = {
    "P skip": InterCase("skip"),
    "P linear": InterCase("linear", size=(34, 70)),
    "P tiny": InterCase("tiny", data_type="rgb"),
    "P lop": InterCase("lop"),
    "P mop": InterCase("mop", data_type="yuv444", size=(33, 41)),
    "P hop": InterCase("hop", size=(18, 22)),
    "P 10 bits": InterCase("vlop", bitdepth=10),
    "P 2 taps": InterCase("tiny", warp_size=2),
    "P 4 taps": InterCase("tiny", warp_size=4),
    "P one pixel": InterCase("lop", data_type="rgb", size=(1, 1)),
    "P one row": InterCase("tiny", data_type="yuv444", size=(1, 37)),
    "B skip": InterCase("skip", 2),
    "B linear": InterCase("linear", 2, "yuv444", (33, 41)),
    "B tiny": InterCase("tiny", 2),
    "B vlop": InterCase("vlop", 2),
    "B lop": InterCase("lop", 2),
    "B mop": InterCase("mop", 2, "rgb", (41, 54)),
    "B 2 taps": InterCase("linear", 2, warp_size=2),
    "B one column": InterCase("lop", 2, "rgb", (37, 1)),
}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Tensors as small as these are only slowed down by threads."""
    with one_thread():
        yield


def wide(model: InterEncoder, target: Target) -> tuple[InterEncoder, Target]:
    """The same in double precision, which no kernel can do."""
    residue, motion = (part.param for part in model.parts)
    plain = InterEncoder(residue, motion, model.references, model.warp_size).double()
    plain.load_state_dict(model.state_dict())
    y, u, v = (plane.double() for plane in target.planes)
    return plain, dataclasses.replace(target, planes=(y, u, v))


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_is_that_of_plain_torch(name: str) -> None:
    model, target = CASES[name].trained(), CASES[name].target()
    plain, plain_target = wide(model, target)
    expected = AutogradEngine(plain, 0).loss(STEP, plain_target)
    expected.backward()  # type: ignore[no-untyped-call]
    gradients = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert SweepEngine.fits(model)
    loss, found = SweepEngine(model, 0, Workers()).differentiate(STEP, target)
    assert loss == pytest.approx(expected.item(), rel=2e-5)
    assert set(found) == set(gradients)
    for key, gradient in found.items():
        scale = float(gradients[key].abs().max())
        np.testing.assert_allclose(
            gradient, gradients[key].numpy(), rtol=2e-3, atol=3e-4 * scale + 1e-9, err_msg=key
        )


@pytest.mark.parametrize("name", CASES)
def test_evaluations_are_the_same(name: str) -> None:
    model, target = CASES[name].trained(), CASES[name].target()
    found = SweepEngine(model, 0, Workers()).evaluate(target)
    expected = target.evaluate(model)
    assert found.measure == expected.measure
    # Samples in the middle between two may be rounded either way.
    assert found[:4] == pytest.approx(expected[:4], rel=2e-3)


@pytest.mark.parametrize(
    "case",
    [InterCase("tiny", size=(130, 258)), InterCase("vlop", 2, "yuv444", (121, 259))],
    ids=["P", "B"],
)
def test_threads_change_nothing(case: InterCase) -> None:
    results = []
    for n_threads in (1, 2, 4):
        with Workers(n_threads) as workers:
            training = Training(case.trained(), case.target(), 3, workers)
            losses = [training.engine.iterate(STEP, training.target) for _ in range(3)]
            losses.append(training.engine.evaluate(training.target).loss)
        parameters = b"".join(p.numpy().tobytes() for p in training.model.get_param().values())
        results.append((losses, parameters))
    assert results[0] == results[1] == results[2]


PHASE = Phase(
    "main", 9, 3, 1, LAMBDA, 1e-2, True, (0.3, 0.1), (0.25, 0.1), (0.8, 0.98), 1.0, True
)  # fmt: skip


@pytest.mark.parametrize("name", ["P tiny", "B vlop"])
def test_checkpoints(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "x.training"
    training = Training(case.model(), case.target(), 3)
    training.begin("zero", [PHASE, PHASE], [training.model.get_param()])
    for after in (2, 10):
        while training.iteration < after:
            training.advance()
        save_checkpoint(path, training, "frame", after)
        training = Training(case.model(), case.target(), 3)
        assert load_checkpoint(path, training, "frame") == after
    other = Training(case.model(), case.target(), 3)
    other.begin("zero", [PHASE, PHASE], [other.model.get_param()])
    for each in (training, other):
        while not each.finished:
            each.advance()
    assert training.evaluation == other.evaluation
    for key, value in training.result().items():
        assert torch.equal(value, other.result()[key]), key


def test_training_makes_the_loss_smaller() -> None:
    case = CASES["B vlop"]
    training = Training(case.model(), case.target(), 0)
    phase = dataclasses.replace(PHASE, n_iterations=40)
    training.begin("zero", [phase], [training.model.get_param()])
    before = training.engine.evaluate(case.target()).loss
    while not training.finished:
        training.advance()
    assert training.evaluation is not None
    assert training.evaluation.loss < 0.8 * before


@pytest.mark.parametrize("part", ["residue", "motion"])
def test_what_is_no_number_moves_nothing(part: str) -> None:
    model, target = CASES["P lop"].trained(), CASES["P lop"].target()
    before = model.get_param()
    with torch.no_grad():
        model.get_parameter(f"{part}.synthesis.trunk.0.bias").fill_(torch.nan)
    engine = SweepEngine(model, 0, Workers())
    assert np.isnan(engine.iterate(STEP, target))
    name = "residue.latent_grids.0"
    torch.testing.assert_close(model.get_param()[name], before[name])


def test_vectors_without_end_move_nothing() -> None:
    model, target = CASES["B lop"].trained(), CASES["B lop"].target()
    with torch.no_grad():
        model.get_parameter("motion.synthesis.trunk.1.bias").fill_(torch.inf)
    engine = SweepEngine(model, 0, Workers())
    loss, found = engine.differentiate(STEP, target)
    assert np.isnan(loss)
    assert np.isnan(found["residue.synthesis.trunk.0.bias"]).all()
    assert np.isnan(engine.iterate(STEP, target))


def test_training_starts_from_nearly_the_reference() -> None:
    case = CASES["P lop"]
    model, (reference,) = case.model(), case.references()
    raw, _ = model.evaluate()
    expected = 0.95 * reference.planes[0] / np.float32(255)
    np.testing.assert_allclose(raw[0, 0].numpy(), expected, atol=1e-5)
    model = case.trained()
    model.reinitialize_parameters()
    np.testing.assert_allclose(model.evaluate()[0][0, 0].numpy(), expected, atol=1e-5)


def test_equal_references_are_as_good_as_one() -> None:
    case = CASES["B lop"]
    residue, motion = inter_architecture(case.preset, 2, case.size)
    one = shifted_reference(case.references()[0], (0, 0))
    model = InterEncoder(residue, motion, (one, one), case.warp_size)
    set_alpha(model, 1.0)
    raw, _ = model.evaluate()
    np.testing.assert_allclose(raw[0].permute(1, 2, 0).numpy(), one[:, :, :3], atol=1e-5)


def quantised(case: InterCase) -> InterEncoder:
    """Model with the networks of a stream."""
    model, target = case.trained(), case.target()
    comparison = InterComparison(model, target, Workers())
    quantise_networks(model.motion, motion_target(model, target, comparison))
    quantise_networks(model.residue, residue_target(model, target, comparison))
    return model


def coded(case: InterCase, model: InterEncoder) -> Frame:
    header = FrameHeader(
        display_index=case.n_references,
        frame_type="P" if case.n_references == 1 else "B",
        frame_data_type=case.data_type,
        bitdepth=case.bitdepth,
        index_references=(0, 1)[: case.n_references],
        global_flow=(0, 0) * case.n_references,
        warp_filter_size=case.warp_size,
    )
    residue, motion = map(write_model, model.parts)
    return Frame(header, residue, motion)


def samples(picture: Picture) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([plane.ravel() for plane in picture.planes]).astype(np.int64)


@pytest.mark.parametrize("name", ["P lop", "P mop", "P 10 bits", "P one row", "B tiny", "B mop"])
def test_evaluations_are_what_the_decoder_makes(name: str) -> None:
    case, target = CASES[name], CASES[name].target()
    model = quantised(case)
    frame = coded(case, model)
    decoded = decode(frame, case.references())
    found = SweepEngine(model, 0, Workers()).evaluate(target)
    raw, bits = model.evaluate()
    planes = [plane.numpy() * target.maximum for plane in target.decoded(raw, rounded=True)]
    ours = np.concatenate([np.rint(plane).ravel() for plane in planes])
    differences = np.abs(ours - samples(decoded))
    assert differences.max() <= 1
    assert differences.mean() <= 1e-3
    assert found.mse == pytest.approx(mean_squared_error(case.picture(), decoded), rel=2e-3)
    n_latent_bits = 0.0
    for part, written in zip(model.parts, frame.parts, strict=True):
        part_bits = part.evaluate()[1]
        n_latent_bits += part_bits
        n_bytes = len(written.latent_payload)
        assert abs(part_bits / 8 - n_bytes) <= 0.01 * n_bytes + 8
        network_bits = part.get_network_rate()[1]
        assert network_bits == 8 * len(written.nn_payload) - written.header.nn_n_bit_pad
    assert n_latent_bits == pytest.approx(bits)
    assert found.bpp == pytest.approx(bits / target.n_pixels, rel=1e-4)


# --- Candidates ----------------------------------------------------------------------------------


def task_of(case: InterCase, **settings: Any) -> InterTask:
    config = VideoConfig(inter_iterations=(200,), rdoq=False, **settings)
    references = [shifted_reference(reference, (0, 0)) for reference in case.references()]
    target = case.target().at(1e-6)  # at which larger networks may pay
    return InterTask(target, references, None, None, 0, 0, config)


def _unheeded(_: str) -> None:
    pass


class Trouble:
    """Makes losses that are no numbers, in a phase, of models with some numbers of layers."""

    def __init__(
        self, patch: pytest.MonkeyPatch, phase: str, layers: Sequence[int], n_most: int = 9
    ) -> None:
        self.phase, self.n_times, iterate = "", 0, SweepEngine.iterate

        def spoilt(engine: SweepEngine, step: Step, target: Target) -> float:
            n_layers = len(engine._model.parts[0].synthesis.trunk)
            if self.phase == phase and n_layers in layers and self.n_times < n_most:
                self.n_times += 1
                return math.nan
            return iterate(engine, step, target)

        patch.setattr(SweepEngine, "iterate", spoilt)

    def tick(self, phase: str) -> None:
        self.phase = phase


@pytest.mark.parametrize(
    ("preset", "phase", "layers", "n_times"),
    [
        ("auto", "candidate", [2, 3, 4], 2),  # all that have grown
        ("auto", "first", [1], 1),  # what the others would grow out of
        ("tiny", "first", [1], 1),
        ("auto", "main", [1, 2, 3, 4], 1),  # the best one
    ],
)
def test_other_candidates_are_trained_on_if_one_diverges(
    preset: Any, phase: str, layers: list[int], n_times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, phase, layers, n_times)
    task = task_of(InterCase(), inter_preset=(preset,))
    found, _ = train_inter(task, Workers(), trouble.tick)
    assert found != "skip"
    assert (trouble.n_times, trouble.phase) == (n_times, "main")


def test_if_all_candidates_diverge_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble(monkeypatch, "main", [2])
    with pytest.raises(DivergenceError, match="diverged"):
        train_inter(task_of(InterCase("tiny"), inter_preset=("tiny",)), Workers(), trouble.tick)
    assert trouble.n_times == 1


def test_vectors_that_cannot_be_learnt_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(InterCase("linear"), inter_preset=("linear",))
    expected = train_inter(task, Workers(), _unheeded)[1].get_param()
    vectors = np.ones((2, 10, 13), np.float32)
    trouble = Trouble(monkeypatch, "motion", [1])
    found = train_inter(dataclasses.replace(task, vectors=vectors), Workers(), trouble.tick)[1]
    assert trouble.n_times == 1
    for name, value in found.get_param().items():
        assert torch.equal(value, expected[name]), name


def test_a_cancelled_training_is_no_failure() -> None:
    def cancel(_: str) -> None:
        raise NumchicError("cancelled")

    with pytest.raises(NumchicError, match="cancelled"):
        train_inter(task_of(InterCase("tiny"), inter_preset=("tiny",)), Workers(), cancel)


def test_references_are_prepared_once_for_the_quantisation(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []

    class Counted(WarpSweep):
        def __init__(self, *arguments: Any) -> None:
            prepared.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr("numchic_trainer.training.comparison.WarpSweep", Counted)
    task = task_of(InterCase("skip", 2), inter_preset=("skip",))
    config = dataclasses.replace(task.config, rdoq=True)
    train_inter(dataclasses.replace(task, config=config), Workers(), _unheeded)
    assert len(prepared) == 2
