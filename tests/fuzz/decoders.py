# SPDX-License-Identifier: BSD-3-Clause
"""The fixed architectures and decoders that payloads are tried on; an input names one by number."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

import builders
from numchic_bitstream import CoolChicHeader, Parameters, SynthesisLayer

_ONE_LAYER = (SynthesisLayer(3, 1, "linear", "none"),)
# One latent grid and nothing else.
_PLAIN: dict[str, Any] = {
    "linear_stabiliser_synth": 0,
    "output_feature_ifce": 0,
    "spatial_context_arm": 1,
    "linear_stabiliser_arm": 0,
    "n_hidden_layers_arm": 0,
    "img_size": (3, 4),
    "latent_resolution": (0, 0),
    "hyperlatent_resolution": None,
    "syn_layer": _ONE_LAYER,
}

ARCHITECTURES: tuple[dict[str, Any], ...] = (
    _PLAIN,
    {},
    # The ARM is two wide, where its output layer gets an identity (section 5.1).
    _PLAIN | {"spatial_context_arm": 2, "linear_stabiliser_arm": 1, "latent_resolution": (0, 1)},
    _PLAIN | {"n_hidden_layers_arm": 2, "spatial_context_arm": 3, "linear_stabiliser_synth": 1},
    # Wavefront order with batches that are evaluated in float64.
    _PLAIN | {"img_size": (7, 61), "spatial_context_arm": 6, "n_hidden_layers_arm": 1},
    # IFCE on every grid, hyperlatents only on the coarsest level.
    _PLAIN
    | {
        "output_feature_ifce": 1,
        "ifce_resolution": (0, 15),
        "latent_resolution": (0, 1),
        "hyperlatent_resolution": (1, 1),
    },
    _PLAIN | {"img_size": (1, 1), "latent_resolution": (0, 3), "ups_preconcat_k_size": 1},
    _PLAIN | {"spatial_context_arm": 40, "img_size": (6, 11), "linear_stabiliser_arm": 1},
)


@functools.cache
def header(number: int) -> CoolChicHeader:
    """Header of one of the architectures, chosen by any number."""
    return builders.header(**ARCHITECTURES[number % len(ARCHITECTURES)])


@functools.cache
def padded_header(selector: int) -> CoolChicHeader:
    """Header of architecture ``selector >> 3`` with ``selector & 7`` bits of padding."""
    return dataclasses.replace(header(selector >> 3), nn_n_bit_pad=selector & 7)


class Decoder(NamedTuple):
    """What a latent payload is decoded with."""

    header: CoolChicHeader
    parameters: Parameters


# Architecture, steps of the ARM, and magnitude of its parameters: from probabilities that hardly
# change to ones at both ends of the tables, and to accumulators of more than 53 bits.
_DECODERS = (
    (0, 1),
    (0, 20),
    (1, 6),
    (2, 20),
    (3, 30),
    (4, 4),
    (4, 40),
    (5, 40),
    (6, 3),
    (7, 12),
    (3, 1 << 14),
    (5, 1 << 24),
)
N_DECODERS = len(_DECODERS)


@functools.cache
def decoder(number: int) -> Decoder:
    """One of the decoders, chosen by any number."""
    number %= N_DECODERS
    architecture, magnitude = _DECODERS[number]
    the_header = header(architecture)
    parameters = builders.parameters(the_header, seed=number, magnitude=magnitude)
    if magnitude == 1:
        # The narrowest distribution: a symbol costs next to nothing, or everything.
        narrow = np.array([0, -(1 << 20)])
        output = parameters.arm.output._replace(bias=narrow)
        arm = dataclasses.replace(parameters.arm, output=output)
        parameters = dataclasses.replace(parameters, arm=arm)
    return Decoder(the_header, parameters)
