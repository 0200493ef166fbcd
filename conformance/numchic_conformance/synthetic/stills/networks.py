# SPDX-License-Identifier: BSD-3-Clause
"""Shapes of ARM and upsampling; whole architectures as the official presets have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numchic_bitstream import Parameters, SynthesisLayer
from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.drawing import Signal, sparse
from numchic_conformance.synthetic.recipe import Recipe, still

_CONTEXTS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 16, 17, 20, 23, 24, 27, 28, 32, 33, 36, 39, 40)

_UPSAMPLING = (
    (4, 1), (4, 3), (4, 15), (6, 1), (6, 5), (8, 7), (8, 9), (10, 11), (12, 13), (14, 1), (14, 15),
)  # fmt: skip

_QUIET = sparse((-2, -1, 1, 2), 40)


def _layers(*forms: str) -> tuple[SynthesisLayer, ...]:
    """Layers written as the specification does: ``48-1-linear-relu``."""
    split = [form.split("-") for form in forms]
    return tuple(SynthesisLayer(int(o), int(k), m, n) for o, k, m, n in split)  # type: ignore[arg-type]


_RESIDUALS = ("3-1-linear-none", "3-3-residual-relu", "3-3-residual-none")

# Architectures of about 500, 1000, 2000 and 3000 products per pixel.
_PRESETS: dict[str, dict[str, Any]] = {
    "lop": {
        "spatial_context_arm": 8, "n_hidden_layers_arm": 2, "output_feature_ifce": 0,
        "syn_layer": _layers("16-1-linear-relu", *_RESIDUALS),
    },
    "mop": {
        "spatial_context_arm": 8, "n_hidden_layers_arm": 2, "output_feature_ifce": 4,
        "syn_layer": _layers("32-1-linear-relu", *_RESIDUALS),
    },
    "hop": {
        "spatial_context_arm": 14, "n_hidden_layers_arm": 2, "output_feature_ifce": 6,
        "syn_layer": _layers("48-1-linear-relu", *_RESIDUALS),
    },
    "vhop": {
        "spatial_context_arm": 24, "n_hidden_layers_arm": 2, "output_feature_ifce": 8,
        "syn_layer": _layers("64-1-linear-relu", *_RESIDUALS),
    },
}  # fmt: skip


def network_recipes() -> Iterator[Recipe]:
    """Recipes about ARM and upsampling, and about all networks together."""
    yield from _arm()
    yield from _upsampling()
    yield from _presets()


def _arm() -> Iterator[Recipe]:
    for n in _CONTEXTS:
        yield still(
            f"arm-context-{n}",
            f"ARM: {n} spatial contexts.",
            "arm", "context",
            spatial_context_arm=n,
        )  # fmt: skip
    yield still(
        "arm-context-40-wide",
        "ARM: all 40 contexts on a grid in wavefront order with eight samples of a time.",
        "arm", "context",
        spatial_context_arm=40, img_size=(20, 80), latent_resolution=(0, 1),
    )  # fmt: skip
    for n_hidden in range(8):
        for stabiliser in (0, 1):
            yield still(
                f"arm-hidden-{n_hidden}-{'with' if stabiliser else 'without'}-stabiliser",
                f"ARM: {n_hidden} hidden layers, {'a' if stabiliser else 'no'} stabiliser.",
                "arm",
                n_hidden_layers_arm=n_hidden, linear_stabiliser_arm=stabiliser,
            )  # fmt: skip
    for n_hidden in (0, 1, 2, 7):
        for n_spatial, n_features in ((2, 0), (1, 1)):
            yield still(
                f"arm-width-2-hidden-{n_hidden}-features-{n_features}",
                "ARM of width 2, where the identity is folded into the output layer as well.",
                "arm", "width 2",
                n_hidden_layers_arm=n_hidden, spatial_context_arm=n_spatial,
                output_feature_ifce=n_features, linear_stabiliser_arm=n_hidden % 2,
            )  # fmt: skip
    for n_hidden in (0, 1, 2):
        yield still(
            f"arm-width-1-hidden-{n_hidden}",
            "ARM of width 1.",
            "arm",
            n_hidden_layers_arm=n_hidden, spatial_context_arm=1, output_feature_ifce=0,
        )  # fmt: skip
    for n_hidden in (0, 1, 2):
        yield still(
            f"arm-without-ifce-hidden-{n_hidden}",
            "ARM without IFCE features.",
            "arm",
            n_hidden_layers_arm=n_hidden, output_feature_ifce=0,
        )  # fmt: skip
    yield still(
        "arm-width-71",
        "ARM of the greatest width, 40 contexts and 31 features.",
        "arm", "ifce",
        spatial_context_arm=40, output_feature_ifce=31, img_size=(6, 14),
        latent_resolution=(0, 1), linear_stabiliser_arm=0,
    )  # fmt: skip
    yield still(
        "arm-all-zero",
        "ARM with all parameters zero: only identities and the scale offset are left.",
        "arm",
        edit=_zero_arm,
    )  # fmt: skip
    yield still(
        "arm-all-hidden-negative",
        "ARM whose hidden values are all negative, so that only stabiliser and biases are left.",
        "arm",
        edit=_negative_hidden, n_hidden_layers_arm=2,
    )  # fmt: skip


def _zero_arm(parameters: Parameters) -> None:
    for layer in parameters.arm.layers():
        layer.weight[...] = layer.bias[...] = 0


def _negative_hidden(parameters: Parameters) -> None:
    for layer in parameters.arm.hidden:
        layer.bias[...] = -100_000


def _upsampling() -> Iterator[Recipe]:
    for x2, preconcat in _UPSAMPLING:
        yield still(
            f"upsampling-{x2}-{preconcat}",
            f"Upsampling: x2 filter of size {x2}, pre-concatenation filter of size {preconcat}.",
            "upsampling",
            ups_k_size=x2, ups_preconcat_k_size=preconcat, latent_resolution=(0, 3),
        )  # fmt: skip
    for x2, preconcat in ((14, 15), (4, 1)):
        yield still(
            f"upsampling-{x2}-{preconcat}-tiny",
            "Upsampling filters wider than the grids.",
            "upsampling",
            img_size=(3, 5), ups_k_size=x2, ups_preconcat_k_size=preconcat,
            latent_resolution=(0, 4),
        )  # fmt: skip
    yield still(
        "upsampling-one-dimension",
        "Upsampling of a picture one row high.",
        "upsampling",
        img_size=(1, 30), latent_resolution=(0, 3),
    )  # fmt: skip
    yield still(
        "upsampling-biases",
        "Biases of the upsampling that are not zero, and must not be used.",
        "upsampling",
        edit=_upsampling_biases,
    )  # fmt: skip
    yield still(
        "upsampling-kernels-differ",
        "Upsampling kernels far from an interpolation, each step with its own.",
        "upsampling",
        edit=_uneven_kernels, latent_resolution=(0, 3),
    )  # fmt: skip
    yield still(
        "upsampling-unused-kernels",
        "With latents from level 2 the last two kernels of each kind are huge and unused.",
        "upsampling",
        edit=_huge_unused, latent_resolution=(2, 4),
    )  # fmt: skip
    yield still(
        "upsampling-zero",
        "Upsampling kernels that are all zero: only the added finest latent is left.",
        "upsampling",
        edit=_zero_upsampling,
    )  # fmt: skip


def _upsampling_biases(parameters: Parameters) -> None:
    for i, layer in enumerate(parameters.upsampling.layers()):
        layer.bias[0] = 100 * (-1) ** i + i


def _uneven_kernels(parameters: Parameters) -> None:
    upsampling = parameters.upsampling
    for i, layer in enumerate(upsampling.x2):
        layer.weight[:] = [160, -70 - 20 * i, 150 + 20 * i, 90]
    for i, layer in enumerate(upsampling.preconcat):
        layer.weight[:] = [30 * i, -60, 90, -120 + 40 * i]


def _huge_unused(parameters: Parameters) -> None:
    for kind in (parameters.upsampling.x2, parameters.upsampling.preconcat):
        for layer in kind[-2:]:
            layer.weight[...] = np.arange(layer.weight.size) + 10**9


def _zero_upsampling(parameters: Parameters) -> None:
    for layer in parameters.upsampling.layers():
        layer.weight[...] = 0


def _presets() -> Iterator[Recipe]:
    full: dict[str, Any] = {"latent_resolution": (0, 6), "hyperlatent_resolution": (4, 6)}
    for name, architecture in _PRESETS.items():
        yield still(
            f"preset-{name}",
            f"An architecture like that of the official preset {name}.",
            "preset",
            img_size=(30, 46), **full, **architecture,
        )  # fmt: skip
    yield still(
        "preset-hop-768x512",
        "The size and architecture of the official sample picture.",
        "preset",
        level=Level.STRESS, img_size=(512, 768), latents=_QUIET, edit=_expect_quiet,
        signal=Signal(latent=1),
        **full, **_PRESETS["hop"],
    )  # fmt: skip
    yield still(
        "preset-lop-200x150",
        "A picture of several bands.",
        "preset",
        level=Level.FULL, img_size=(150, 200), latents=_QUIET, edit=_expect_quiet,
        signal=Signal(latent=1),
        **full, **_PRESETS["lop"],
    )  # fmt: skip


def _expect_quiet(parameters: Parameters) -> None:
    """Expect latents that are nearly all zero, so that a large picture takes few bytes."""
    arm = parameters.arm
    arm.output.weight[...] //= 8
    arm.output.bias[0] = 0
    arm.output.bias[1] = 350
    if arm.stabiliser is not None:
        arm.stabiliser.weight[...] //= 8
        arm.stabiliser.bias[...] = 0
