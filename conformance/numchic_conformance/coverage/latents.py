# SPDX-License-Identifier: BSD-3-Clause
"""What the latents exercise: contexts, IFCE, ARM, model (coolchic-5, sections 5 to 8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numchic.v5.arm import IntArm, fix_arm
from numchic.v5.context import NEIGHBOURS, ROW_DELAY
from numchic.v5.ifce import feature_map
from numchic_bitstream import CoolChicHeader, Layer, Parameters
from numchic_conformance.synthetic.counts import CORRECTED_SCALES, correction_matters

Array = NDArray[Any]

_REACH = 4
_FAR = 8  # symbols this far from mu are in the tails


class Symbols(NamedTuple):
    """All symbols in coding order with their models."""

    symbol: Array
    mu_index: Array
    scale_index: Array


def latent_marks(
    header: CoolChicHeader, parameters: Parameters, grids: list[Array], marks: set[str]
) -> Symbols:
    """Add what the latents exercise to ``marks``, and return the symbols."""
    fixed = fix_arm(header, parameters.arm)
    kinds = header.derived.grids
    columns: list[Symbols] = []
    for k in reversed(range(len(grids))):
        decoded = list(zip(kinds, grids, strict=True))[k + 1 :]
        layer = parameters.ifce.by_grid.get(k)
        features = feature_map(header, layer, decoded)
        if layer is not None:
            marks.update(_feature_marks(header, layer, grids[k + 1 :], features.maximum))
        bits = fixed.accumulator_bound(features.maximum).bit_length()
        marks.add(f"arm.accumulator-{'float64' if bits <= 53 else 'int64'}")
        if bits == 63:
            marks.add("arm.accumulator-63-bits")
        height, width = grids[k].shape
        y, x = np.mgrid[:height, :width]
        coded = np.lexsort((y.ravel(), (x + ROW_DELAY * y).ravel()))
        y, x = y.ravel()[coded], x.ravel()[coded]
        spatial = _contexts(grids[k], header.spatial_context_arm)[y, x]
        inputs = np.concatenate(
            [spatial, features.values[y >> features.shift, x >> features.shift].astype(np.int64)], 1
        )
        marks.update(f"neighbour.{j}" for j in np.flatnonzero(spatial.any(0)))
        mu, scale = _evaluate(fixed.exact, inputs, bits, marks)
        columns.append(Symbols(grids[k].astype(np.int64)[y, x], mu, scale))
    raw = Symbols(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    symbols = Symbols(
        raw.symbol, np.clip(raw.mu_index, 0, 32767), np.clip(raw.scale_index, 0, 2560)
    )
    marks.update(_index_marks(raw))
    marks.update(_model_marks(symbols))
    return symbols


def _contexts(grid: Array, n: int) -> Array:
    """The first n neighbours of every sample, int64[h, w, n] (6.1)."""
    height, width = grid.shape
    padded = np.pad(grid.astype(np.int64), ((_REACH, 0), (_REACH, _REACH)))
    return np.stack(
        [
            padded[_REACH + dy : _REACH + dy + height, _REACH + dx : _REACH + dx + width]
            for dy, dx in NEIGHBOURS[:n]
        ],
        axis=-1,
    )


def _evaluate(arm: IntArm, inputs: Array, bits: int, marks: set[str]) -> tuple[Array, Array]:
    """Unclipped table indices of all samples of a grid (5.4, 8.1)."""
    kind: Any = np.int64 if bits < 63 else object
    direct = inputs.astype(kind) @ arm.direct_weight.T.astype(kind)
    x = inputs.astype(kind)
    for weight, bias, shift in zip(
        arm.hidden_weight, arm.hidden_bias, arm.hidden_shift.tolist(), strict=True
    ):
        a = x @ weight.T.astype(kind) + bias.astype(kind)
        marks.update(f"hidden.{name}" for name, some in (
            ("negative", (a < 0).any()), ("positive", (a > 0).any()),
            ("floored", shift and ((np.maximum(a, 0) & ((1 << shift) - 1)) != 0).any()),
        ) if some)  # fmt: skip
        x = np.maximum(a, 0) >> shift
    out = direct + arm.output_bias.astype(kind)
    if arm.hidden_shift.size:
        out = out + x @ arm.output_weight.T.astype(kind)
    fraction = out & ((1 << arm.output_shift) - 1)
    for sign, chosen in (("negative", out < 0), ("positive", out > 0)):
        if (fraction[chosen] != 0).any():
            marks.add(f"output.floored.{sign}")
    out = (out >> arm.output_shift).astype(np.int64)
    return out[:, 0] + 16384, out[:, 1] + 1280


def _feature_marks(
    header: CoolChicHeader, layer: Layer, decoded: list[Array], maximum: int
) -> Iterator[str]:
    """IFCE features (5.3); exact ones are computed where they leave float32."""
    steps = header.derived.steps
    yield f"feature.{'constant' if not decoded else 'map'}"
    if maximum > 1 << 24:
        where = "constant" if not decoded else "map"
        yield f"feature.beyond-24-bits.{where}"
        for exact in _extreme_features(layer, decoded, steps.ifce_weight, steps.ifce_bias):
            if int(np.float32(exact)) != exact:
                yield f"feature.rounded.{where}"
    # The form 5.3 multiplies by 2^16 and shifts weights by 16 - sw, 5.4 only the latter.
    latest = [max(abs(int(g.min())), abs(int(g.max()))) for g in decoded] or [0]
    products = (np.abs(layer.weight.astype(object)) @ latest).max()
    if int(products) << (32 - steps.ifce_weight) >= 1 << 63:
        yield "feature.form-5.3-overflows"


def _extreme_features(layer: Layer, decoded: list[Array], sw: int, sb: int) -> Iterator[int]:
    """Features before their rounding to float32 in the corner of the stack."""
    corner = [int(grid[0, 0]) for grid in decoded] or [0]
    for weights, bias in zip(layer.weight, layer.bias, strict=True):
        total = sum(u * int(w) for u, w in zip(corner, weights, strict=True)) << (16 - sw)
        yield (total + (int(bias) << (16 - sb))) >> 8


def _index_marks(raw: Symbols) -> Iterator[str]:
    """Clipping of the table indices (8.1)."""
    for name, values, highest in (("mu", raw.mu_index, 32767), ("scale", raw.scale_index, 2560)):
        for what, holds in (
            ("below", values < 0), ("lowest", values == 0), ("highest", values == highest),
            ("above", values > highest), ("inside", (values > 0) & (values < highest)),
        ):  # fmt: skip
            if holds.any():
                yield f"{name}.{what}"


def _model_marks(symbols: Symbols) -> Iterator[str]:
    """Symbols and counts (8.1 to 8.3)."""
    if np.unique(symbols.scale_index).size == 2561:
        yield "scale.all-entries"
    corrected = np.isin(symbols.scale_index, CORRECTED_SCALES)
    for symbol, mu, scale in zip(*(column[corrected] for column in symbols), strict=True):
        if correction_matters(int(symbol), int(mu), int(scale)):
            yield f"scale.corrected-{scale}"
    for symbol in (-64, -1, 0, 1, 63):
        if (symbols.symbol == symbol).any():
            yield f"symbol.{symbol}"
    distance = symbols.symbol - (symbols.mu_index - 16384) / 256
    for what, holds in (
        ("left-of-mu", distance < -0.5), ("right-of-mu", distance > 0.5),
        ("far-left", distance < -_FAR), ("far-right", distance > _FAR),
        ("mu-on-lower-bound", distance == 0.5), ("mu-on-upper-bound", distance == -0.5),
    ):  # fmt: skip
        if holds.any():
            yield f"symbol.{what}"
