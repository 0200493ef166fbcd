# SPDX-License-Identifier: BSD-3-Clause
"""Training of a P or B frame: candidates, main phase, quantisation (video-training, 4 to 14).

Linear networks are trained first. Larger ones that may pay for their bits grow out of them; all are
trained for a while, and the best one, the bits of its networks counted, is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from numchic_bitstream import Frame
from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import InterEncoder, set_alpha
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.part import motion_target, residue_target
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import DivergenceError, Training
from numchic_trainer.training.vectors import VectorTarget
from numchic_trainer.video.config import InterPreset, VideoConfig, at_level
from numchic_trainer.video.donors import preset_of, take_networks
from numchic_trainer.video.flow import vector_costs
from numchic_trainer.video.growth import grow
from numchic_trainer.video.models import inter_architecture

_FIRST_SHARE = 1 / 4  # of all iterations, before larger networks are tried
_CANDIDATE_SHARE = 1 / 8  # of all iterations, for each of them
_MAX_CANDIDATES = 2
_LEAST_FOR_CHOICE = 200  # iterations; with fewer, nothing larger has time to pay

# Of larger networks: the share of the loss that they gain, and their bytes beyond the linear ones.
_GAINS: dict[InterPreset, tuple[float, int]] = {
    "tiny": (0.02, 50),
    "vlop": (0.04, 110),
    "lop": (0.05, 170),
    "mop": (0.07, 260),
    "hop": (0.09, 450),
}

_N_MOTION = 150  # iterations on motion alone, which take a tenth of the time
_LEARNING_RATE = 2e-2
_NETWORK_RATE = 1.0  # unless the settings say something else

Tick = Callable[[str], None]
"""Called after every iteration with the name of the phase; what it raises ends the training."""


@dataclass(frozen=True)
class InterTask:
    """A P or B frame to encode.

    Attributes
    ----------
    target : Target
    references : sequence of float32[H, W, 4]
        Decoded pictures, seen along their global flows.
    vectors : float32[2 n, h, w] or None
        Estimated motion per block, relative to the shifted references.
    donor : Frame or None
        A coded frame whose networks may serve here.
    level : int
    seed : int
    config : VideoConfig
    """

    target: Target
    references: Sequence[F32]
    vectors: F32 | None
    donor: Frame | None
    level: int
    seed: int
    config: VideoConfig


def train_inter(task: InterTask, workers: Workers, tick: Tick) -> tuple[InterPreset, InterEncoder]:
    """Return the best model for a frame, quantised, and the name of its sizes.

    Raises
    ------
    DivergenceError
        No training of this frame went well.
    """
    skip = _Trial(task, "skip", workers, tick)
    skip.begin()
    finished = [skip.finish()]
    if at_level(task.config.inter_preset, task.level) != "skip":
        finished.append(_best_trial(task, workers, tick).finish())
    _, preset, model = min(finished, key=lambda found: found[0])
    return preset, model


def _best_trial(task: InterTask, workers: Workers, tick: Tick) -> _Trial:
    """Train linear networks, then those that grow out of them, and the best of these on.

    Larger networks of a donor are tried as well.
    """

    def begun(preset: InterPreset) -> _Trial:
        trial = _Trial(task, preset, workers, tick)
        trial.begin()
        return trial

    n_all = n_left = task.config.n_inter_iterations(task.level)
    wanted = at_level(task.config.inter_preset, task.level)
    known = None if task.donor is None else preset_of(task.donor)
    if wanted in ("linear", known):
        trials = [begun(wanted)]
    else:
        linear = begun("linear")
        linear.run(_phase("first", task, round(n_all * _FIRST_SHARE)))
        n_left -= round(n_all * _FIRST_SHARE)
        grown = begun if linear.failure else linear.grown
        if wanted == "auto":
            larger = _worthwhile(linear.score(), task.target, n_all)
            trials = [linear, *map(grown, larger)]
            trials += [begun(known)] if known in _GAINS else []
        else:
            trials = [grown(wanted)]
    if len(trials) > 1:
        for trial in trials:
            trial.run(_phase("candidate", task, round(n_all * _CANDIDATE_SHARE)))
            n_left -= round(n_all * _CANDIDATE_SHARE)
    for trial in sorted(trials, key=_Trial.score):
        trial.run(_phase("main", task, n_left))
        if trial.failure is None:
            return trial
        failure = trial.failure
    raise failure


def _worthwhile(loss: float, target: Target, n_iterations: int) -> list[InterPreset]:
    """Larger networks that may pay for their bits, the most promising first."""
    if n_iterations < _LEAST_FOR_CHOICE:
        return []
    gains = {
        preset: loss * gain - 8 * n_bytes * target.rate_weight()
        for preset, (gain, n_bytes) in _GAINS.items()
    }
    order = sorted(gains, key=lambda preset: -gains[preset])
    return [preset for preset in order if gains[preset] > 0][:_MAX_CANDIDATES]


class _Trial:
    """Networks of one size, on their way.

    Attributes
    ----------
    preset : str
    failure : DivergenceError or None
        What ended the training of these networks, of which nothing can come any more.
    """

    def __init__(self, task: InterTask, preset: InterPreset, workers: Workers, tick: Tick) -> None:
        self.preset = preset
        self.failure: DivergenceError | None = None
        self._task, self._workers, self._tick = task, workers, tick
        height, width = task.target.planes[0].shape
        residue, motion = inter_architecture(preset, len(task.references), (height, width))
        generator = torch.Generator().manual_seed(task.seed)
        model = InterEncoder(residue, motion, task.references, task.config.warp_size, generator)
        self._model = model.to(task.target.planes[0].device)

    def begin(self) -> None:
        """Start from what the donor and the estimated motion tell."""
        task = self._task
        if self.preset == "skip":
            _show_reference(self._model)
        else:
            if task.donor is not None:
                take_networks(self._model, task.donor)
            if task.vectors is not None:
                self._start_motion(task.vectors)
        self._accept()

    def grown(self, preset: InterPreset) -> _Trial:
        """Return larger networks that start where these, linear ones, are."""
        larger = _Trial(self._task, preset, self._workers, self._tick)
        grow(larger._model, self._model)
        larger._accept()
        return larger

    def _accept(self) -> None:
        self._training = self._new_training()
        self._training.begin("zero", [], [self._model.get_param()])

    def _new_training(self) -> Training[InterEncoder]:
        """Training of the frame; parameters move into its vectors."""
        return Training(self._model, self._task.target, self._task.seed, self._workers)

    def _start_motion(self, vectors: F32) -> None:
        """Let training start with the vectors, if the frame is better with them than without."""
        without, before = self._model.get_param(), self._loss(self._new_training())
        try:
            self._learn_motion(vectors)
        except DivergenceError:
            self._model.set_param(without)
        if self._loss(self._new_training()) > before:
            self._model.set_param(without)

    def _loss(self, training: Training[Any]) -> float:
        """Loss of the frame without the bits of the networks."""
        return training.engine.evaluate(self._task.target).loss

    def _learn_motion(self, vectors: F32) -> None:
        """Train the motion alone to give the vectors."""
        task, motion = self._task, self._model.motion
        luma = task.target.planes[0]
        costs = vector_costs(luma.cpu().numpy(), (vectors.shape[1], vectors.shape[2]))
        target = VectorTarget(
            tuple(torch.from_numpy(vectors).to(luma.device)),
            task.target.lmbda,
            costs=torch.from_numpy(costs),
            n_pixels_of_frame=task.target.n_pixels,
        )
        training = Training(motion, target, task.seed, self._workers)
        training.begin("zero", [_motion(target.lmbda)], [motion.get_param()])
        self._advance(training)
        motion.set_param(training.result())

    def run(self, phase: Phase) -> None:
        """Train through one more phase, which may be empty, unless training has failed."""
        if self.failure or not phase.n_iterations:
            return
        self._training.phases.append(phase)
        try:
            self._advance(self._training)
        except DivergenceError as error:
            self.failure = error
            return
        self._model.set_param(self._training.result())

    def _advance(self, training: Training[Any]) -> None:
        while not training.finished:
            self._tick(training.phase.name)
            training.advance()

    def score(self) -> float:
        """Loss with an estimate of the bits of the networks, to compare sizes."""
        if self.failure:
            return math.inf
        bits = float(network_bits(self._model).detach())
        return self._loss(self._training) + self._task.target.rate_weight() * bits

    def finish(self) -> tuple[float, InterPreset, InterEncoder]:
        """Quantise, on the CPU; loss of the frame with all bits but those of headers."""
        self._training.engine.release()
        model, target = self._model.to("cpu"), self._task.target.to("cpu")
        model.forget_quantisation()
        comparison = InterComparison(model, target, self._workers)
        steps = ((model.motion, motion_target), (model.residue, residue_target))
        for part, target_of in steps:
            loss = quantise_networks(part, target_of(model, target, comparison))
        for part, target_of in steps if self._task.config.rdoq else ():
            there = target_of(model, target, comparison)
            loss = optimise_integers(part, there, self._task.seed, loss)
        return loss, self.preset, model


def _show_reference(model: InterEncoder) -> None:
    """Let a model give the shifted reference, or the mean of both, at the least rate."""
    with torch.no_grad():
        for part in model.parts:
            for parameter in part.parameters():
                parameter.zero_()
            part.synthesis.output_transform.weight.copy_(
                torch.eye(part.synthesis.output_transform.bias.numel())[:, :, None, None]
            )
            part.arm.output.bias[1] = -1.0  # the least scale
        set_alpha(model, 1.0)


def _phase(name: str, task: InterTask, n_iterations: int) -> Phase:
    config = task.config
    return Phase(
        name, n_iterations, 20, 1, task.target.lmbda, _LEARNING_RATE, True, (0.5, 0.08),
        (0.2, 0.15), config.latent_betas,
        _NETWORK_RATE if config.network_rate is None else config.network_rate, True, n_gentle=20,
    )  # fmt: skip


def _motion(price: float) -> Phase:
    return Phase(
        "motion", _N_MOTION, 4, 1, price, 1e-2, False,
        (0.3, 0.3), (0.2, 0.2), (0.9, 0.999), 0.0, True,
    )  # fmt: skip
