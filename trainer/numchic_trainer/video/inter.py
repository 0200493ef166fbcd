# SPDX-License-Identifier: BSD-3-Clause
"""Training of a P or B frame: candidates, main phase, quantisation (video-training, 4 to 14).

Candidates differ in the sizes of their networks and in what they start from. All are trained for a
while; the best one, the bits of its networks counted, is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from numchic_bitstream import Frame
from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.training.part import part_targets
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Param, Training
from numchic_trainer.training.vectors import VectorTarget
from numchic_trainer.video.config import InterPreset, VideoConfig, at_level
from numchic_trainer.video.models import inter_architecture
from numchic_trainer.write import load_model

_WARM_UP_SHARE = 1 / 16  # of all iterations, for every candidate
_MOTION_SHARE = 1 / 4  # iterations on motion alone, which take a tenth of the time
_MOTION_RATE = 20.0  # price of the bits of a motion that is trained alone
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
    trials = [_Trial(task, preset, workers, tick) for preset in _presets(task)]
    n_all = task.config.n_inter_iterations(task.level)
    n_warm_up = max(1, round(n_all * _WARM_UP_SHARE))
    if len(trials) > 1 or any(len(trial.candidates) > 1 for trial in trials):
        for trial in trials:
            n_all -= n_warm_up * len(trial.candidates)
            trial.run(_warm_up(task, n_warm_up))
    best = min(trials, key=_Trial.score)
    if n_all > 0:
        best.run(_main(task, n_all))
    finished = [best.finish()]
    if best.preset != "skip":
        finished.append(_Trial(task, "skip", workers, tick).finish())
    _, preset, model = min(finished, key=lambda found: found[0])
    return preset, model


def _presets(task: InterTask) -> Sequence[InterPreset]:
    preset = at_level(task.config.inter_preset, task.level)
    return ("tiny", "vlop", "lop") if preset == "auto" else (preset,)


class _Trial:
    """Networks of one size, on their way.

    Attributes
    ----------
    preset : str
    candidates : list of parameters
        What they may start from.
    """

    def __init__(self, task: InterTask, preset: InterPreset, workers: Workers, tick: Tick) -> None:
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
        self.candidates = list(self._starts())
        self._training = Training(self._model, task.target, task.seed, workers)
        self._training.candidates = self.candidates

    def _starts(self) -> Iterator[Param]:
        task, model = self._task, self._model
        yield model.get_param()
        if self.preset == "skip":
            return
        if task.vectors is not None:
            self._learn_motion(task.vectors)
            yield model.get_param()
        if task.donor is not None and _take_networks(model, task.donor):
            for grid in model.latent_grids:
                with torch.no_grad():
                    grid.zero_()
            if task.vectors is not None:
                self._learn_motion(task.vectors)
            yield model.get_param()

    def _learn_motion(self, vectors: F32) -> None:
        """Train the motion alone to give the vectors."""
        task, motion = self._task, self._model.motion
        n = max(1, round(task.config.n_inter_iterations(task.level) * _MOTION_SHARE))
        planes = tuple(torch.from_numpy(plane) for plane in vectors)
        price = _MOTION_RATE * task.target.lmbda
        target = VectorTarget(planes, price, n_pixels_of_frame=task.target.n_pixels)
        training = Training(motion, target, task.seed, self._workers)
        training.begin("zero", [_motion(price, n)], [motion.get_param()])
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
        target = self._task.target
        found = target.evaluate(self._model)  # type: ignore[arg-type]
        return found.loss + target.rate_weight() * float(network_bits(self._model).detach())

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


def _take_networks(model: InterEncoder, donor: Frame) -> bool:
    """Take the networks of a coded frame, if its sizes are the same; rows that it lacks stay."""
    assert donor.motion is not None
    for part, coded in zip(model.parts, donor.parts, strict=True):
        if not _copy_networks(part, load_model(coded)):
            return False
    return True


def _copy_networks(part: CoolChicEncoder, donor: CoolChicEncoder) -> bool:
    theirs = dict(donor.named_parameters())
    ours = {name: p for name, p in part.named_parameters() if p.requires_grad}
    networks = [name for name in ours if not name.startswith("latent_grids")]
    if any(name not in theirs or ours[name].dim() != theirs[name].dim() for name in networks):
        return False
    with torch.no_grad():
        for name in networks:
            own, taken = ours[name], theirs[name]
            common = tuple(slice(min(n)) for n in zip(own.shape, taken.shape, strict=True))
            own[common] = taken[common]
    return True


def _warm_up(task: InterTask, n: int) -> Phase:
    config = task.config
    return Phase(
        "warm-up", n, 1, 1, task.target.lmbda, config.learning_rate, False,
        (0.3, 0.3), (0.2, 0.2), (0.725, 0.97), _NETWORK_RATE, True,
    )  # fmt: skip


def _main(task: InterTask, n: int) -> Phase:
    config = task.config
    return Phase(
        "main", n, 20, 1, task.target.lmbda, config.learning_rate, True,
        (0.3, 0.08), (0.2, 0.15), config.latent_betas, _NETWORK_RATE, True,
    )  # fmt: skip


def _motion(price: float, n: int) -> Phase:
    return Phase(
        "motion", n, 4, 1, price, 1e-2, False, (0.3, 0.3), (0.2, 0.2), (0.9, 0.999), 0.0, True,
    )  # fmt: skip
