# SPDX-License-Identifier: BSD-3-Clause
"""Mutations of network parameters, and of architectures with parameters that fit."""

from __future__ import annotations

import dataclasses
from math import prod
from random import Random
from typing import Any

from numchic_bitstream import CoolChicHeader, NumchicError, SynthesisLayer, UsageError
from numchic_bitstream.v5 import expgolomb
from numchic_bitstream.v5.headers import write_coolchic_header
from numchic_bitstream.v5.parameters import weight_shapes

_MAX_PARAMETERS = 1500


def change_parameters(
    rng: Random, header: CoolChicHeader, payload: bytes
) -> tuple[bytes, int] | None:
    """Change some parameters of a payload.

    Those that the payload does not hold are zero.

    Returns
    -------
    tuple of bytes, int, or None
        Payload and number of padding bits; None if that is impossible or too much work.
    """
    counts = _counts(header)
    if counts is None:
        return None
    bits = expgolomb.bits_from_bytes(payload)
    position = header.nn_n_bit_pad
    values: dict[str, list[int]] = {}
    for name, n in counts.items():
        order = getattr(header.nn_expgol_cnt, name)
        try:
            values[name], position = expgolomb.decode(bits, position, n, order)
        except NumchicError:
            values[name] = [0] * n
    for _ in range(rng.choice((1, 1, 2, 5))):
        some = values[rng.choice(list(values))]
        if some:
            i = rng.randrange(len(some))
            size = 1 << rng.choice((0, 2, 5, 8, 16, 24, 38, 39))
            delta = rng.randint(-size, size)
            some[i] = rng.choice((0, delta, some[i] + delta, -some[i]))
    if rng.random() < 0.1:
        values[rng.choice(list(values))].append(0)  # one too many
    try:
        return _code(header, values)
    except UsageError:
        return None


def rebuild(rng: Random, header: CoolChicHeader) -> bytes | None:
    """Make another architecture from a header: new header and a network payload that fits it."""
    header = _architecture(rng, header)
    counts = _counts(header)
    if counts is None:
        return None
    magnitude = rng.choice((0, 1, 5, 30))
    values = {
        name: [rng.randint(-magnitude, magnitude) for _ in range(n)] for name, n in counts.items()
    }
    payload, n_bit_pad = _code(header, values)
    derived: dict[str, Any] = {
        "nn_n_bytes": len(payload),
        "nn_n_bit_pad": n_bit_pad,
        "n_latent_grids": header.derived.n_latent_grids,
    }
    try:
        return write_coolchic_header(dataclasses.replace(header, **derived)) + payload
    except UsageError:
        return None


def _architecture(rng: Random, header: CoolChicHeader) -> CoolChicHeader:
    changes: dict[str, Any] = {}
    for _ in range(rng.randint(1, 3)):
        lowest = rng.choice((0, 0, 0, 1, 2))
        match rng.randrange(9):
            case 0:
                changes["img_size"] = (rng.randint(1, 24), rng.randint(1, 24))
            case 1:
                changes["latent_resolution"] = (lowest, lowest + rng.randrange(4))
            case 2:
                bounds = rng.choice((None, (lowest, lowest + rng.randrange(3))))
                changes["hyperlatent_resolution"] = bounds
                changes["flag_hyperlatent"] = int(bounds is not None)
            case 3:
                n_features = rng.choice((0, 1, 2, 5))
                bounds = (lowest, lowest + rng.randrange(16 - lowest))
                changes["output_feature_ifce"] = n_features
                changes["ifce_resolution"] = bounds if n_features else None
            case 4:
                changes["spatial_context_arm"] = rng.choice((1, 2, 3, 8, 20))
                changes["n_hidden_layers_arm"] = rng.randrange(4)
            case 5:
                changes["ups_k_size"] = rng.randrange(4, 15, 2)
                changes["ups_preconcat_k_size"] = rng.randrange(1, 16, 2)
            case 6:
                sizes = [*rng.choices((1, 3, 7), k=rng.randrange(4)), header.syn_layer[-1].out_ft]
                changes["syn_layer"] = tuple(_layer(rng, n) for n in sizes)
            case 7:
                for flag in ("linear_stabiliser_arm", "linear_stabiliser_synth"):
                    changes[flag] = rng.randrange(2)
            case _:
                changes["flag_common_randomness"] = rng.randrange(2)
                changes["final_upsampling_type"] = rng.choice(("nearest", "bilinear", "bicubic"))
    return dataclasses.replace(header, **changes)


def _layer(rng: Random, out_ft: int) -> SynthesisLayer:
    return SynthesisLayer(out_ft, rng.choice((1, 1, 3, 5)), "linear", rng.choice(("none", "relu")))


def _counts(header: CoolChicHeader) -> dict[str, int] | None:
    """Number of parameters of every module and kind, in stream order; None if there are many."""
    counts: dict[str, int] = {}
    if header.latent_resolution[0] > header.latent_resolution[1]:
        return None
    for module, shapes in weight_shapes(header).items():
        counts[f"{module}_weight"] = sum(map(prod, shapes))
        counts[f"{module}_bias"] = sum(1 if module == "upsampling" else s[0] for s in shapes)
    return counts if sum(counts.values()) <= _MAX_PARAMETERS else None


def _code(header: CoolChicHeader, values: dict[str, list[int]]) -> tuple[bytes, int]:
    """Payload and number of padding bits."""
    bits = "".join(
        expgolomb.encode(numbers, getattr(header.nn_expgol_cnt, name))
        for name, numbers in values.items()
    )
    n_bytes = (len(bits) + 7) // 8
    return int(bits or "0", 2).to_bytes(n_bytes, "big"), 8 * n_bytes - len(bits)
