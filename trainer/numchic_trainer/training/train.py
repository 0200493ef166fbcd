# SPDX-License-Identifier: BSD-3-Clause
"""Overfit one picture, iteration by iteration (training, sections 4 to 7)."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from numchic_bitstream import NumchicError
from numchic_trainer.config import Start
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.schedule import cosine_learning_rate, linear
from numchic_trainer.training.soap import Soap
from numchic_trainer.training.target import Evaluation, Target

Param = OrderedDict[str, Tensor]

_CLIP = 0.1  # norm of the network gradients; only tames spikes
_NETWORK_BETAS = (0.95, 0.95)


@dataclass
class Run:
    """Training of one candidate in one phase, on its way.

    ``best`` and ``best_param`` are the best evaluation so far and its parameters.
    """

    optimiser: Soap
    best: Evaluation
    best_param: Param
    step: int = 0


class Training:
    """State of the training of one picture.

    Call :meth:`begin`, and :meth:`advance` until :attr:`finished`; between two calls everything can
    be saved (:mod:`numchic_trainer.training.checkpoint`).

    Parameters
    ----------
    model : CoolChicEncoder
    target : Target
    seed : int
        Seed of the noise.

    Attributes
    ----------
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

    def __init__(self, model: CoolChicEncoder, target: Target, seed: int) -> None:
        self.model = model
        self.target = target
        self.start: Start = "zero"
        self.phases: list[Phase] = []
        self.candidates: list[Param] = []
        self.generator = torch.Generator(target.planes[0].device).manual_seed(seed)
        self.results: list[Evaluation] = []
        self.phase_index = 0
        self.run: Run | None = None
        self.iteration = 0
        self.evaluation: Evaluation | None = None
        self._networks = [
            p for name, p in model.named_parameters() if p.requires_grad and "latent" not in name
        ]

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
            self.evaluation = self._target().evaluate(self.model)
            if self.evaluation.loss < run.best.loss:
                run.best, run.best_param = self.evaluation, self.model.get_param()
        if run.step == phase.n_iterations:
            self._end_run(run)
        return due

    def new_optimiser(self) -> Soap:
        """Optimiser of the present phase without a state (training, section 5)."""
        return Soap(
            [
                {"params": self._networks, "betas": _NETWORK_BETAS, "weight_decay": 0.01},
                {
                    "params": list(self.model.latent_grids),
                    "betas": self.phase.latent_betas,
                    "precondition": False,
                },
            ],
            lr=self.phase.learning_rate,
            precondition_frequency=1,  # at these sizes it costs little and gains 3 % in short runs
        )

    def _target(self) -> Target:
        target = self.target if self.phase.tuned else self.target.plain()
        return target.at(self.phase.lmbda)

    def _begin_run(self) -> None:
        self.model.set_param(self.candidates[len(self.results)])
        best = self._target().evaluate(self.model)
        if not self.phase.start_counts:
            best = best._replace(loss=math.inf)
        self.run = Run(self.new_optimiser(), best, self.model.get_param())

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
        networks, latents = run.optimiser.param_groups
        latents["lr"] = self.learning_rate
        networks["lr"] = self.learning_rate * min(1.0, (run.step + 1) / (phase.n_gentle + 1))
        run.optimiser.zero_grad(set_to_none=True)
        output = self.model(
            soft_round_temperature=linear(*phase.temperature, run.step, phase.n_iterations),
            noise_parameter=linear(*phase.noise, run.step, phase.n_iterations),
            generator=self.generator,
        )
        target = self._target()
        bits = output["rate"]
        if phase.network_rate:
            bits = bits + phase.network_rate * network_bits(self.model)
        loss = target.loss(target.distortion(output["raw_out"], rounded=False), bits)
        if not math.isfinite(loss.item()):
            raise NumchicError("training diverged", "loss", None, loss.item(), "a finite number")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._networks, _CLIP)
        run.optimiser.step()
