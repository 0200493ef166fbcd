# SPDX-License-Identifier: BSD-3-Clause
"""Shapes of the synthesis, its stabiliser and output transform, common randomness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from numchic_bitstream import FrameHeader, Parameters, SynthesisLayer
from numchic_conformance.synthetic.recipe import Recipe, still

Mode = Literal["linear", "residual"]

_OUT = SynthesisLayer(3, 1, "linear", "none")

# Size, latent levels, what is special.
_RANDOMNESS = (
    ((13, 22), (0, 2), "three levels"),
    ((13, 22), (0, 0), "one level, so that nothing is resized"),
    ((1, 1), (0, 2), "one pixel, so that no size changes"),
    ((1, 21), (0, 3), "one row"),
    ((17, 1), (0, 3), "one column"),
    ((16, 16), (0, 4), "powers of two"),
    ((33, 19), (0, 6), "seven levels, coarse ones of one sample"),
    ((5, 6), (0, 15), "all sixteen levels"),
    ((1, 1), (2, 4), "one pixel and levels from 2, which have picture size as well"),
)


def synthesis_recipes() -> Iterator[Recipe]:
    """Recipes about the synthesis."""
    yield from _layers()
    yield from _depths_and_widths()
    yield from _affine()
    yield from _randomness()


def _layers() -> Iterator[Recipe]:
    for k_size in range(1, 16, 2):
        for mode in ("linear", "residual"):
            for activation in ("none", "relu"):
                layer = SynthesisLayer(3, k_size, mode, activation)
                yield still(
                    f"synthesis-{layer}",
                    f"Synthesis with a last layer {layer}.",
                    "synthesis", mode, activation,
                    syn_layer=(SynthesisLayer(4, 1, "linear", "relu"), _OUT, layer),
                )  # fmt: skip
    modes: tuple[Mode, ...] = ("linear", "residual")
    for mode in modes:
        yield still(
            f"synthesis-first-layer-{mode}",
            f"Synthesis of one {mode} layer on the dense latents.",
            "synthesis", mode,
            syn_layer=(SynthesisLayer(3, 3, mode, "none"),),
            edit=_small_latents if mode == "residual" else None,
        )  # fmt: skip
    yield still(
        "synthesis-kernels-beyond-the-picture",
        "Kernels of 15 x 15 on a picture of 3 x 2, where most taps are border samples.",
        "synthesis",
        img_size=(2, 3), syn_layer=(SynthesisLayer(3, 15, "linear", "none"),) * 2,
    )  # fmt: skip
    yield still(
        "synthesis-kernels-across-bands",
        "Kernels of 15 x 15 twice in a picture of 70 rows.",
        "synthesis",
        img_size=(70, 12),
        syn_layer=(_OUT, *(SynthesisLayer(3, 15, "residual", "none"),) * 2),
    )  # fmt: skip


def _small_latents(parameters: Parameters) -> None:
    """Make a residual layer on latents show a picture: shrink it in the output transform."""
    parameters.synthesis.output_transform.weight[...] //= 16
    parameters.synthesis.output_transform.bias[...] += 960


def _depths_and_widths() -> Iterator[Recipe]:
    for depth in range(1, 8):
        middle = (SynthesisLayer(5, 3, "residual", "relu"),) * max(0, depth - 2)
        first = (SynthesisLayer(5, 1, "linear", "relu"),) * (depth > 1)
        yield still(
            f"synthesis-depth-{depth}",
            f"Synthesis of {depth} layers.",
            "synthesis",
            syn_layer=(*first, *middle, _OUT),
        )  # fmt: skip
    for width in (1, 2, 3, 7, 8, 9, 16, 33, 64, 127):
        yield still(
            f"synthesis-width-{width}",
            f"Synthesis with a hidden layer of {width} channels.",
            "synthesis",
            syn_layer=(SynthesisLayer(width, 1, "linear", "relu"), _OUT),
        )  # fmt: skip
    yield still(
        "synthesis-wide-residual",
        "A residual layer of 24 channels with a 3 x 3 kernel.",
        "synthesis",
        img_size=(8, 12),
        syn_layer=(
            SynthesisLayer(24, 1, "linear", "none"),
            SynthesisLayer(24, 3, "residual", "relu"),
            _OUT,
        ),
    )  # fmt: skip


def _affine() -> Iterator[Recipe]:
    for arm in (0, 1):
        for synthesis in (0, 1):
            yield still(
                f"stabilisers-{arm}{synthesis}",
                f"Stabiliser of the ARM {'on' if arm else 'off'}, "
                f"of the synthesis {'on' if synthesis else 'off'}.",
                "stabiliser",
                linear_stabiliser_arm=arm, linear_stabiliser_synth=synthesis,
            )  # fmt: skip
    yield still(
        "output-transform-identity",
        "An output transform that changes nothing, as encoders write it.",
        "output transform",
        edit=_identity_transform,
    )  # fmt: skip
    for data_type in ("rgb", "yuv420"):
        yield still(
            f"output-transform-rotation-{data_type}",
            "An output transform that permutes, mixes and shifts the channels.",
            "output transform", data_type,
            edit=_rotating_transform,
            frame=FrameHeader(frame_data_type=data_type),
        )  # fmt: skip


def _identity_transform(parameters: Parameters) -> None:
    transform = parameters.synthesis.output_transform
    transform.weight[:, :, 0, 0] = 512 * np.eye(3, dtype=np.int64)
    transform.bias[:] = 0


def _rotating_transform(parameters: Parameters) -> None:
    transform = parameters.synthesis.output_transform
    transform.weight[:, :, 0, 0] = [[0, 400, -200], [-300, 0, 500], [500, -100, 0]]
    transform.bias[:] = 600, 700, 200


def _randomness() -> Iterator[Recipe]:
    for (height, width), levels, what in _RANDOMNESS:
        yield still(
            f"randomness-{width}x{height}-levels-{levels[0]}-{levels[1]}",
            f"Common randomness: {what}.",
            "common randomness",
            img_size=(height, width), latent_resolution=levels, flag_common_randomness=1,
            edit=_loud_noise,
        )  # fmt: skip
    yield still(
        "randomness-without-stabiliser-with-hyperlatents",
        "Common randomness with hyperlatents, which get no noise, and without a stabiliser.",
        "common randomness", "hyperlatents",
        flag_common_randomness=1, hyperlatent_resolution=(1, 3), linear_stabiliser_synth=0,
        edit=_loud_noise,
    )  # fmt: skip
    yield still(
        "randomness-residual",
        "Common randomness into a residual layer.",
        "common randomness",
        flag_common_randomness=1, latent_resolution=(0, 1),
        syn_layer=(SynthesisLayer(4, 3, "residual", "relu"), _OUT),
        edit=_loud_noise,
    )  # fmt: skip


def _loud_noise(parameters: Parameters) -> None:
    """Let the noise channels count as much as the latents, which are eight times as large."""
    weight = parameters.synthesis.trunk[0].weight
    weight[:, weight.shape[1] // 2 :] *= 5
