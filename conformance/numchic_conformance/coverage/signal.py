# SPDX-License-Identifier: BSD-3-Clause
"""What upsampling, randomness, synthesis, resize and rounding go through (sections 9 to 12)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic.v5.resize import resize
from numchic_bitstream import CoolChicHeader, FrameHeader, Parameters
from numchic_bitstream.structure import level_size
from numchic_conformance.synthetic.float64 import dense_latents, synthesis_layers

Array = NDArray[Any]


def signal_marks(
    frame: FrameHeader, header: CoolChicHeader, parameters: Parameters, latents: list[Array]
) -> Iterator[str]:
    """Everything after the latents of an intra frame.

    Parameters
    ----------
    frame, header, parameters
        Of the still.
    latents : list of int8[h, w]
        Without hyperlatents, finest first.
    """
    yield from _upsampling_marks(header)
    if header.flag_common_randomness:
        yield from _randomness_marks(header)
    dense = dense_latents(header, parameters, latents)
    output, before = synthesis_layers(header, parameters, dense)
    for values, form in zip(before, header.syn_layer, strict=True):
        if form.non_linearity == "relu":
            yield from (f"relu.{sign}" for sign, some in (
                ("negative", (values < 0).any()), ("positive", (values > 0).any()),
            ) if some)  # fmt: skip
    yield from _resize_marks(header)
    signal = resize(output.astype(np.float32), header.img_size, header.final_upsampling_type)
    yield from _sample_marks(frame, signal)


def gain_marks(
    header: CoolChicHeader, parameters: Parameters, latents: list[Array], n_references: int
) -> Iterator[str]:
    """Alpha and beta of an inter frame, before they are limited to 0 .. 1 (13.2).

    Parameters
    ----------
    header, parameters
        Of the residue.
    latents : list of int8[h, w]
        Without hyperlatents, finest first.
    n_references : int
    """
    output, _ = synthesis_layers(header, parameters, dense_latents(header, parameters, latents))
    signal = resize(output.astype(np.float32), header.img_size, header.final_upsampling_type)
    for name, gain in zip(("alpha", "beta")[:n_references], signal[3:] + 0.5, strict=False):
        for what, holds in (
            ("below", gain < 0), ("inside", (gain >= 0) & (gain <= 1)), ("above", gain > 1),
        ):  # fmt: skip
            if holds.any():
                yield f"gain.{name}.{what}"


def _upsampling_marks(header: CoolChicHeader) -> Iterator[str]:
    low, high = header.latent_resolution
    yield f"upsampling.steps-{'none' if low == high else 'some'}"
    for level in range(high, low, -1):
        coarse, fine = (level_size(header.img_size, i) for i in (level, level - 1))
        yield f"upsampling.{'same-size' if coarse == fine else 'larger'}"
        for axis, n, m in zip(("rows", "columns"), coarse, fine, strict=True):
            yield f"upsampling.{axis}-{'cut' if 2 * n > m else 'whole'}"
        if header.ups_k_size // 2 > min(coarse):
            yield "upsampling.x2-wider-than-grid"
        if header.ups_preconcat_k_size // 2 >= min(fine):
            yield "upsampling.preconcat-wider-than-grid"


def _randomness_marks(header: CoolChicHeader) -> Iterator[str]:
    low, high = header.latent_resolution
    yield f"randomness.{'one-level' if low == high else 'levels'}"
    yield f"randomness.from-level-{'0' if low == 0 else 'more'}"
    for level in range(high, low, -1):
        coarse, fine = (level_size(header.img_size, i) for i in (level, level - 1))
        if coarse == fine:
            yield "randomness.same-size"
        else:
            cut = (2 * coarse[0], 2 * coarse[1]) != fine
            yield f"randomness.doubled-{'cut' if cut else 'whole'}"


def _resize_marks(header: CoolChicHeader) -> Iterator[str]:
    kind = header.final_upsampling_type
    sizes = list(zip(header.derived.dense_size, header.img_size, strict=True))
    if all(n == m for n, m in sizes):
        yield f"resize.{kind}.identity"
        return
    ratios = [_ratio(n, m) for n, m in sizes]
    for ratio in ratios:
        yield f"resize.{kind}.{ratio}"
    if sizes[0][1] * sizes[1][0] != sizes[1][1] * sizes[0][0]:
        yield f"resize.{kind}.axes-differ"
    if any(n == 1 < m for n, m in sizes):
        yield f"resize.{kind}.from-one-sample"


def _ratio(n: int, m: int) -> str:
    if m % n:
        return "ratio-other"
    return {1: "ratio-1", 2: "ratio-2"}.get(m // n, "ratio-whole")


def _sample_marks(frame: FrameHeader, signal: Array) -> Iterator[str]:
    """Rounding (12.2) and 4:2:0 (12.3)."""
    maximum = np.float32((1 << frame.bitdepth) - 1)
    scaled = signal * maximum
    rounded = np.rint(scaled)
    if (np.floor(scaled) == scaled - np.float32(0.5)).any():
        yield "samples.tie"
    full = rounded[:1] if frame.frame_data_type == "yuv420" else rounded
    for what, holds in (
        ("below", full < 0), ("above", full > maximum), ("inside", (full >= 0) & (full <= maximum)),
    ):  # fmt: skip
        if holds.any():
            yield f"samples.{frame.frame_data_type}.{what}"
    if frame.frame_data_type != "yuv420":
        return
    height, width = (size // 2 * 2 for size in signal.shape[1:])
    quads = np.stack([rounded[1:, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)])
    total = quads.astype(np.int64).sum(0)
    if (total % 4 == 2).any():
        yield "chroma.tie"
    outside = (quads < 0) | (quads > maximum)
    mean_inside = (total >= 0) & (total <= 4 * int(maximum))
    if (outside.any(0) & ~outside.all(0) & mean_inside).any():
        yield "chroma.mean-of-values-outside"
    if not mean_inside.all():
        yield "chroma.clamped"
