# SPDX-License-Identifier: BSD-3-Clause
"""Iterations in plain torch: the reference, and what other devices do."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from numchic_trainer.model.inter import FrameModel
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.training.engine import MAX_GRADIENT, NETWORK_BETAS, NETWORK_DECAY, Step
from numchic_trainer.training.soap import Soap
from numchic_trainer.training.target import Evaluation, Target

_LISTS = ("outer", "bases")  # of the optimiser's state: one matrix or None per dimension


class AutogradEngine:
    """Engine of a model on any device.

    Parameters
    ----------
    model : CoolChicEncoder or InterEncoder
    seed : int
        Seed of the noise.
    """

    def __init__(self, model: FrameModel, seed: int) -> None:
        self._model = model
        device = model.latent_grids[0].device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._networks = [
            p for name, p in model.named_parameters() if p.requires_grad and "latent" not in name
        ]
        self._optimiser = self._new_optimiser((0.9, 0.999))

    def _new_optimiser(self, latent_betas: tuple[float, float]) -> Soap:
        latents = list(self._model.latent_grids)
        return Soap(
            [
                {"params": self._networks, "betas": NETWORK_BETAS, "weight_decay": NETWORK_DECAY},
                {"params": latents, "betas": latent_betas, "precondition": False},
            ],
            precondition_frequency=1,
        )

    def begin(self, latent_betas: tuple[float, float]) -> None:
        """Begin with a new optimiser; random numbers go on."""
        self._optimiser = self._new_optimiser(latent_betas)

    def iterate(self, step: Step, target: Target) -> float:
        """Do one iteration."""
        networks, latents = self._optimiser.param_groups
        networks["lr"], latents["lr"] = step.network_learning_rate, step.latent_learning_rate
        self._optimiser.zero_grad(set_to_none=True)
        loss = self.loss(step, target)
        value = loss.item()
        if math.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._networks, MAX_GRADIENT)
            self._optimiser.step()
        return value

    def loss(self, step: Step, target: Target) -> Tensor:
        """Loss with noise, a scalar."""
        output = self._model(
            soft_round_temperature=step.temperature,
            noise_parameter=step.noise,
            generator=self._generator,
        )
        bits = output["rate"]
        if step.network_rate:
            bits = bits + step.network_rate * network_bits(self._model)
        return target.loss(target.distortion(output["raw_out"], rounded=False), bits)

    def evaluate(self, target: Target) -> Evaluation:
        """Judge the model."""
        return target.evaluate(self._model)

    def state(self) -> tuple[dict[str, Tensor], Any]:
        """State of the generator and of the optimiser."""
        tensors = {"generator": self._generator.get_state()}
        counts: dict[str, dict[str, Any]] = {}
        for index, entry in self._optimiser.state_dict()["state"].items():
            counts[str(index)] = {"step": entry["step"]}
            for name, value in entry.items():
                if name in _LISTS:
                    counts[str(index)]["dimensions"] = len(value)
                    for j, matrix in enumerate(value):
                        if matrix is not None:
                            tensors[f"{index}/{name}/{j}"] = matrix
                elif isinstance(value, Tensor):
                    tensors[f"{index}/{name}"] = value
        return tensors, counts

    def restore(self, tensors: dict[str, Tensor], rest: Any) -> None:
        """Take back what :meth:`state` gave."""
        self._generator.set_state(tensors["generator"].cpu())
        blank = self._optimiser.state_dict()
        blank["state"] = {int(i): _entry(tensors, i, count) for i, count in rest.items()}
        self._optimiser.load_state_dict(blank)

    def release(self) -> None:
        """Forget the optimiser's moments."""
        self.begin((0.9, 0.999))


def _entry(tensors: dict[str, Tensor], index: str, count: dict[str, Any]) -> dict[str, Any]:
    """State of one parameter."""
    entry: dict[str, Any] = {
        "step": count["step"],
        "exp_avg": tensors[f"{index}/exp_avg"],
        "exp_avg_sq": tensors[f"{index}/exp_avg_sq"],
    }
    if "dimensions" in count:
        for name in _LISTS:
            entry[name] = [tensors.get(f"{index}/{name}/{j}") for j in range(count["dimensions"])]
    return entry
