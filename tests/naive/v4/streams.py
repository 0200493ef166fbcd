# SPDX-License-Identifier: BSD-3-Clause
"""Test streams with random parameters and latents, of any 4.x generation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from naive.v4 import latents
from naive.v4.decoder import arm_layers, write_numbers
from naive.v4.headers import Frame, Part, topology_source, write_frame, write_gop

DATA_TYPES = ("rgb", "yuv420", "yuv444")
N_OUTPUTS = {"I": (3,), "P": (4, 2), "B": (4, 5)}


def random_part(rng: random.Random, kind: str, k: int, generation: str, **changes: Any) -> Part:
    """A legal part; ``changes`` overrides attributes of :class:`Part`."""
    n_out = N_OUTPUTS[kind][k]
    n_res = rng.randint(2, 4)
    lead = 0 if k == 0 else rng.randint(0, min(2, n_res - 2))
    latent = [int(i >= lead) for i in range(n_res)]
    noise = [0] * n_res
    if generation == "4.2" and lead == 0 and rng.random() < 0.3:
        noise = [rng.randint(0, 1) for _ in range(n_res)]
    sizes = (8, 12, 16, 24, 32) if generation == "4.2" else (8, 16, 24, 32)
    p = Part(
        arm=(rng.choice(sizes), rng.randint(0, 3)),
        ups=(rng.randint(1, 3), rng.choice((4, 8, 12)), rng.randint(1, 3), rng.choice((1, 3, 7))),
        syn=rng.choice(
            [
                [(5, 1, 0, 1), (n_out, 1, 0, 0), (n_out, 3, 1, 1), (n_out, 3, 1, 0)],
                [(6, 3, 0, 1), (n_out, 1, 0, 0)],
                [(3, 1, 0, 1), (9, 1, 0, 0), (9, 1, 1, 1), (n_out, 3, 0, 0)],
            ]
        ),
        latent=latent,
        noise=noise,
        blk=rng.choice((0, 1, 4, 16, -2, -4, -8)),
        q={"arm": (2, 9), "ups": (4, 0), "syn": (5, 14)},
        eg={m: (rng.randint(0, 4), 0 if m == "ups" else rng.randint(0, 4)) for m in
            ("arm", "ups", "syn")},
    )  # fmt: skip
    return replace(p, **changes)


def fill(rng: random.Random, p: Part, size: tuple[int, int], spread: float = 1.0) -> bytes:
    """Draw parameters and latents of a part, set its lengths, and return its payload."""
    ranges = {"arm0": 12, "arm1": 60, "ups0": 120, "ups1": 0, "syn0": 50, "syn1": 300}
    numbers = {}
    for m, counts in p.counts().items():
        for k in (0, 1):
            bound = ranges[f"{m}{k}"]
            numbers[f"{m}{k}"] = [rng.randint(-bound, bound) for _ in range(counts[k])]
    payload = write_numbers(numbers, p)
    layers = arm_layers(p, numbers)
    p.len_lat = [0] * len(p.latent)
    for i, there in enumerate(p.latent):
        if there and not p.zero and rng.random() < 0.9:
            shape = (-(-size[0] >> i), -(-size[1] >> i))
            stream = _random_latent(rng, shape, layers, p.blk, spread)
            p.len_lat[i] = len(stream)
            payload += stream
    return payload


def _random_latent(
    rng: random.Random, shape: tuple[int, int], layers: latents.Weights, blk: int, spread: float
) -> bytes:
    b = abs(blk) or 1 << 16
    n_blocks = (-(-shape[0] // b), -(-shape[1] // b))
    noise = np.random.default_rng(rng.getrandbits(32))
    plane = np.rint(noise.laplace(0, spread, shape)).astype(np.int64)
    if rng.random() < 0.3:
        plane.flat[rng.randrange(plane.size)] = rng.choice((-300, 77, 100_000))
    sig = noise.integers(0, 2, n_blocks) if rng.random() < 0.7 else None
    flat = noise.integers(0, 2, n_blocks) if rng.random() < 0.7 else None
    if n_blocks == (1, 1):
        sig = flat = None
    if flat is not None and sig is not None:
        flat = flat * sig
    for by in range(n_blocks[0]):
        for bx in range(n_blocks[1]):
            block = plane[by * b : (by + 1) * b, bx * b : (bx + 1) * b]
            if sig is not None and not sig[by, bx]:
                block[:] = 0
            elif flat is not None and flat[by, bx]:
                block[:] = block[0, 0]
    return latents.encode(plane, layers, blk, sig, flat)


def make_stream(
    rng: random.Random,
    generation: str,
    size: tuple[int, int],
    data_type: str = "rgb",
    depth: int = 8,
    frames: Sequence[tuple[int, str]] = ((0, "I"),),
    **changes: Any,
) -> bytes:
    """A stream of frames, each a display index and a type, in coding order."""
    data = write_gop(*size, DATA_TYPES.index(data_type), depth)
    coded: list[Frame] = []
    for index, kind in frames:
        source = topology_source(coded, index) if kind != "I" else None
        parts = []
        for k in range(len(N_OUTPUTS[kind])):
            p = random_part(rng, kind, k, generation, **changes)
            if "zero" not in changes:
                p.zero = int(rng.random() < 0.2)
            if source is not None and rng.random() < 0.5:
                _copy(rng, p, source.parts[k if source.kind != "I" else 0], k)
            parts.append(p)
        payload = b"".join(fill(rng, p, size) for p in parts)
        flow = [(rng.randint(-9, 9), rng.randint(-9, 9)) for _ in range("IPB".index(kind))]
        w = 0 if generation == "4.0" or kind == "I" else rng.randint(0, 7)
        coded.append(Frame(index, kind, parts, w, flow, payload))
        data += write_frame(coded[-1], generation)
    return data


def _copy(rng: random.Random, p: Part, source: Part, k: int) -> None:
    """Copy some groups of the topology, where that leaves a legal part."""
    if rng.random() < 0.5:
        p.arm, p.copies = source.arm, p.copies | 1
    if rng.random() < 0.5:
        p.ups, p.copies = source.ups, p.copies | 2
    n_inputs = source.n_inputs
    if rng.random() < 0.5 and (k == 1 or source.latent[0]):
        p.latent, p.noise, p.copies = source.latent, source.noise, p.copies | 8
    residual_first = source.syn[0][2]
    enough = source.syn[-1][0] >= p.syn[-1][0]
    if enough and (not residual_first or n_inputs == p.n_inputs):
        p.syn, p.copies = source.syn, p.copies | 4
