# SPDX-License-Identifier: BSD-3-Clause
"""What does the iterations of a training (training, sections 3 to 6).

There are two engines: kernels without autograd on the CPU (:mod:`.sweep`), and plain torch, which
is their reference and does everything that they cannot (:mod:`.autograd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from numchic_trainer.training.target import Evaluation, Target

NETWORK_BETAS = (0.95, 0.95)
NETWORK_DECAY = 0.01
MAX_GRADIENT = 0.1  # norm of the network gradients; only tames spikes


@dataclass(frozen=True)
class Step:
    """What an iteration is done with.

    Attributes
    ----------
    index : int
        Iterations before it, from the beginning of the training on.
    temperature, noise : float
        Parameters of soft rounding and of the Gaussian noise.
    latent_learning_rate, network_learning_rate : float
    network_rate : float
        Weight of the bits of the networks.
    """

    index: int
    temperature: float
    noise: float
    latent_learning_rate: float
    network_learning_rate: float
    network_rate: float


class Engine(Protocol):
    """Iterations on a model, whose parameters they change in place."""

    def begin(self, latent_betas: tuple[float, float]) -> None:
        """Forget what the optimiser has seen."""
        ...

    def iterate(self, step: Step, target: Target) -> float:
        """Do one iteration and return the loss before it; if that is not finite, nothing moves."""
        ...

    def evaluate(self, target: Target) -> Evaluation:
        """Judge the model with rounded latents and samples, without the bits of its networks."""
        ...

    def state(self) -> tuple[dict[str, Tensor], Any]:
        """What the optimiser has seen: tensors by name, and what JSON can hold."""
        ...

    def restore(self, tensors: dict[str, Tensor], rest: Any) -> None:
        """Take back what :meth:`state` gave, after :meth:`begin`."""
        ...

    def release(self) -> None:
        """Give memory back until the next iteration begins anew."""
        ...
