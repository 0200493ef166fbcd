# SPDX-License-Identifier: BSD-3-Clause
"""Draw network parameters and latents that give a picture worth comparing.

Real magnitudes are chosen so that the entropy model is neither certain nor ignorant, and the
picture varies around mid-grey without leaving 0 .. 1; then they are divided by the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from numchic.v5.latents import decode_latents
from numchic_bitstream import CoolChic, CoolChicHeader, Layer, Parameters
from numchic_bitstream.arrays import I8
from numchic_bitstream.v5.parameters import zero_parameters
from numchic_conformance.synthetic.seeded import Source

LatentRule = Callable[[Source, CoolChicHeader, Parameters], list[I8]]
"""Draws all grids, finest first."""


@dataclass(frozen=True)
class Signal:
    """What the synthesis should give: a mean, a standard deviation, from latents of a size."""

    mean: float = 0.5
    spread: float = 0.2
    latent: float = 8.0


PICTURE = Signal()
INTER_RESIDUE = Signal(mean=0.0, spread=0.1)
MOTION = Signal(mean=0.0, spread=2.0)


def draw_parameters(source: Source, header: CoolChicHeader, signal: Signal = PICTURE) -> Parameters:
    """Parameters of all networks.

    Parameters
    ----------
    source : Source
    header : CoolChicHeader
    signal : Signal
    """
    parameters = zero_parameters(header)
    steps = header.derived.steps

    def fill(name: str, layer: Layer, weight: float, bias: float, mean: float = 0.0) -> None:
        """Draw a layer with real weights and biases up to the given magnitudes."""
        module = name.split(".", maxsplit=1)[0]
        largest = max(1, round(weight * 2.0 ** getattr(steps, f"{module}_weight")))
        layer.weight[...] += source.integers(
            f"{name}.weight", -largest, largest, layer.weight.shape
        )
        one = 2.0 ** getattr(steps, f"{module}_bias")
        largest = round(bias * one)
        layer.bias[...] += source.integers(f"{name}.bias", -largest, largest, layer.bias.shape)
        layer.bias[...] += round(mean * one)

    _draw_arm(parameters, fill)
    for k, layer in parameters.ifce.by_grid.items():
        fill(f"ifce.{k}", layer, 0.5 / math.sqrt(layer.weight.shape[1]), 0.5)
    for i, layer in enumerate(parameters.upsampling.x2):
        _draw_interpolation(source, f"upsampling.x2.{i}", layer, steps.upsampling_weight)
    for i, layer in enumerate(parameters.upsampling.preconcat):
        fill(f"upsampling.preconcat.{i}", layer, 0.1, 0.0)
    _draw_synthesis(header, parameters, fill, signal)
    return parameters


Fill = Callable[..., None]


def _draw_arm(parameters: Parameters, fill: Fill) -> None:
    arm = parameters.arm
    width = math.sqrt(arm.output.weight.shape[1])
    for i, layer in enumerate(arm.hidden):
        fill(f"arm.hidden.{i}", layer, 0.5 / width, 0.5)
    sources = [("arm.output", arm.output)]
    if arm.stabiliser is not None:
        sources.append(("arm.stabiliser", arm.stabiliser))
    for name, layer in sources:
        for o, (weight, bias) in enumerate(((0.5 / width, 0.5), (0.15 / width, 0.5))):
            row = Layer(layer.weight[o], layer.bias[o : o + 1])
            # The log-scale has an offset of -4; a spread of e fits most latents drawn here.
            fill(f"{name}.{o}", row, weight, bias, 5.0 if (name, o) == ("arm.output", 1) else 0.0)


def _draw_interpolation(source: Source, name: str, layer: Layer, exponent: int) -> None:
    """Linear interpolation, a little disturbed."""
    step = 1 << exponent
    kernel = layer.weight
    kernel[-2:] = step // 4, step - step // 4
    largest = step // 16
    kernel += source.integers(f"{name}.weight", -largest, largest, kernel.shape)


def _draw_synthesis(
    header: CoolChicHeader, parameters: Parameters, fill: Fill, signal: Signal
) -> None:
    synthesis = parameters.synthesis
    last = len(header.syn_layer) - 1
    gain = signal.spread / (signal.latent / math.sqrt(3))
    for i, (layer, form) in enumerate(zip(synthesis.trunk, header.syn_layer, strict=True)):
        fan_in = math.prod(layer.weight.shape[1:])
        residual = form.mode == "residual"
        weight = math.sqrt(3 / fan_in) * (0.5 if residual else gain)
        mean = signal.mean if i == last else 0.0
        fill(f"synthesis.trunk.{i}", layer, weight, signal.spread / 4, mean)
        gain = gain if residual else 1.0
    if synthesis.stabiliser is not None:
        n_inputs = synthesis.stabiliser.weight.shape[1]
        weight = signal.spread / signal.latent / math.sqrt(n_inputs)
        fill("synthesis.stabiliser", synthesis.stabiliser, weight, signal.spread / 8)
    fill("synthesis.transform", synthesis.output_transform, 0.05, signal.spread / 8)


def uniform(magnitude: int = 8) -> LatentRule:
    """All values up to a magnitude equally often; 64 stands for everything."""

    def draw(source: Source, header: CoolChicHeader, _: Parameters) -> list[I8]:
        highest = min(magnitude, 63)
        return [
            source.integers(f"latents.{k}", -magnitude, highest, grid.shape).astype(np.int8)
            for k, grid in enumerate(header.derived.grids)
        ]

    return draw


def constant(value: int) -> LatentRule:
    """The same value everywhere."""

    def draw(_: Source, header: CoolChicHeader, __: Parameters) -> list[I8]:
        return [np.full(grid.shape, value, np.int8) for grid in header.derived.grids]

    return draw


def sparse(values: Sequence[int], one_in: int) -> LatentRule:
    """Zeros, and one in so many values out of a list."""

    def draw(source: Source, header: CoolChicHeader, _: Parameters) -> list[I8]:
        grids = []
        for k, grid in enumerate(header.derived.grids):
            which = source.integers(f"value.{k}", 0, len(values) - 1, grid.shape)
            here = source.integers(f"place.{k}", 1, one_in, grid.shape) == 1
            grids.append(np.where(here, np.array(values)[which], 0).astype(np.int8))
        return grids

    return draw


def from_model(*words: int | None) -> LatentRule:
    """Symbols as the model expects them: those that a payload of random words decodes to.

    Parameters
    ----------
    *words : int or None
        First words of that payload; None for a random one.
    """

    def draw(source: Source, header: CoolChicHeader, parameters: Parameters) -> list[I8]:
        n_samples = header.derived.n_samples
        # No symbol takes more than 24 bits.
        payload = np.frombuffer(source.data("words", 4 * (len(words) + n_samples)), "<u4").copy()
        for i, word in enumerate(words):
            if word is not None:
                payload[i] = word
        return decode_latents(CoolChic(header, b"", payload.tobytes()), parameters)

    return draw


UNIFORM_8 = uniform(8)
"""What most recipes use."""
