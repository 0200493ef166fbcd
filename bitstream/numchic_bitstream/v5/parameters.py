# SPDX-License-Identifier: BSD-3-Clause
"""Network parameters: payload <-> integer arrays per module (coolchic-5, section 4). Exact.

Modules come in the order ARM, IFCE, upsampling, synthesis; inside each module all weights come
before all biases. The order of the layers inside a module is the order of the fields below, except
that the synthesis sends its output transform and stabiliser before the trunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, I64
from numchic_bitstream.errors import CorruptError, UsageError
from numchic_bitstream.v5 import expgolomb
from numchic_bitstream.v5.headers import CoolChicHeader

Shape = tuple[int, ...]


class Layer(NamedTuple):
    """Quantised parameters of one layer: ``int64`` arrays, |q| < 2**40."""

    weight: I64
    bias: I64


class FloatLayer(NamedTuple):
    """Dequantised parameters of one layer, ``float32`` arrays."""

    weight: F32
    bias: F32


@dataclass(frozen=True)
class ArmParameters:
    """Weights (D, D) per hidden layer, (2, D) for the output and the stabiliser."""

    hidden: tuple[Layer, ...]
    output: Layer
    stabiliser: Layer | None

    def layers(self) -> tuple[Layer, ...]:
        """Layers in stream order."""
        return (*self.hidden, self.output, *_optional(self.stabiliser))


@dataclass(frozen=True)
class IfceParameters:
    """One layer with weights (F, C_k) per grid index k that has an IFCE."""

    by_grid: Mapping[int, Layer]

    def layers(self) -> tuple[Layer, ...]:
        """Layers in stream order."""
        return tuple(self.by_grid[k] for k in sorted(self.by_grid))


@dataclass(frozen=True)
class UpsamplingParameters:
    """Halves of symmetric kernels: x2 (ups_k_size / 2), preconcat ((ups_preconcat_k_size + 1) / 2).

    Kernel 0 serves the coarsest step. Biases have shape (1,) and are never used.
    """

    x2: tuple[Layer, ...]
    preconcat: tuple[Layer, ...]

    def layers(self) -> tuple[Layer, ...]:
        """Layers in stream order."""
        return self.x2 + self.preconcat


@dataclass(frozen=True)
class SynthesisParameters:
    """Weights (out, in, k, k) per trunk layer, (O, S', 1, 1) stabiliser, (O, O, 1, 1) transform."""

    trunk: tuple[Layer, ...]
    stabiliser: Layer | None
    output_transform: Layer

    def layers(self) -> tuple[Layer, ...]:
        """Layers in stream order."""
        return (self.output_transform, *_optional(self.stabiliser), *self.trunk)


@dataclass(frozen=True)
class Parameters:
    """All parameters of one Cool-chic decoder, as the integers q of the payload."""

    arm: ArmParameters
    ifce: IfceParameters
    upsampling: UpsamplingParameters
    synthesis: SynthesisParameters


def _optional(layer: Layer | None) -> tuple[Layer, ...]:
    return () if layer is None else (layer,)


def weight_shapes(header: CoolChicHeader) -> dict[str, tuple[Shape, ...]]:
    """Shapes of the weights of every module in stream order (section 4.1)."""
    width = header.derived.arm_width
    n_steps = header.latent_resolution[1]
    n_outputs = header.syn_layer[-1].out_ft
    inputs = [header.derived.synthesis_inputs, *(layer.out_ft for layer in header.syn_layer)]
    trunk = tuple(
        (layer.out_ft, n_inputs, layer.k_size, layer.k_size)
        for n_inputs, layer in zip(inputs, header.syn_layer, strict=False)
    )
    return {
        "arm": ((width, width),) * header.n_hidden_layers_arm
        + ((2, width),) * (1 + header.linear_stabiliser_arm),
        "ifce": tuple((header.output_feature_ifce, c) for c in header.derived.ifce_inputs if c),
        "upsampling": ((header.ups_k_size // 2,),) * n_steps
        + (((header.ups_preconcat_k_size + 1) // 2,),) * n_steps,
        "synthesis": (
            (n_outputs, n_outputs, 1, 1),
            *([(n_outputs, header.derived.n_latents, 1, 1)] * header.linear_stabiliser_synth),
            *trunk,
        ),
    }


def _bias_size(module: str, weight_shape: Shape) -> int:
    return 1 if module == "upsampling" else weight_shape[0]


def n_parameters(header: CoolChicHeader) -> dict[str, int]:
    """Number of parameters of every module, weights and biases together."""
    return {
        module: sum(math.prod(shape) + _bias_size(module, shape) for shape in shapes)
        for module, shapes in weight_shapes(header).items()
    }


def read_parameters(header: CoolChicHeader, payload: bytes, offset: int = 0) -> Parameters:
    """Decode the network payload.

    Parameters
    ----------
    header : CoolChicHeader
    payload : bytes
        ``nn_n_bytes`` bytes.
    offset : int
        Position of the payload in the stream, for errors.

    Raises
    ------
    TruncatedError, CorruptError
        The payload is too short or too long for the architecture, or holds an illegal code.
    """
    n_bits = 8 * len(payload)
    count = sum(n_parameters(header).values())
    if count > n_bits:
        # A parameter takes at least one bit; also keeps hostile architectures from costing time.
        raise CorruptError("too many parameters", "nn_payload", offset, count, f"<= {n_bits}")
    bits = expgolomb.bits_from_bytes(payload)
    position = header.nn_n_bit_pad
    if "1" in bits[:position]:
        raise CorruptError("padding is not zero", "nn_payload", offset, bits[:position], "zeros")
    modules: dict[str, tuple[Layer, ...]] = {}
    for module, shapes in weight_shapes(header).items():
        arrays: dict[str, list[I64]] = {}
        for kind in ("weight", "bias"):
            order = getattr(header.nn_expgol_cnt, f"{module}_{kind}")
            sizes = [s if kind == "weight" else (_bias_size(module, s),) for s in shapes]
            n_values = sum(math.prod(size) for size in sizes)
            values, position = expgolomb.decode(
                bits, position, n_values, order, f"nn_payload.{module}_{kind}", offset
            )
            arrays[kind] = _split(np.array(values, np.int64), sizes)
        modules[module] = tuple(map(Layer, arrays["weight"], arrays["bias"]))
    if position != n_bits:
        raise CorruptError("bits are left over", "nn_payload", offset, n_bits, f"{position} bits")
    return _assemble(header, modules)


def _split(values: I64, shapes: list[Shape]) -> list[I64]:
    bounds = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(values, bounds[:-1]) if shapes else []
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _assemble(header: CoolChicHeader, modules: Mapping[str, tuple[Layer, ...]]) -> Parameters:
    arm, ups = iter(modules["arm"]), modules["upsampling"]
    synthesis = iter(modules["synthesis"])
    with_ifce = [k for k, c in enumerate(header.derived.ifce_inputs) if c]
    return Parameters(
        arm=ArmParameters(
            hidden=tuple(islice(arm, header.n_hidden_layers_arm)),
            output=next(arm),
            stabiliser=next(arm, None),
        ),
        ifce=IfceParameters(dict(zip(with_ifce, modules["ifce"], strict=True))),
        upsampling=UpsamplingParameters(x2=ups[: len(ups) // 2], preconcat=ups[len(ups) // 2 :]),
        synthesis=SynthesisParameters(
            output_transform=next(synthesis),
            stabiliser=next(synthesis) if header.linear_stabiliser_synth else None,
            trunk=tuple(synthesis),
        ),
    )


def write_parameters(header: CoolChicHeader, parameters: Parameters) -> tuple[bytes, int]:
    """Code parameters; the inverse of :func:`read_parameters`.

    Returns
    -------
    payload : bytes
    nn_n_bit_pad : int
        Number of zero bits at the front of the payload.

    Raises
    ------
    UsageError
        The shapes do not fit the header.
    """
    parts = []
    for module, kind, flat in flat_parameters(header, parameters):
        order = getattr(header.nn_expgol_cnt, f"{module}_{kind}")
        parts.append(expgolomb.encode(flat.tolist(), order))
    bits = "".join(parts)
    n_bytes = (len(bits) + 7) // 8
    return int(bits, 2).to_bytes(n_bytes, "big"), 8 * n_bytes - len(bits)


def flat_parameters(
    header: CoolChicHeader, parameters: Parameters
) -> Iterator[tuple[str, str, I64]]:
    """Yield module, "weight" or "bias", and the integers of both, in stream order.

    Raises
    ------
    UsageError
        The shapes do not fit the header.
    """
    for module, shapes in weight_shapes(header).items():
        layers: tuple[Layer, ...] = getattr(parameters, module).layers()
        found = [(layer.weight.shape, layer.bias.shape) for layer in layers]
        expected = [(shape, (_bias_size(module, shape),)) for shape in shapes]
        if found != expected:
            raise UsageError("the shapes do not fit the header", module, None, found, expected)
        for kind in ("weight", "bias"):
            arrays = [getattr(layer, kind).ravel() for layer in layers]
            yield module, kind, np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def dequantise(layer: Layer, weight_exponent: int, bias_exponent: int) -> FloatLayer:
    """Real values f32(q) * 2**-exponent of an upsampling or synthesis layer (section 4.3)."""
    return FloatLayer(
        layer.weight.astype(np.float32) * np.float32(2.0**-weight_exponent),
        layer.bias.astype(np.float32) * np.float32(2.0**-bias_exponent),
    )


def zero_parameters(header: CoolChicHeader) -> Parameters:
    """Parameters of the right shapes, all zero except for an identity output transform."""
    modules = {
        module: tuple(
            Layer(np.zeros(shape, np.int64), np.zeros(_bias_size(module, shape), np.int64))
            for shape in shapes
        )
        for module, shapes in weight_shapes(header).items()
    }
    parameters = _assemble(header, modules)
    step = 1 << header.derived.steps.synthesis_weight
    transform = parameters.synthesis.output_transform.weight
    transform[:, :, 0, 0] = step * np.eye(len(transform), dtype=np.int64)
    return parameters
