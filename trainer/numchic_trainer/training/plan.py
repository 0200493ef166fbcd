# SPDX-License-Identifier: BSD-3-Clause
"""Which phases an encode has, as pure data (training, section 7)."""

from __future__ import annotations

from dataclasses import dataclass

from numchic_trainer.config import Preset, Start, TrainConfig
from numchic_trainer.training.schedule import warm_up_noise

_WARM_UP_LATENT_BETAS = (0.725, 0.97)
_N_EVALUATIONS = 20  # of the main phase
_N_WARM_UP_EVALUATIONS = 2
_N_GENTLE = 10
_MIN_TOURNAMENT = 20  # iterations
# Small networks lose more in distortion than they gain in bits.
_NETWORK_RATES: dict[Preset, float] = {"lop": 0.0, "mop": 0.5, "hop": 1.0, "vhop": 1.0}


@dataclass(frozen=True)
class Phase:
    """A stretch of training with an optimiser of its own.

    Attributes
    ----------
    name : str
    n_iterations : int
        Number of iterations of every candidate.
    n_evaluations : int
        Number of evaluations on the way; the best parameters seen are kept.
    n_kept : int
        Number of candidates, the best ones, that go on to the next phase.
    lmbda, learning_rate : float
    cosine : bool
        Whether the learning rate falls to nearly zero along a cosine.
    temperature, noise : (float, float)
        Parameters of soft rounding and Gaussian noise, at the start and at the end.
    latent_betas : (float, float)
    network_rate : float
        Weight of the bits of the networks.
    tuned : bool
        Whether the distortion is the one that was asked for, or mean squared error.
    start_counts : bool
        Whether the parameters at the start may stay the best ones.
    n_gentle : int
        First iterations in which the learning rate of the networks rises to its value. Without
        them the first steps of a new optimiser spoil networks that are good already.
    """

    name: str
    n_iterations: int
    n_evaluations: int
    n_kept: int
    lmbda: float
    learning_rate: float
    cosine: bool
    temperature: tuple[float, float]
    noise: tuple[float, float]
    latent_betas: tuple[float, float]
    network_rate: float
    tuned: bool
    start_counts: bool = True
    n_gentle: int = 0

    @property
    def evaluation_period(self) -> int:
        """Iterations from one evaluation to the next."""
        return max(1, self.n_iterations // self.n_evaluations)


def n_candidates(config: TrainConfig, preset: Preset, start: Start) -> int:
    """Number of starting points: only random networks need several of them."""
    tournament = start == "zero" and config.n_iterations(preset) >= _MIN_TOURNAMENT
    return config.n_candidates if tournament else 1


def plan(config: TrainConfig, preset: Preset, start: Start) -> list[Phase]:
    """Phases of an encode: with several candidates a tournament comes before the main phase.

    There is no last phase with fixed latents: its iterations are worth more in the main phase
    (training, section 13).
    """
    n_all = n_main = config.n_iterations(preset)
    if n_all == 0:
        return []
    phases = []
    if n_candidates(config, preset, start) > 1:
        length = max(1, round(n_all * config.warm_up_share))
        noise = warm_up_noise(config.lmbda)
        for n_runs, n_kept in (
            (config.n_candidates, config.n_finalists),
            (config.n_finalists, 1),
        ):
            n_main -= n_runs * length
            phases.append(
                Phase(
                    "warm-up", length, _N_WARM_UP_EVALUATIONS, n_kept,
                    config.lmbda, config.learning_rate, False,
                    (0.35, 0.35), (noise, noise), _WARM_UP_LATENT_BETAS, 0.0, False,
                )
            )  # fmt: skip
    phases.append(
        Phase(
            "main", max(1, n_main), _N_EVALUATIONS, 1, config.lmbda, config.learning_rate, True,
            (0.35, 0.08), (0.22, 0.15), config.latent_betas, _network_rate(config, preset), True,
            n_gentle=0 if start == "zero" else _N_GENTLE,
        )
    )  # fmt: skip
    return phases


def refinement(config: TrainConfig, preset: Preset, lmbda: float) -> Phase:
    """Short phase that takes a trained model to a lambda nearby."""
    return Phase(
        "refine", max(10, config.n_iterations(preset) // 5), _N_EVALUATIONS // 5, 1,
        lmbda, 0.1 * config.learning_rate, True,
        (0.15, 0.08), (0.17, 0.15), config.latent_betas, _network_rate(config, preset), True, False,
    )  # fmt: skip


def _network_rate(config: TrainConfig, preset: Preset) -> float:
    return _NETWORK_RATES[preset] if config.network_rate is None else config.network_rate
