# SPDX-License-Identifier: BSD-3-Clause
"""What the network payload exercises (coolchic-5, sections 4 and 5.1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numchic_bitstream import CoolChicHeader, Layer, Parameters
from numchic_bitstream.v5.expgolomb import MAX_PREFIX
from numchic_bitstream.v5.parameters import flat_parameters

_FLOAT32 = 1 << 24  # integers up to here are exact in float32


def network_marks(header: CoolChicHeader, parameters: Parameters) -> Iterator[str]:
    """Everything that can be seen without decoding latents."""
    yield from _code_marks(header, parameters)
    yield from _arm_marks(header, parameters)
    yield from _float_marks(header, parameters)


def _code_marks(header: CoolChicHeader, parameters: Parameters) -> Iterator[str]:
    """Exp-Golomb codes (4.2)."""
    for module, kind, flat in flat_parameters(header, parameters):
        name = f"{module}_{kind}"
        order = getattr(header.nn_expgol_cnt, name)
        yield f"block.{name}.{'some' if flat.size else 'none'}"
        if not flat.size:
            continue
        yield f"order.{order}"
        values = [int(q) for q in flat]
        yield from (
            f"code.{'zero' if q == 0 else 'positive' if q > 0 else 'negative'}" for q in values
        )
        prefixes = [
            ((2 * q - 1 if q > 0 else -2 * q) + (1 << order)).bit_length() - 1 - order
            for q in values
        ]
        yield from (f"prefix.{'none' if z == 0 else 'some'}.order-{order}" for z in prefixes)
        if max(prefixes) + order == MAX_PREFIX:
            yield f"prefix.longest.order-{'0' if order == 0 else 'more'}"
        if max(values) >= _FLOAT32:
            yield "code.beyond-24-bits.positive"
        if min(values) <= -_FLOAT32:
            yield "code.beyond-24-bits.negative"


def _arm_marks(header: CoolChicHeader, parameters: Parameters) -> Iterator[str]:
    """Shapes and folded identities (5.1)."""
    width = header.derived.arm_width
    depth = header.n_hidden_layers_arm
    hidden = "none" if depth == 0 else "one" if depth == 1 else "more"
    stabiliser = "with" if header.linear_stabiliser_arm else "without"
    features = "features" if header.output_feature_ifce else "no-features"
    yield f"arm.hidden-{hidden}.{stabiliser}-stabiliser.{features}"
    if width <= 2:
        yield f"arm.width-{width}.hidden-{hidden}"
    if width == 71:
        yield "arm.width-most"
    if width == 2 and header.output_feature_ifce:
        yield f"arm.width-2-with-feature.hidden-{hidden}"
    if width == 2 and header.linear_stabiliser_arm:
        yield "arm.width-2-with-stabiliser"
    if any(layer.bias.any() for layer in parameters.upsampling.layers()):
        yield "upsampling.biases-not-zero"


def _float_marks(header: CoolChicHeader, parameters: Parameters) -> Iterator[str]:
    """Dequantisation (4.3), and shapes of upsampling and synthesis."""
    for module in ("upsampling", "synthesis"):
        layers: tuple[Layer, ...] = getattr(parameters, module).layers()
        for kind in ("weight", "bias"):
            flat = [getattr(layer, kind).ravel() for layer in layers]
            values = np.concatenate(flat) if flat else np.zeros(0, np.int64)
            if (values.astype(np.float32).astype(np.float64) != values).any():
                yield f"dequantised.{module}_{kind}.rounded"
    used = header.derived.n_latents - 1
    unused = parameters.upsampling.x2[used:] + parameters.upsampling.preconcat[used:]
    if any(layer.weight.any() for layer in unused):
        yield "upsampling.unused-kernels-not-zero"
    if used:
        yield f"upsampling.x2-size-{header.ups_k_size}"
        yield f"upsampling.preconcat-size-{header.ups_preconcat_k_size}"
        kernels = {layer.weight.tobytes() for layer in parameters.upsampling.x2[:used]}
        if len(kernels) > 1:
            yield "upsampling.kernels-differ"
    transform = parameters.synthesis.output_transform
    one = np.eye(len(transform.bias), dtype=np.int64) << header.derived.steps.synthesis_weight
    same = (transform.weight[:, :, 0, 0] == one).all() and not transform.bias.any()
    yield f"output-transform.{'identity' if same else 'other'}"
    if not np.diag(np.diag(transform.weight[:, :, 0, 0])).any():
        yield "output-transform.no-diagonal"
