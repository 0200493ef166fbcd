# SPDX-License-Identifier: BSD-3-Clause
"""Iterations without autograd: every stage is a kernel that goes over the picture once.

latents -> symbols (soft rounding and noise) -> bits (contexts, IFCE, ARM), picture (upsampling,
synthesis) -> loss, and back. All networks are one vector, all latents another, and so are their
derivatives. Only distortions that have no kernel are differentiated by torch, with respect to the
picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.adam import adam
from numchic_trainer.kernels.error import SquaredErrorSweep
from numchic_trainer.kernels.gradients import add_network_rate, clip
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.quantise import soft_quantise
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.soap import SoapKernel
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import has_kernels
from numchic_trainer.model.encoder import CoolChicEncoder, picture_parameters, rate_parameters
from numchic_trainer.quantisation.estimate import steps_of
from numchic_trainer.training.distortion import SquaredError
from numchic_trainer.training.engine import MAX_GRADIENT, NETWORK_BETAS, NETWORK_DECAY, Step
from numchic_trainer.training.flat import Flat
from numchic_trainer.training.target import Evaluation, Target

_EPS = 1e-8
_SOAP = "soap/"  # before the names of its state


class SweepEngine:
    """Engine of a model on the CPU.

    Parameters
    ----------
    model : CoolChicEncoder
        One that :meth:`fits`. Its parameters move into vectors.
    seed : int
        Seed of the noise.
    workers : Workers
    """

    def __init__(self, model: CoolChicEncoder, seed: int, workers: Workers) -> None:
        self._model = model
        self._seed = seed
        self._workers = workers
        by_rate, by_picture = rate_parameters(model), picture_parameters(model)
        self._networks = Flat([*by_rate, *by_picture])
        self._n_rate = len(by_rate)
        self._steps = steps_of(model, [*by_rate, *by_picture])
        self._latents = Flat(list(model.latent_grids))
        self._buffers: _Buffers | None = None
        self._latent_betas = (0.9, 0.999)

    @staticmethod
    def fits(model: CoolChicEncoder) -> bool:
        """Whether the kernels can do the architecture, on its device and in its precision."""
        return has_kernels(model.latent_grids[0]) and PictureSweep.fits(model.header)

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
            self._latents.values, self._model.param.encoder_gain, step.temperature, step.noise,
            self._seed, step.index, memory.symbols, memory.slopes, self._workers,
        )  # fmt: skip
        by_rate, by_picture = self._halves(self._networks.pieces)
        d_rate, d_picture = self._halves(memory.d_pieces)
        price = target.rate_weight()
        bits = memory.rate.differentiate(memory.symbols, by_rate, price, memory.d_symbols, d_rate)
        raw = memory.picture.render(memory.symbols, by_picture)
        distortion = self._distortion(memory, raw, target)
        memory.picture.differentiate(memory.symbols, memory.d_raw, memory.d_symbols, d_picture)
        if step.network_rate:
            bits += step.network_rate * add_network_rate(
                self._networks.values, self._steps, step.network_rate * price, memory.d_networks
            )
        if not np.isfinite(self._networks.values).all():  # which a ReLU would hide
            return math.nan
        return target.loss(distortion, bits)

    def _halves(self, pieces: Sequence[F32]) -> tuple[Sequence[F32], Sequence[F32]]:
        return pieces[: self._n_rate], pieces[self._n_rate :]

    def _distortion(self, memory: _Buffers, raw: F32, target: Target) -> float:
        """Distortion of a picture; ``d_raw`` becomes its derivative."""
        sweep = self._error_sweep(memory, target)
        if sweep is not None:
            return sweep.differentiate(_flat(raw), _flat(memory.d_raw))
        leaf = torch.from_numpy(raw)[None].requires_grad_()
        distortion = target.distortion(self._model.finish(leaf), rounded=False)
        distortion.backward()  # type: ignore[no-untyped-call]
        gradient = cast("Tensor", leaf.grad)
        memory.d_raw[...] = gradient[0].numpy()
        return distortion.item()

    def _error_sweep(self, memory: _Buffers, target: Target) -> SquaredErrorSweep | None:
        """Return the kernel of the target's distortion, if it has one."""
        if memory.error_of is not target.measure:
            memory.error_of, memory.error = target.measure, self._new_error_sweep(target)
        return memory.error

    def _new_error_sweep(self, target: Target) -> SquaredErrorSweep | None:
        measure, planes = target.measure, target.planes
        size = planes[0].shape
        same = planes[1].shape == size and self._memory.d_raw.shape[1:] == size
        if not isinstance(measure, SquaredError) or not same:
            return None
        weights = None if measure.weights is None else measure.weights.numpy().reshape(-1)
        y, u, v = (plane.numpy().reshape(-1) for plane in planes)
        transform = self._model.synthesis.output_transform
        return SquaredErrorSweep(
            (y, u, v), weights, transform.weight.detach().numpy()[:, :, 0, 0],
            transform.bias.detach().numpy(), target.maximum, self._workers,
        )  # fmt: skip

    def evaluate(self, target: Target) -> Evaluation:
        """Judge the model."""
        memory = self._memory
        np.multiply(
            self._latents.values, np.float32(self._model.param.encoder_gain), out=memory.symbols
        )
        np.rint(memory.symbols, out=memory.symbols)
        by_rate, by_picture = self._halves(self._networks.pieces)
        bits = memory.rate.bits(memory.symbols, by_rate)
        raw = memory.picture.render(memory.symbols, by_picture)
        sweep = self._error_sweep(memory, target)
        if sweep is not None:
            distortion, mse = sweep.evaluate(_flat(raw))
            return target.evaluation(distortion, mse, bits)
        with torch.no_grad():
            return target.judge(self._model.finish(torch.from_numpy(raw)[None]), bits)

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


