# SPDX-License-Identifier: BSD-3-Clause
"""From the smallest networks to larger ones that give the same (video-training, section 10).

A linear model is trained first, which takes few bits and few iterations. Every larger one has a
linear branch beside its hidden layers, so that it can begin where the linear one has arrived.
"""

from __future__ import annotations

from typing import cast

import torch

from numchic_trainer.model.arm import ArmLinear
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.model.synthesis import Synthesis, SynthesisConv2d

Layer = ArmLinear | SynthesisConv2d


def grow(large: InterEncoder, linear: InterEncoder) -> None:
    """Let a model give what a linear one gives, at the same rate.

    Parameters
    ----------
    large : InterEncoder
        Changed in place. Its ARM and its synthesis have stabilisers or no hidden layers.
    linear : InterEncoder
        Of the preset "linear".
    """
    with torch.no_grad():
        for ours, theirs in zip(large.parts, linear.parts, strict=True):
            _grow_latents(ours, theirs)
            _grow_filters(ours, theirs)
            _grow_layer(ours.arm.output, ours.arm.stabiliser, theirs.arm.output)
            _grow_synthesis(ours.synthesis, cast("SynthesisConv2d", theirs.synthesis.trunk[0]))


def _grow_latents(ours: CoolChicEncoder, theirs: CoolChicEncoder) -> None:
    known = {
        (grid.level, grid.hyper): latent
        for grid, latent in zip(theirs.grids, theirs.latent_grids, strict=True)
    }
    for grid, latent in zip(ours.grids, ours.latent_grids, strict=True):
        found = known.get((grid.level, grid.hyper))
        latent.zero_() if found is None else latent.copy_(found)


def _grow_filters(ours: CoolChicEncoder, theirs: CoolChicEncoder) -> None:
    """Put shorter filters into longer ones; a filter's last weight is its middle."""
    for kind in ("x2", "preconcat"):
        pairs = zip(getattr(ours.upsampling, kind), getattr(theirs.upsampling, kind), strict=True)
        for own, found in pairs:
            own.weight.zero_()
            own.weight[-len(found.weight) :] = found.weight


def _grow_synthesis(ours: Synthesis, linear: SynthesisConv2d) -> None:
    layers = cast("list[SynthesisConv2d]", [*ours.trunk])
    while layers[-1].residual:  # which gives its input if its parameters are zero
        for parameter in layers.pop().parameters():
            parameter.zero_()
    _grow_layer(layers[-1], ours.stabiliser, linear)


def _grow_layer(output: Layer, side: Layer | None, linear: Layer) -> None:
    """Put a linear layer into the stabiliser, or into the only layer there is."""
    if side is None:
        _put(output, linear)
        return
    _put(side, linear)
    output.weight.zero_()
    output.bias.copy_(side.bias)
    side.bias.zero_()


def _put(layer: Layer, linear: Layer) -> None:
    """Copy a layer into one with as many inputs or more."""
    layer.weight.zero_()
    layer.weight[:, : linear.weight.shape[1]] = linear.weight
    layer.bias.copy_(linear.bias)
