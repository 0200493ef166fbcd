# SPDX-License-Identifier: BSD-3-Clause
"""Training of a P or B frame: candidates, main phase, quantisation (video-training, 4 to 14).

Candidates differ in the sizes of their networks and in what they start from. All are trained for a
while; the best one, the bits of its networks counted, is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from numchic_bitstream import Frame
from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.training.part import part_targets
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Training
from numchic_trainer.training.vectors import VectorTarget
from numchic_trainer.video.config import InterPreset, VideoConfig, at_level
from numchic_trainer.video.models import inter_architecture
from numchic_trainer.write import load_model

_SHARE_OF_CANDIDATE = 1 / 5  # of all iterations
_LEAST_FOR_CHOICE = 100  # iterations: with fewer of them, candidates tell nothing
_N_MOTION = 150  # iterations on motion alone, which take a tenth of the time
_MOTION_RATE = 20.0  # price of the bits of a motion that is trained alone
_LEARNING_RATE = 2e-2
_NETWORK_RATE = 1.0

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
    """Return the best model for a frame, quantised, and the name of its sizes."""
    n_left = task.config.n_inter_iterations(task.level)
    trials = [
        _Trial(task, preset, donor, workers, tick) for preset, donor in _candidates(task, n_left)
    ]
    if len(trials) > 1:
        n_short = round(n_left * _SHARE_OF_CANDIDATE)
        for trial in trials:
            trial.run(_phase("candidate", task, n_short))
            n_left -= n_short
    best = min(trials, key=_Trial.score)
    best.run(_phase("main", task, n_left))
    finished = [best.finish()]
    if best.preset != "skip":
        finished.append(_Trial(task, "skip", None, workers, tick).finish())
    _, preset, model = min(finished, key=lambda found: found[0])
    return preset, model


def _candidates(task: InterTask, n_iterations: int) -> list[tuple[InterPreset, Frame | None]]:
    """Sizes of networks, with a donor of them or without, that are worth a try."""
    preset = at_level(task.config.inter_preset, task.level)
    presets = _usual_presets(task.target.n_pixels) if preset == "auto" else [preset]
    if n_iterations < _LEAST_FOR_CHOICE:
        presets = presets[:1]
    found: list[tuple[InterPreset, Frame | None]] = [(preset, None) for preset in presets]
    if task.donor is not None:
        size = (task.target.planes[0].shape[0], task.target.planes[0].shape[1])
        found += [(name, task.donor) for name in presets if is_of(task.donor, name, size)]
    return found


def _usual_presets(n_pixels: int) -> list[InterPreset]:
    """Networks take bits that only large frames have."""
    if n_pixels < 60_000:
        return ["linear", "tiny"]
    if n_pixels < 400_000:
        return ["tiny", "lop"]
    return ["lop", "mop"]


class _Trial:
    """Networks of one size, on their way.

    Attributes
    ----------
    preset : str
    """

    def __init__(
        self,
        task: InterTask,
        preset: InterPreset,
        donor: Frame | None,
        workers: Workers,
        tick: Tick,
    ) -> None:
        self.preset = preset
        self._task, self._workers, self._tick = task, workers, tick
        height, width = task.target.planes[0].shape
        residue, motion = inter_architecture(preset, len(task.references), (height, width))
        generator = torch.Generator().manual_seed(task.seed)
        self._model = InterEncoder(
            residue, motion, task.references, task.config.warp_size, generator
        )
        if preset == "skip":
            _show_reference(self._model)
        elif donor is not None:
            _take_networks(self._model, donor)
        if preset != "skip" and task.vectors is not None:
            self._start_motion(task.vectors)
        self._training = self._new_training()
        self._training.candidates = [self._model.get_param()]

    def _new_training(self) -> Training:
        """Training of the frame; parameters move into its vectors."""
        return Training(self._model, self._task.target, self._task.seed, self._workers)

    def _start_motion(self, vectors: F32) -> None:
        """Let training start with the vectors, if the frame is better with them than without."""
        without, before = self._model.get_param(), self._loss(self._new_training())
        self._learn_motion(vectors)
        if self._loss(self._new_training()) > before:
            self._model.set_param(without)

    def _loss(self, training: Training) -> float:
        """Loss of the frame without the bits of the networks."""
        return training.engine.evaluate(self._task.target).loss

    def _learn_motion(self, vectors: F32) -> None:
        """Train the motion alone to give the vectors."""
        task, motion = self._task, self._model.motion
        planes = tuple(torch.from_numpy(plane) for plane in vectors)
        price = _MOTION_RATE * task.target.lmbda
        target = VectorTarget(planes, price, n_pixels_of_frame=task.target.n_pixels)
        training = Training(motion, target, task.seed, self._workers)
        training.begin("zero", [_motion(price)], [motion.get_param()])
        self._advance(training)
        motion.set_param(training.result())

    def run(self, phase: Phase) -> None:
        """Train through one more phase."""
        self._training.phases.append(phase)
        self._advance(self._training)
        self._model.set_param(self._training.result())

    def _advance(self, training: Training) -> None:
        while not training.finished:
            self._tick(training.phase.name)
            training.advance()

    def score(self) -> float:
        """Loss with an estimate of the bits of the networks, to compare sizes."""
        bits = float(network_bits(self._model).detach())
        return self._loss(self._training) + self._task.target.rate_weight() * bits

    def finish(self) -> tuple[float, InterPreset, InterEncoder]:
        """Quantise; loss of the frame with all bits but those of headers, sizes and model."""
        self._training.engine.release()
        loss = math.inf
        for part, target in part_targets(self._model, self._task.target, self._workers):
            part.forget_quantisation()
            loss = quantise_networks(part, target())  # type: ignore[arg-type]
        if self._task.config.rdoq:
            for part, target in part_targets(self._model, self._task.target, self._workers):
                loss = optimise_integers(part, target(), self._task.seed)  # type: ignore[arg-type]
        return loss, self.preset, self._model


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
        model.residue.synthesis.trunk[-1].bias[3] = 0.5  # type: ignore[index]


def is_of(frame: Frame, preset: InterPreset, img_size: tuple[int, int]) -> bool:
    """Whether a coded frame has networks of these sizes, but for the number of its references."""
    wanted = inter_architecture(preset, len(frame.header.index_references), img_size)
    found = (CoolChicEncoderParameter.from_header(part.header) for part in frame.parts)
    return all(replace(f, encoder_gain=w.encoder_gain) == w for f, w in zip(found, wanted))


def _take_networks(model: InterEncoder, donor: Frame) -> None:
    """Take the networks of a coded frame; what it lacks stays."""
    for part, coded in zip(model.parts, donor.parts, strict=True):
        theirs = dict(load_model(coded).named_parameters())
        with torch.no_grad():
            for name, own in part.named_parameters():
                if own.requires_grad and not name.startswith("latent_grids"):
                    taken = theirs[name]
                    common = tuple(map(slice, map(min, own.shape, taken.shape)))
                    own[common] = taken[common]


def _phase(name: str, task: InterTask, n_iterations: int) -> Phase:
    return Phase(
        name, n_iterations, 20, 1, task.target.lmbda, _LEARNING_RATE, True,
        (0.3, 0.08), (0.2, 0.15), task.config.latent_betas, _NETWORK_RATE, True,
    )  # fmt: skip


def _motion(price: float) -> Phase:
    return Phase(
        "motion", _N_MOTION, 4, 1, price, 1e-2, False, (0.3, 0.3), (0.2, 0.2), (0.9, 0.999), 0.0, True,
    )  # fmt: skip
