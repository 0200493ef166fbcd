# SPDX-License-Identifier: BSD-3-Clause
"""Encode a picture: train, finish, and again if a rate or a quality is wanted."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from numpy.typing import ArrayLike

from numchic_bitstream import UsageError
from numchic_trainer.config import TrainConfig
from numchic_trainer.finish import finish
from numchic_trainer.goal import Search
from numchic_trainer.kernels.workers import Workers, available_cores
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.preset import choose_preset
from numchic_trainer.result import EncodeResult, Event, Progress
from numchic_trainer.session import Session
from numchic_trainer.settings import Setting, number, shown
from numchic_trainer.source import Source, to_picture
from numchic_trainer.start import choose_start, starting_points
from numchic_trainer.surroundings import surroundings
from numchic_trainer.task import Task
from numchic_trainer.training.distortion import Distortion
from numchic_trainer.training.features import FeatureExtractor
from numchic_trainer.training.plan import plan, refinement
from numchic_trainer.training.train import Training
from numchic_trainer.weights import pixel_weights

__all__ = ["EncodeResult", "Event", "Progress", "encode"]

_SECONDS = Setting(number(float, 0, 1e9), "Seconds between two checkpoints.")


def encode(
    image: Source,
    config: TrainConfig | None = None,
    *,
    bitdepth: int = 8,
    progress: Progress | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 60.0,
    weights: ArrayLike | None = None,
    distortion: Distortion | None = None,
    extractor: FeatureExtractor | None = None,
) -> EncodeResult:
    """Encode a picture.

    Parameters
    ----------
    image : Picture, path, Pillow image, or uint8 or uint16 of shape (H, W, 3)
        A file is read by :func:`numchic_trainer.read_picture`. An array is an RGB picture. The
        metadata of the picture are used if the settings say so.
    config : TrainConfig, optional
    bitdepth : int
        An array has samples of this many bits, 8 .. 16.
    progress : callable, optional
        Called with an :class:`Event` after every iteration. An exception that it raises stops the
        encode; with a checkpoint it can go on later.
    checkpoint : path, optional
        File in which the training is kept every ``checkpoint_seconds`` and when it is stopped. If
        it exists, training goes on from there, to the same result as without the interruption.
    weights : array of numbers, shape (H, W), optional
        Weight of every pixel's squared error instead of ``config.weights``: finite, not negative,
        some positive; only ratios matter. Chroma of 4:2:0 has the means of 2 x 2 weights.
    distortion : callable, optional
        What is to be small instead of what ``config.tune`` says: a function of the decoded and the
        original planes, both tuples of three tensors (H, W) of float32 in [0, 1] (chroma of 4:2:0:
        (H // 2, W // 2)), that gives a scalar tensor and that torch can differentiate. It may be
        called with windows of the picture. Where it is about as large as the mean squared error,
        lambdas mean what they mean there. Its exceptions pass through.
    extractor : FeatureExtractor, optional
        Features that are compared if ``config.tune`` is "wasserstein"; default: a fixed
        :class:`numchic_trainer.training.features.FilterBank`.

    Returns
    -------
    EncodeResult
        If a rate or a quality was wanted and is out of reach, what came nearest to it.

    Raises
    ------
    UsageError
        There is no picture of this depth, the format cannot express the settings, the metadata are
        too large, the stream would exceed the decoder's default limits, this machine has no such
        device, the weights are not those of this picture, the distortion gives no finite scalar
        with a gradient, or the checkpoint is damaged or that of another encode.
    OSError
        A file cannot be read or written.
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    config = TrainConfig() if config is None else config
    _require(isinstance(config, TrainConfig), "config", config, "a TrainConfig")
    _require(progress is None or callable(progress), "progress", progress, "a function")
    _require(distortion is None or callable(distortion), "distortion", distortion, "a function")
    _require(extractor is None or callable(extractor), "extractor", extractor, "a function")
    if checkpoint is not None:
        _require(isinstance(checkpoint, str | os.PathLike), "checkpoint", checkpoint, "a path")
        checkpoint = Path(checkpoint)
    period = _SECONDS.check("checkpoint_seconds", checkpoint_seconds)
    _check_choice(config, weights, distortion)
    picture = to_picture(image, bitdepth)
    weights = config.weights if weights is None else weights
    task = Task(
        picture,
        config,
        choose_preset(picture, config),
        None if weights is None else pixel_weights(weights, picture),
        distortion,
        extractor,
    )
    with surroundings(config.device), Workers(config.threads or available_cores()) as workers:
        return _encode(task, workers, progress, checkpoint, period)


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise UsageError("illegal argument", name, None, shown(value), allowed)


def _check_choice(config: TrainConfig, weights: object, distortion: object) -> None:
    """Refuse several losses at once."""
    chosen = {
        "tune": config.tune != "mse",
        "config.weights": config.weights is not None,
        "weights": weights is not None,
        "distortion": distortion is not None,
    }
    names = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(names) > 1:
        raise UsageError("only one of these is possible", names[-1], None, ", ".join(names), "one")


def _encode(
    task: Task,
    workers: Workers,
    progress: Progress | None,
    checkpoint: Path | None,
    period: float,
) -> EncodeResult:
    """Train and finish until the search for a rate or a quality, if there is one, has ended."""
    target = task.target(task.config.lmbda, task.config.device)
    training = Training(task.model(target), target, task.config.seed, workers)
    search = Search(task.config)
    session = Session(task.identity(), training, search, progress, checkpoint, period)
    if not session.resume():
        _begin(task, training, search, session)
    while True:
        _train(task, training, session)
        session.save()
        result = finish(task, training, search.lmbda, session)
        if search.ends_with(result):
            return search.outcome(result)
        session.log = list(result.log)
        if search.is_near:
            training.phases.append(refinement(task.config, task.preset, search.lmbda))
        else:
            _begin(task, training, search, session)


def _begin(
    task: Task, training: Training[CoolChicEncoder], search: Search, session: Session
) -> None:
    """Give the training phases and starting points for the present lambda."""
    config = dataclasses.replace(task.config, lmbda=search.lmbda)
    model, target = training.model, training.target
    with session.timed("start"):
        try:
            start = choose_start(config, task.preset, model, task.is_rgb)
        except UsageError:
            if not search.attempts:
                raise
            start = "shared"  # the search has left the lambdas of the ladder
        candidates = starting_points(model, config, start, task.preset, target, rgb=task.is_rgb)
        training.begin(start, plan(config, task.preset, start), candidates)


def _train(task: Task, training: Training[CoolChicEncoder], session: Session) -> None:
    """Train until all phases are done."""
    training.model.to(task.config.device)
    while not training.finished:
        phase, rate = training.phase, training.learning_rate
        with session.timed(phase.name):
            evaluated = training.advance()
        row = None
        if evaluated and training.evaluation is not None:
            row = session.row(phase.name, training.evaluation, rate, phase.lmbda)
            session.log.append(row)
        session.tell(phase.name, row)
        session.save_if_due()
