# SPDX-License-Identifier: BSD-3-Clause
"""Training phases (training, sections 4 to 7)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from numchic_trainer.config import TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder, CoolChicEncoderParameter
from numchic_trainer.training.schedule import cosine_learning_rate, linear, warm_up_noise
from numchic_trainer.training.soap import Soap

Progress = Callable[[str, int, int, float], None]
"""Called with phase, iterations done, iterations in all, and the loss of the last evaluation."""

_CLIP = 0.1  # norm of the network gradients; only tames spikes
_NETWORK_BETAS = (0.95, 0.95)
_WARM_UP_LATENT_BETAS = (0.725, 0.97)
_N_EVALUATIONS = 20


@dataclass(frozen=True)
class Phase:
    """One stretch of training with an optimiser of its own."""

    name: str
    n_iterations: int
    learning_rate: float
    cosine: bool
    temperature: tuple[float, float]
    noise: tuple[float, float]
    latent_betas: tuple[float, float]
    refresh: int


@dataclass
class Target:
    """What the picture should become.

    Parameters
    ----------
    picture : Tensor, shape (1, 3, H, W)
        In [0, 1].
    lmbda : float
    maximum : int
        Largest sample, for rounding in evaluations.
    """

    picture: Tensor
    lmbda: float
    maximum: int = 255

    def distortion(self, raw: Tensor, *, rounded: bool) -> Tensor:
        """Mean squared error of the clamped output, rounded to samples or not."""
        output = torch.clamp(raw, 0.0, 1.0)
        if rounded:
            output = torch.round(output * self.maximum) / self.maximum
        return torch.mean((output - self.picture) ** 2)

    def rate_weight(self) -> float:
        """Weight of one bit in the loss."""
        return self.lmbda / (self.picture.shape[-2] * self.picture.shape[-1])


def evaluate(model: CoolChicEncoder, target: Target) -> float:
    """Loss with rounded latents and samples, without the bits of the networks."""
    model.eval()
    with torch.no_grad():
        output = model()
        loss = target.distortion(output["raw_out"], rounded=True)
        value = float(loss + target.rate_weight() * output["rate"])
    model.train()
    return value


def run_phase(
    model: CoolChicEncoder,
    target: Target,
    phase: Phase,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> float:
    """Train for one phase; the best parameters seen at an evaluation are kept.

    Returns
    -------
    float
        Their loss.
    """
    networks = [
        p for name, p in model.named_parameters() if p.requires_grad and "latent_grids" not in name
    ]
    latents = list(model.latent_grids)
    optimiser = Soap(
        [
            {"params": networks, "betas": _NETWORK_BETAS, "weight_decay": 0.01},
            {"params": latents, "betas": phase.latent_betas, "precondition": False},
        ],
        lr=phase.learning_rate,
        precondition_frequency=phase.refresh,
    )
    best, best_param = evaluate(model, target), model.get_param()
    period = max(1, phase.n_iterations // _N_EVALUATIONS)
    for step in range(phase.n_iterations):
        if phase.cosine:
            for group in optimiser.param_groups:
                group["lr"] = cosine_learning_rate(phase.learning_rate, step, phase.n_iterations)
        optimiser.zero_grad(set_to_none=True)
        output = model(
            soft_round_temperature=linear(*phase.temperature, step, phase.n_iterations),
            noise_parameter=linear(*phase.noise, step, phase.n_iterations),
            generator=generator,
        )
        loss = target.distortion(output["raw_out"], rounded=False)
        (loss + target.rate_weight() * output["rate"]).backward()
        torch.nn.utils.clip_grad_norm_(networks, _CLIP)
        optimiser.step()
        if (step + 1) % period == 0 or step + 1 == phase.n_iterations:
            value = evaluate(model, target)
            if value < best:
                best, best_param = value, model.get_param()
            if progress is not None:
                progress(phase.name, step + 1, phase.n_iterations, value)
    model.set_param(best_param)
    return best


def train(
    parameter: CoolChicEncoderParameter,
    target: Target,
    config: TrainConfig,
    progress: Progress | None = None,
) -> CoolChicEncoder:
    """Overfit one picture: a tournament of random initialisations, then the main phase.

    Returns
    -------
    CoolChicEncoder
        Trained, not yet quantised.
    """
    generator = torch.Generator().manual_seed(config.seed)
    length = max(1, round(config.iterations * config.warm_up_share))
    noise = warm_up_noise(config.lmbda)
    warm_up = Phase(
        "warm-up", length, config.learning_rate, False,
        (0.35, 0.35), (noise, noise), _WARM_UP_LATENT_BETAS, 1,
    )  # fmt: skip
    n_main = config.iterations - length * (config.n_candidates + config.n_finalists)
    main = Phase(
        "main", n_main, config.learning_rate, True,
        (0.35, 0.08), (0.22, 0.15), config.latent_betas, 1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = CoolChicEncoder(parameter)
        candidates: list[OrderedDict[str, Tensor]] = []
        for _ in range(config.n_candidates):
            model.reinitialize_parameters()
            candidates.append(model.get_param())
    for n_kept in (config.n_finalists, 1):
        results: list[tuple[float, int]] = []
        for i, candidate in enumerate(candidates):
            model.set_param(candidate)
            results.append((run_phase(model, target, warm_up, generator, progress), i))
            candidates[i] = model.get_param()
        candidates = [candidates[i] for _, i in sorted(results)[:n_kept]]
    model.set_param(candidates[0])
    run_phase(model, target, main, generator, progress)
    return model
