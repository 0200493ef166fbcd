# SPDX-License-Identifier: BSD-3-Clause
"""Overfit one picture, iteration by iteration (training, sections 4 to 7)."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from numchic_bitstream import NumchicError
from numchic_trainer.config import Start
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import FrameModel
from numchic_trainer.training.autograd import AutogradEngine
from numchic_trainer.training.engine import Engine, Step
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.schedule import cosine_learning_rate, linear
from numchic_trainer.training.sweep import SweepEngine
from numchic_trainer.training.target import Evaluation, Target

Param = OrderedDict[str, Tensor]
Model = TypeVar("Model", bound=FrameModel)


class DivergenceError(NumchicError):
    """The loss of a training is no number any more."""


@dataclass
class Run:
    """Training of one candidate in one phase, on its way.

    ``best`` and ``best_param`` are the best evaluation so far and its parameters.
    """

    best: Evaluation
    best_param: Param
    step: int = 0


class Training(Generic[Model]):
    """State of the training of one picture.

    Call :meth:`begin`, and :meth:`advance` until :attr:`finished`; between two calls everything can
    be saved (:mod:`numchic_trainer.training.checkpoint`).

    Parameters
    ----------
    model : CoolChicEncoder or InterEncoder
    target : Target
    seed : int
        Seed of the noise.
    workers : Workers, optional
        Threads that share the work; by default there is one.

    Attributes
    ----------
    engine : Engine
        What does the iterations.
    start : str
        What the candidates were made of.
    phases : list of Phase
        None before :meth:`begin`. More can be appended at any time.
    candidates : list of parameters
        Where the present phase starts; the next one starts from the best of them.
    results : list of Evaluation
        Results of the candidates that have finished the present phase.
    phase_index : int
    run : Run or None
        None between two runs.
    iteration : int
        Iterations done in all.
    evaluation : Evaluation or None
        The latest one.
    """

    def __init__(
        self, model: Model, target: Target, seed: int, workers: Workers | None = None
    ) -> None:
        self.model = model
        self.target = target
        self.engine: Engine
        if SweepEngine.fits(model):
            self.engine = SweepEngine(model, seed, workers or Workers())
        else:
            self.engine = AutogradEngine(model, seed)
        self.start: Start = "zero"
        self.phases: list[Phase] = []
        self.candidates: list[Param] = []
        self.results: list[Evaluation] = []
        self.phase_index = 0
        self.run: Run | None = None
        self.iteration = 0
        self.evaluation: Evaluation | None = None

    @property
    def finished(self) -> bool:
        """Whether all phases are done; :meth:`result` then has the best parameters."""
        return self.phase_index == len(self.phases)

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self.phases[self.phase_index]

    @property
    def n_iterations(self) -> int:
        """Iterations of all phases and candidates."""
        total, n_candidates = 0, len(self.candidates)
        if self.phase_index:  # candidates are those of the present phase
            total = self.iteration - self._done_in_phase()
        for phase in self.phases[self.phase_index :]:
            total += n_candidates * phase.n_iterations
            n_candidates = phase.n_kept
        return total

    def _done_in_phase(self) -> int:
        if self.finished:
            return 0
        step = self.run.step if self.run is not None else 0
        return len(self.results) * self.phase.n_iterations + step

    def begin(self, start: Start, phases: list[Phase], candidates: list[Param]) -> None:
        """Begin, or begin anew when all is finished; iterations and random numbers go on."""
        self.start = start
        self.phases += phases
        self.candidates = candidates

    def result(self) -> Param:
        """Parameters of the best candidate of the last phase."""
        return self.candidates[0]

    @property
    def learning_rate(self) -> float:
        """Learning rate of the latents in the next iteration of the present run."""
        phase, step = self.phase, self.run.step if self.run is not None else 0
        if not phase.cosine:
            return phase.learning_rate
        return cosine_learning_rate(phase.learning_rate, step, phase.n_iterations)

    def advance(self) -> bool:
        """Do one iteration; tell whether the model was evaluated after it."""
        if self.run is None:
            self._begin_run()
        run, phase = self.run, self.phase
        assert run is not None
        self._iterate(run, phase)
        run.step += 1
        self.iteration += 1
        due = run.step % phase.evaluation_period == 0 or run.step == phase.n_iterations
        if due:
            self.evaluation = self.engine.evaluate(self._target())
            if self.evaluation.loss < run.best.loss:
                run.best, run.best_param = self.evaluation, self.model.get_param()
        if run.step == phase.n_iterations:
            self._end_run(run)
        return due

    def _target(self) -> Target:
        target = self.target if self.phase.tuned else self.target.plain()
        return target.at(self.phase.lmbda)

    def _begin_run(self) -> None:
        self.model.set_param(self.candidates[len(self.results)])
        self.engine.begin(self.phase.latent_betas)
        best = self.engine.evaluate(self._target())
        if not self.phase.start_counts:
            best = best._replace(loss=math.inf)
        self.run = Run(best, self.model.get_param())

    def _end_run(self, run: Run) -> None:
        self.candidates[len(self.results)] = run.best_param
        self.results.append(run.best)
        self.run = None
        if len(self.results) == len(self.candidates):
            order = sorted(range(len(self.results)), key=lambda i: self.results[i].loss)
            self.candidates = [self.candidates[i] for i in order[: self.phase.n_kept]]
            self.results = []
            self.phase_index += 1

    def _iterate(self, run: Run, phase: Phase) -> None:
        rate, n = self.learning_rate, phase.n_iterations
        step = Step(
            index=self.iteration,
            temperature=linear(*phase.temperature, run.step, n),
            noise=linear(*phase.noise, run.step, n),
            latent_learning_rate=rate,
            network_learning_rate=rate * min(1.0, (run.step + 1) / (phase.n_gentle + 1)),
            network_rate=phase.network_rate,
        )
        loss = self.engine.iterate(step, self._target())
        if not math.isfinite(loss):
            raise DivergenceError("training diverged", "loss", None, loss, "a finite number")
