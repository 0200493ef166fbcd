# SPDX-License-Identifier: BSD-3-Clause
"""Iterations without autograd: every stage is a kernel that goes over the picture once.

latents -> symbols (soft rounding and noise) -> bits (contexts, IFCE, ARM), output (upsampling,
synthesis) -> loss, and back, for one or two models. All networks are one vector, all latents
another, and so are their derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.adam import adam
from numchic_trainer.kernels.gradients import add_network_rate, clip
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.quantise import soft_quantise
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.soap import SoapKernel
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import has_kernels
from numchic_trainer.model.encoder import CoolChicEncoder, picture_parameters, rate_parameters
from numchic_trainer.model.inter import FrameModel
from numchic_trainer.quantisation.estimate import steps_of
from numchic_trainer.training.comparison import Comparison, compare
from numchic_trainer.training.engine import MAX_GRADIENT, NETWORK_BETAS, NETWORK_DECAY, Step
from numchic_trainer.training.flat import Flat
from numchic_trainer.training.target import Evaluation, Target

_EPS = 1e-8
_SOAP = "soap/"  # before the names of its state


class SweepEngine:
    """Engine of a model on the CPU.

    Parameters
    ----------
    model : CoolChicEncoder or InterEncoder
        One that :meth:`fits`. Its parameters move into vectors.
    seed : int
        Seed of the noise.
    workers : Workers
    """

    def __init__(self, model: FrameModel, seed: int, workers: Workers) -> None:
        self._model = model
        self._seed = seed
        self._workers = workers
        of_half = (rate_parameters, picture_parameters)
        halves = [parameters(part) for part in model.parts for parameters in of_half]
        self._networks = Flat([parameter for half in halves for parameter in half])
        self._ends = np.cumsum([len(half) for half in halves])[:-1].tolist()
        self._steps = steps_of(model, self._networks.parameters)
        self._latents = Flat([grid for part in model.parts for grid in part.latent_grids])
        self._buffers: _Buffers | None = None
        self._latent_betas = (0.9, 0.999)

    @staticmethod
    def fits(model: FrameModel) -> bool:
        """Whether the kernels can do the architecture, on its device and in its precision."""
        return all(
            has_kernels(part.latent_grids[0]) and PictureSweep.fits(part.header)
            for part in model.parts
        )

    def begin(self, latent_betas: tuple[float, float]) -> None:
        """Begin with a new optimiser."""
        self._latent_betas = latent_betas
        self._memory.forget()

    def iterate(self, step: Step, target: Target) -> float:
        """Do one iteration."""
        memory = self._memory
        loss = self._differentiate(memory, step, target)
        norm = clip(memory.d_networks, MAX_GRADIENT)
        if not math.isfinite(loss + norm):  # derivatives may be no numbers where the loss is one
            return math.nan
        memory.soap.step(self._networks.values, memory.d_networks, step.network_learning_rate)
        if memory.n_steps:  # the first step of SOAP only looks at gradients
            adam(
                self._latents.values, memory.d_symbols, memory.slopes, memory.first,
                memory.second, step.latent_learning_rate, self._latent_betas, _EPS,
                memory.n_steps, self._workers,
            )  # fmt: skip
        memory.n_steps += 1
        return loss

    def differentiate(self, step: Step, target: Target) -> tuple[float, dict[str, F32]]:
        """Loss and its derivatives by all trained parameters, by their names in the model."""
        memory = self._memory
        loss = self._differentiate(memory, step, target)
        by_latents = self._latents.split(memory.d_symbols * memory.slopes)
        pieces = [*memory.d_pieces, *by_latents]
        names = {id(p): name for name, p in self._model.named_parameters()}
        parameters = [*self._networks.parameters, *self._latents.parameters]
        return loss, {names[id(p)]: piece for p, piece in zip(parameters, pieces, strict=True)}

    def _differentiate(self, memory: _Buffers, step: Step, target: Target) -> float:
        """Loss, and its derivatives by symbols and networks."""
        soft_quantise(
            self._latents.values, self._gain, step.temperature, step.noise, self._seed, step.index,
            memory.symbols, memory.slopes, self._workers,
        )  # fmt: skip
        price, bits = target.rate_weight(), 0.0
        for part, (by_rate, by_picture), (d_rate, _) in self._parts(memory, memory.d_pieces):
            bits += part.rate.differentiate(part.symbols, by_rate, price, part.d_symbols, d_rate)
            part.raw = part.picture.render(part.symbols, by_picture)
        distortion = memory.comparison(target).differentiate(
            [part.raw for part in memory.parts], [part.d_raw for part in memory.parts]
        )
        for part, _, (_, d_picture) in self._parts(memory, memory.d_pieces):
            part.picture.differentiate(part.symbols, part.d_raw, part.d_symbols, d_picture)
        if step.network_rate:
            bits += step.network_rate * add_network_rate(
                self._networks.values, self._steps, step.network_rate * price, memory.d_networks
            )
        if not np.isfinite(self._networks.values).all():  # which a ReLU would hide
            return math.nan
        return target.loss(distortion, bits)

    def _parts(
        self, memory: _Buffers, d_pieces: Sequence[F32]
    ) -> Iterator[tuple[_Part, list[Sequence[F32]], list[Sequence[F32]]]]:
        """Buffers of every model, its networks and their derivatives, both for rate and picture."""
        pieces, d_parts = self._halves(self._networks.pieces), self._halves(d_pieces)
        for i, part in enumerate(memory.parts):
            half = slice(2 * i, 2 * i + 2)
            yield part, pieces[half], d_parts[half]

    def _halves(self, pieces: Sequence[F32]) -> list[Sequence[F32]]:
        starts, ends = [0, *self._ends], [*self._ends, len(pieces)]
        return [pieces[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def _gain(self) -> int:
        return self._model.parts[0].param.encoder_gain  # which all parts have in common

    def evaluate(self, target: Target) -> Evaluation:
        """Judge the model."""
        memory = self._memory
        np.multiply(self._latents.values, np.float32(self._gain), out=memory.symbols)
        np.rint(memory.symbols, out=memory.symbols)
        bits = 0.0
        for part, (by_rate, by_picture), _ in self._parts(memory, memory.d_pieces):
            bits += part.rate.bits(part.symbols, by_rate)
            part.raw = part.picture.render(part.symbols, by_picture)
        raws = [part.raw for part in memory.parts]
        return target.evaluation(*memory.comparison(target).evaluate(raws), bits)

    @property
    def _memory(self) -> _Buffers:
        if self._buffers is None:
            self._buffers = _Buffers(self._model, self._networks, self._latents, self._workers)
        return self._buffers

    def state(self) -> tuple[dict[str, Tensor], Any]:
        """State of the optimiser; the noise follows from the number of the iteration."""
        memory = self._buffers
        if memory is None:
            return {}, None
        soap = {f"{_SOAP}{name}": array for name, array in memory.soap.state().items()}
        arrays = {"first": memory.first, "second": memory.second, **soap}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, memory.n_steps

    def restore(self, tensors: dict[str, Tensor], rest: Any) -> None:
        """Take back what :meth:`state` gave."""
        if rest is None:
            return
        memory = self._memory
        memory.first[...], memory.second[...] = tensors["first"], tensors["second"]
        memory.soap.restore(
            {
                name.removeprefix(_SOAP): tensor.numpy()
                for name, tensor in tensors.items()
                if name.startswith(_SOAP)
            }
        )
        memory.n_steps = rest

    def release(self) -> None:
        """Drop all buffers."""
        self._buffers = None


class _Part:
    """Memory of one model.

    Attributes
    ----------
    symbols, d_symbols : float32[n latents]
        Views of those of all models.
    raw, d_raw : float32[C, h, w]
        What the layers of the synthesis give, and derivatives by it.
    """

    def __init__(
        self, model: CoolChicEncoder, symbols: F32, d_symbols: F32, workers: Workers
    ) -> None:
        self.symbols, self.d_symbols = symbols, d_symbols
        self.rate = RateSweep(model.header, workers)
        noise = (
            cast("Tensor", model.noise).numpy()[0] if model.param.flag_common_randomness else None
        )
        self.picture = PictureSweep(model.header, noise, workers)
        n_channels = model.synthesis.layer_forms[-1].out_ft
        self.d_raw: F32 = np.empty((n_channels, *model.grids[0].shape), np.float32)
        self.raw = self.d_raw


class _Buffers:
    """Memory of the iterations.

    Attributes
    ----------
    symbols, slopes, d_symbols : float32[n latents]
        Quantised latents, their derivatives by the latents, derivatives of the loss by them.
    first, second : float32[n latents]
        Moments of Adam.
    d_networks : float32[n], with views ``d_pieces``
    parts : list of _Part
    n_steps : int
        Steps of the optimiser.
    """

    def __init__(self, model: FrameModel, networks: Flat, latents: Flat, workers: Workers) -> None:
        n = latents.values.size
        self.symbols, self.slopes, self.d_symbols = (np.empty(n, np.float32) for _ in range(3))
        self.first, self.second = np.zeros(n, np.float32), np.zeros(n, np.float32)
        self.d_networks: F32 = np.empty_like(networks.values)
        self.d_pieces = networks.split(self.d_networks)
        ends = np.cumsum([sum(grid.n_samples for grid in part.grids) for part in model.parts])[:-1]
        self.parts = [
            _Part(part, symbols, d_symbols, workers)
            for part, symbols, d_symbols in zip(
                model.parts, np.split(self.symbols, ends), np.split(self.d_symbols, ends),
                strict=True,
            )
        ]  # fmt: skip
        self._shapes = networks.shapes
        self.n_steps = 0
        self.soap = self._new_soap()
        self._model, self._workers = model, workers
        self._measure: object = None
        self._comparison: Comparison | None = None

    def comparison(self, target: Target) -> Comparison:
        """How the outputs are compared with a target: the same for every price of bits."""
        if self._comparison is None or self._measure is not target.measure:
            self._measure = target.measure
            self._comparison = compare(self._model, target, self._workers)
        return self._comparison

    def _new_soap(self) -> SoapKernel:
        return SoapKernel(
            self._shapes, NETWORK_BETAS, _EPS, NETWORK_DECAY, precondition_frequency=1
        )

    def forget(self) -> None:
        """Forget what the optimiser has seen."""
        self.first[:], self.second[:] = 0.0, 0.0
        self.n_steps = 0
        self.soap = self._new_soap()
