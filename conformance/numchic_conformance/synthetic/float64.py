# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling, synthesis and prediction in float64: what float32 stages approximate.

See coolchic-5, sections 9, 11.1 and 13.

Everything is elementwise, so that the results are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic.picture import Picture
from numchic.v5.noise import common_randomness
from numchic_bitstream import CoolChicHeader, FrameHeader, Layer, Parameters
from numchic_bitstream.arrays import F64
from numchic_bitstream.v5.parameters import dequantise


def dense_latents(
    header: CoolChicHeader, parameters: Parameters, latents: Sequence[NDArray[Any]]
) -> F64:
    """Upsample latents, finest first, to float64[S', h, w]."""
    exponent = header.derived.steps.upsampling_weight
    stack = latents[-1].astype(np.float64)[None]
    for step, grid in enumerate(latents[-2::-1]):
        x2, preconcat = (
            dequantise(layers[step], exponent, 0).weight.astype(np.float64)
            for layers in (parameters.upsampling.x2, parameters.upsampling.preconcat)
        )
        height, width = grid.shape
        stack = _double(_double(stack, x2).swapaxes(1, 2), x2).swapaxes(1, 2)
        stack = stack[:, :height, :width]
        target = grid.astype(np.float64)
        filtered = _filter(_filter(target, preconcat).T, preconcat).T + target
        stack = np.concatenate([filtered[None], stack])
    return stack


def _double(x: F64, half: F64) -> F64:
    """X2 along the last axis (section 9.4)."""
    taps = np.concatenate([half, half[::-1]])
    g, width = half.size, x.shape[-1]
    out = np.zeros((*x.shape[:-1], 2 * width))
    p = np.arange(width)
    for e in range(2):
        r = (e + g - 1) % 2
        o = (e + g - 1 - r) // 2
        for u in range(g):
            out[..., e::2] += taps[r + 2 * u] * x[..., np.clip(p + o - u, 0, width - 1)]
    return out


def _filter(x: F64, half: F64) -> F64:
    """PRE along the last axis, without its residual (section 9.3)."""
    taps = np.concatenate([half, half[-2::-1]])
    centre = taps.size // 2
    padded = np.pad(x, ((0, 0), (centre, centre)))
    out = np.zeros_like(x)
    for t, tap in enumerate(taps):
        out += tap * padded[:, t : t + x.shape[1]]
    return out


def synthesis_layers(
    header: CoolChicHeader, parameters: Parameters, dense: F64
) -> tuple[F64, list[F64]]:
    """Run the synthesis; returns its output, and what every trunk layer gives before its ReLU."""
    z = dense
    if header.flag_common_randomness:
        noise = common_randomness(header.img_size, *header.latent_resolution)
        z = np.concatenate([dense, noise.astype(np.float64)])
    x, before = z, []
    synthesis = parameters.synthesis
    for layer, form in zip(synthesis.trunk, header.syn_layer, strict=True):
        y = _convolve(header, layer, x)
        if form.mode == "residual":
            y = y + x
        before.append(y)
        x = np.maximum(y, 0) if form.non_linearity == "relu" else y
    if synthesis.stabiliser is not None:
        x = x + _convolve(header, synthesis.stabiliser, dense)
    return _convolve(header, synthesis.output_transform, x), before


def _convolve(header: CoolChicHeader, layer: Layer, x: F64) -> F64:
    """Correlate with replicated borders (section 11.1)."""
    steps = header.derived.steps
    weight, bias = dequantise(layer, steps.synthesis_weight, steps.synthesis_bias)
    n_outputs, n_inputs, k_size, _ = weight.shape
    _, height, width = x.shape
    reach = k_size // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), "edge")
    out = np.broadcast_to(bias.astype(np.float64)[:, None, None], (n_outputs, height, width)).copy()
    for dy in range(k_size):
        for dx in range(k_size):
            for i in range(n_inputs):
                window = padded[i, dy : dy + height, dx : dx + width]
                out += weight[:, i, dy, dx, None, None].astype(np.float64) * window
    return out


def predict_wide(header: FrameHeader, signals: Sequence[F64], references: Sequence[Picture]) -> F64:
    """Signal of a P or B frame from those of residue and motion (13.2), float64[3, H, W]."""
    residue, motion = signals
    height, width = residue.shape[1:]
    y, x = np.mgrid[:height, :width]
    warped = []
    for i, picture in enumerate(references):
        horizontal, vertical = header.global_flow[2 * i : 2 * i + 2]
        rows = np.clip(np.arange(height) + vertical, 0, height - 1)[:, None]
        columns = np.clip(np.arange(width) + horizontal, 0, width - 1)
        planes = [p if p.shape == (height, width) else _doubled(p) for p in picture.planes]
        shifted = np.stack([p[rows, columns] for p in planes]) / ((1 << picture.bitdepth) - 1)
        k = header.warp_filter_size or 0
        warped.append(_warp(shifted, x + motion[2 * i], y + motion[2 * i + 1], k))
    gains = np.clip(residue[3:] + 0.5, 0, 1)
    prediction = warped[0]
    if len(warped) == 2:
        prediction = gains[1] * warped[0] + (1 - gains[1]) * warped[1]
    result: F64 = gains[0] * prediction + residue[:3]
    return result


def _doubled(plane: NDArray[Any]) -> NDArray[Any]:
    return plane.repeat(2, 0).repeat(2, 1)


def _warp(signal: F64, x: F64, y: F64, k: int) -> F64:
    """Samples of float64[C, H, W] at positions float64[H, W] (section 13.3)."""
    height, width = signal.shape[1:]
    if k == 2:
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x), np.floor(y)
    out = np.zeros_like(signal)
    for i, down in enumerate(_coefficients(y - top, k), 1 - k // 2):
        for j, across in enumerate(_coefficients(x - left, k), 1 - k // 2):
            rows = np.clip(top + i, 0, height - 1).astype(np.int64)
            columns = np.clip(left + j, 0, width - 1).astype(np.int64)
            out += down * across * signal[:, rows, columns]
    return out


def _coefficients(t: F64, k: int) -> list[F64]:
    if k == 2:
        return [1 - t, t]
    if k == 4:
        return [_outer(t + 1), _inner(t), _inner(1 - t), _outer(2 - t)]
    distances = [t - j for j in range(1 - k // 2, k // 2 + 1)]
    return [np.cos(np.pi * u / k) * np.sinc(u) for u in distances]


def _inner(x: F64) -> F64:
    return (1.25 * x - 2.25) * x * x + 1


def _outer(x: F64) -> F64:
    return ((-0.75 * x + 3.75) * x - 6) * x + 3
