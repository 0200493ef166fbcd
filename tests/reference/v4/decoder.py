# SPDX-License-Identifier: BSD-3-Clause
"""Whole streams, from bytes to the samples of all frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic_conformance.synthetic.v4.headers import Part
from reference.v4 import latents, motion, planes
from reference.v4.entropy import Decoder
from reference.v4.headers import parse

F32 = NDArray[np.float32]
Numbers = dict[str, list[int]]
Stages = dict[str, NDArray[Any]]
"""By the names of ``numchic_conformance.stages``."""

_NAMES = {"arm": "arm", "ups": "upsampling", "syn": "synthesis"}


def read_numbers(data: bytes, p: Part) -> tuple[Numbers, int]:
    """All parameters as coded, by "arm0" (weights), "arm1" (biases) ...; bytes read."""
    numbers: Numbers = {}
    position = 0
    for m in p.modules:
        for k in (0, 1):
            n_bytes = p.length[m][k]
            count = p.counts()[m][k]
            values: list[int] = []
            if count:
                d = Decoder(data[position : position + n_bytes])
                values = [d.signed(p.eg[m][k]) for _ in range(count)]
                assert d.is_over()
            numbers[f"{m}{k}"] = values
            position += n_bytes
    return numbers, position


def arm_layers(p: Part, numbers: Numbers) -> latents.Weights:
    c, n_hidden = p.arm
    w = [v << p.q["arm"][0] for v in numbers["arm0"]]
    b = [v << p.q["arm"][1] for v in numbers["arm1"]]
    layers: latents.Weights = []
    for n_out in [c] * n_hidden + [2]:
        layers.append(([w[o * c : o * c + c] for o in range(n_out)], b[:n_out]))
        w, b = w[n_out * c :], b[n_out:]
    return layers


def _real(values: list[int], exponent: int) -> F32:
    return np.array([v * 2.0**exponent for v in values], np.float32)


def _kernels(flat: F32, count: int, size: int) -> list[F32]:
    n = (size + 1) // 2
    halves = [flat[i * n : (i + 1) * n] for i in range(count)]
    return [np.array([half[min(j, size - 1 - j)] for j in range(size)]) for half in halves]


def _part(
    data: bytes, p: Part, size: tuple[int, int], lead: int, random: Iterator[float]
) -> tuple[Stages, bytes]:
    """Stages of a decoder, of which the last is its signal; what is left of the data."""
    numbers, position = read_numbers(data, p)
    data = data[position:]
    stages: Stages = {}
    for name, values in numbers.items():
        if values:
            kind = ("weight", "bias")[int(name[-1])]
            stages[f"parameters.{_NAMES[name[:-1]]}_{kind}"] = np.array(values)
    layers = arm_layers(p, numbers)
    grids: list[Any] = []
    for i, n_bytes in enumerate(p.len_lat):
        shape = (-(-size[0] >> i), -(-size[1] >> i))
        grid = latents.decode(data[:n_bytes], shape, layers, p.blk) if n_bytes else None
        grids.append(grid)
        data = data[n_bytes:]
        if grid is not None:
            stages[f"latents.{i}"] = np.array(grid)
    ups: list[F32] = []
    pre: list[F32] = []
    if not p.zero:
        nu, ku, n_pre, kp = p.ups
        flat = _real(numbers["ups0"], p.q["ups"][0] - 12)
        ups = _kernels(flat, nu, ku)
        pre = _kernels(flat[nu * ((ku + 1) // 2) :], n_pre, kp)
    stages["dense"] = planes.inputs(p, grids, ups, pre, size, lead, random)
    weights = _real(numbers["syn0"], p.q["syn"][0] - 12)
    biases = _real(numbers["syn1"], p.q["syn"][1] - 24)
    synthesis = []
    n_in = p.n_inputs
    for n_out, ks, _, _ in p.syn:
        n = n_out * n_in * ks * ks
        synthesis.append((weights[:n].reshape(n_out, n_in, ks, ks), biases[:n_out]))
        weights, biases, n_in = weights[n:], biases[n_out:], n_out
    stages["synthesis"] = planes.synthesise(stages["dense"], p, synthesis)
    return stages, data


def decode(data: bytes, generation: str) -> list[list[NDArray[Any]]]:
    """Planes of every frame, in display order."""
    return decode_stages(data, generation)[0]


def decode_stages(data: bytes, generation: str) -> tuple[list[list[NDArray[Any]]], Stages]:
    """Planes of every frame, in display order; stages before them."""
    (height, width, data_type, depth), frames = parse(data, generation)
    size = (height, width)
    random = planes.generator()
    shown: dict[int, list[NDArray[Any]]] = {}
    stages: Stages = {}
    for place, frame in enumerate(frames):
        rest = frame.payload
        signals, leads = [], []
        for role, p in zip(("residue", "motion"), frame.parts, strict=False):
            lead = 0 if generation == "4.0" else p.latent.index(1)
            found, rest = _part(rest, p, size, lead, random)
            prefix = f"frame{place}.{role}." if len(frames) > 1 else ""
            stages |= {prefix + name: array for name, array in found.items()}
            signals.append(found["synthesis"])
            leads.append(lead)
        assert rest == b""
        signal = signals[0]
        if frame.kind != "I":
            before = max(i for i in shown if i < frame.display_index)
            after = min((i for i in shown if i > frame.display_index), default=-1)
            field, b = signals[1], 1 << leads[1]
            warped = []
            for k, i in enumerate([before, after][: len(frame.flow)]):
                ref = motion.reference(shown[i], depth)
                flow = field[2 * k : 2 * k + 2]
                if generation == "4.0":
                    warped.append(motion.warp_40(ref, flow, frame.flow[k]))
                else:
                    warped.append(motion.warp(ref, flow, frame.flow[k], 2 + 2 * frame.w, b))
            every = field.repeat(b, 1).repeat(b, 2)
            signal = motion.predict(signal, every, warped, generation != "4.0")
            stages[f"frame{place}.prediction"] = signal
        shown[frame.display_index] = motion.output(signal, data_type, depth)
    return [shown[i] for i in range(len(frames))], stages