class _Buffers:
    """Memory of the iterations.

    Attributes
    ----------
    symbols, slopes, d_symbols : float32[n latents]
        Quantised latents, their derivatives by the latents, derivatives of the loss by them.
    first, second : float32[n latents]
        Moments of Adam.
    d_networks : float32[n], with views ``d_pieces``
    d_raw : float32[C, h, w]
    n_steps : int
        Steps of the optimiser.
    """

    def __init__(
        self, model: CoolChicEncoder, networks: Flat, latents: Flat, workers: Workers
    ) -> None:
        n = latents.values.size
        self.symbols, self.slopes, self.d_symbols = (np.empty(n, np.float32) for _ in range(3))
        self.first, self.second = np.zeros(n, np.float32), np.zeros(n, np.float32)
        self.d_networks: F32 = np.empty_like(networks.values)
        self.d_pieces = networks.split(self.d_networks)
        self.rate = RateSweep(model.header, workers)
        noise = (
            cast("Tensor", model.noise).numpy()[0] if model.param.flag_common_randomness else None
        )
        self.picture = PictureSweep(model.header, noise, workers)
        finest = model.header.derived.grids[0]
        self.d_raw: F32 = np.empty(
            (model.synthesis.layer_forms[-1].out_ft, *finest.shape), np.float32
        )
        self._shapes = networks.shapes
        self.n_steps = 0
        self.soap = self._new_soap()
        self.error_of: object = None
        self.error: SquaredErrorSweep | None = None

    def _new_soap(self) -> SoapKernel:
        return SoapKernel(
            self._shapes, NETWORK_BETAS, _EPS, NETWORK_DECAY, precondition_frequency=1
        )

    def forget(self) -> None:
        """Forget what the optimiser has seen."""
        self.first[:], self.second[:] = 0.0, 0.0
        self.n_steps = 0
        self.soap = self._new_soap()


def _flat(planes: F32) -> F32:
    return planes.reshape(len(planes), -1)
