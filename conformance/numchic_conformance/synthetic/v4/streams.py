# SPDX-License-Identifier: BSD-3-Clause
"""4.x streams with drawn networks and latents, of which anything can be prescribed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numchic_bitstream.arrays import I64
from numchic_conformance.synthetic.v4.coder import encode_numbers
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.headers import (
    Frame,
    Part,
    topology_source,
    write_frame,
    write_gop,
)
from numchic_conformance.synthetic.v4.latents import ArmLayers, encode_plane

N_OUTPUTS = {"I": (3,), "P": (4, 2), "B": (4, 5)}
"""Output channels of the parts of a frame."""

Numbers = dict[str, list[int]]
"""Parameters as they are coded, by "arm0" (weights), "arm1" (biases), ..."""

# Largest magnitude of drawn parameters, and what is added to the last biases of a picture.
_BOUNDS = {"arm0": 12, "arm1": 60, "ups0": 120, "ups1": 0, "syn0": 30, "syn1": 200}
_GREY = 512
_MAGNITUDES = np.repeat([0, 1, 2, 3, 4, 7], [32, 16, 8, 4, 3, 1])


def drawn_part(draw: Draw, kind: str, k: int, generation: str, **changes: Any) -> Part:
    """Draw a legal part.

    Parameters
    ----------
    draw : Draw
    kind : {"I", "P", "B"}
    k : int
        0 residue, 1 motion.
    generation : str
    **changes
        Attributes of :class:`Part` that are prescribed.
    """
    n_out = N_OUTPUTS[kind][k]
    n_res = draw.integer(2, 4)
    lead = 0 if k == 0 else draw.integer(0, min(2, n_res - 2))
    latent = [int(i >= lead) for i in range(n_res)]
    noise = [0] * n_res
    if generation == "4.2" and lead == 0 and draw.chance(30):
        noise = [draw.integer(0, 1) for _ in range(n_res)]
    sizes = (8, 12, 16, 24, 32) if generation == "4.2" else (8, 16, 24, 32)
    syn = (
        [(5, 1, 0, 1), (n_out, 1, 0, 0), (n_out, 3, 1, 1), (n_out, 3, 1, 0)],
        [(6, 3, 0, 1), (n_out, 1, 0, 0)],
        [(3, 1, 0, 1), (9, 1, 0, 0), (9, 1, 1, 1), (n_out, 3, 0, 0)],
    )
    p = Part(
        arm=(draw.choice(sizes), draw.integer(0, 3)),
        ups=(draw.integer(1, 3), draw.choice((4, 8, 12)), draw.integer(1, 3), draw.choice((1, 7))),
        syn=list(draw.choice(syn)),
        latent=latent,
        noise=noise,
        blk=draw.choice((0, 1, 4, 16, -2, -4, -8)),
        q={"arm": (2, 9), "ups": (4, 0), "syn": (5, 14)},
        eg={
            "arm": (draw.integer(0, 4), draw.integer(0, 4)),
            "ups": (draw.integer(0, 4), 0),
            "syn": (draw.integer(0, 4), draw.integer(0, 4)),
        },
    )
    return replace(p, **changes)


def write_numbers(numbers: Numbers, p: Part) -> bytes:
    """Sub-streams of all parameters; sets the lengths."""
    out = b""
    p.length = {}
    for m in p.modules:
        pair = [encode_numbers(numbers[f"{m}{k}"], p.eg[m][k]) for k in (0, 1)]
        p.length[m] = len(pair[0]), len(pair[1])
        out += b"".join(pair)
    return out


def arm_layers(p: Part, numbers: Numbers) -> ArmLayers:
    """Layers of the ARM (8.1, 8.2)."""
    c, n_hidden = p.arm
    weights = np.array(numbers["arm0"], np.int64) << p.q["arm"][0]
    biases = np.array(numbers["arm1"], np.int64) << p.q["arm"][1]
    layers = []
    for n_out in [c] * n_hidden + [2]:
        layers.append((weights[: n_out * c].reshape(n_out, c), biases[:n_out]))
        weights, biases = weights[n_out * c :], biases[n_out:]
    return layers


def fill(
    draw: Draw, p: Part, size: tuple[int, int], empty: Sequence[int] = (), grey: bool = True
) -> bytes:
    """Draw parameters and latents of a part, set its lengths, and return its payload.

    Parameters
    ----------
    draw : Draw
    p : Part
    size : (H, W)
    empty : sequence of int
        Resolutions whose latents are all zero, and not sent.
    grey : bool
        Whether the output should be about one half and not about zero.
    """
    numbers: Numbers = {}
    for m, counts in p.counts().items():
        for k in (0, 1):
            bound = _BOUNDS[f"{m}{k}"]
            if m == "ups":
                bound = 8 * bound // max(p.ups[1], p.ups[3])
            numbers[f"{m}{k}"] = draw.integers(-bound, bound, (counts[k],)).tolist()
    if grey:
        for i in range(1, p.syn[-1][0] + 1):
            numbers["syn1"][-i] += _GREY
    payload = write_numbers(numbers, p)
    layers = arm_layers(p, numbers)
    p.len_lat = [0] * len(p.latent)
    for i, there in enumerate(p.latent):
        if there and not p.zero and i not in empty:
            shape = (-(-size[0] >> i), -(-size[1] >> i))
            stream = _drawn_latent(draw, shape, layers, p.blk)
            p.len_lat[i] = len(stream)
            payload += stream
    return payload


def _drawn_latent(draw: Draw, shape: tuple[int, int], layers: ArmLayers, blk: int) -> bytes:
    b = abs(blk) or 1 << 16
    n_blocks = (-(-shape[0] // b), -(-shape[1] // b))
    signs = 2 * draw.integers(0, 1, shape) - 1
    plane = signs * _MAGNITUDES[draw.integers(0, 63, shape)]
    if draw.chance(30):
        plane.flat[draw.integer(0, plane.size - 1)] = draw.choice((-300, 77, 100_000))
    significant = draw.integers(0, 1, n_blocks) if draw.chance(70) else None
    flat = draw.integers(0, 1, n_blocks) if draw.chance(70) else None
    if n_blocks == (1, 1):
        significant = flat = None
    if flat is not None and significant is not None:
        flat = flat * significant
    _apply_maps(plane, b, significant, flat)
    return encode_plane(plane, layers, blk, significant, flat)


def _apply_maps(plane: I64, b: int, significant: I64 | None, flat: I64 | None) -> None:
    """Make a plane agree with its maps."""
    for by in range(-(-plane.shape[0] // b)):
        for bx in range(-(-plane.shape[1] // b)):
            block = plane[by * b : (by + 1) * b, bx * b : (bx + 1) * b]
            if significant is not None and not significant[by, bx]:
                block[:] = 0
            elif flat is not None and flat[by, bx]:
                block[:] = block[0, 0]


CodedFrame = tuple[int, str] | tuple[int, str, Mapping[str, Any]]
"""Display index and type of a frame, and what is prescribed for it: ``residue`` and ``motion``
(attributes of parts), ``w``, ``flow``, ``empty`` (see :func:`fill`)."""


def make_frames(
    draw: Draw,
    generation: str,
    size: tuple[int, int],
    frames: Sequence[CodedFrame] = ((0, "I"),),
    **changes: Any,
) -> list[Frame]:
    """Draw frames in coding order; ``changes`` are prescribed for all parts."""
    coded: list[Frame] = []
    for index, kind, *rest in frames:
        wanted: dict[str, Any] = dict(rest[0]) if rest else {}
        source = topology_source(coded, index) if kind != "I" else None
        parts = []
        for k, role in enumerate(("residue", "motion")[: len(N_OUTPUTS[kind])]):
            prescribed = {**changes, **wanted.get(role, {})}
            p = drawn_part(draw, kind, k, generation, **prescribed)
            if "zero" not in prescribed:
                p.zero = int(draw.chance(20))
            if source is not None and "copies" not in prescribed:
                model = source.parts[k if source.kind != "I" else 0]
                _copy(p, k, model, sum(draw.integer(0, 1) << bit for bit in range(4)))
            elif source is not None:
                model = source.parts[k if source.kind != "I" else 0]
                _copy(p, k, model, prescribed["copies"])
            parts.append(p)
        empty = wanted.get("empty", [i for i in range(8) if draw.chance(10)])
        payload = b"".join(fill(draw, p, size, empty, kind == "I") for p in parts)
        flow = [(draw.integer(-9, 9), draw.integer(-9, 9)) for _ in range("IPB".index(kind))]
        w = 0 if generation == "4.0" or kind == "I" else draw.integer(0, 7)
        coded.append(
            Frame(index, kind, parts, wanted.get("w", w), wanted.get("flow", flow), payload)
        )
    return coded


def make_stream(
    draw: Draw,
    generation: str,
    size: tuple[int, int],
    data_type: str = "rgb",
    depth: int = 8,
    frames: Sequence[CodedFrame] = ((0, "I"),),
    **changes: Any,
) -> bytes:
    """Stream of frames; see :func:`make_frames`."""
    coded = make_frames(draw, generation, size, frames, **changes)
    data = write_gop(*size, data_type, depth)
    return data + b"".join(write_frame(frame, generation) for frame in coded)


def _copy(p: Part, k: int, source: Part, wanted: int) -> None:
    """Copy groups of the topology as far as that leaves a legal part."""
    p.copies = wanted & 3
    if wanted & 1:
        p.arm = source.arm
    if wanted & 2:
        p.ups = source.ups
    if wanted & 8 and (source.latent[0] or k == 1):
        p.latent, p.noise, p.copies = source.latent, source.noise, p.copies | 8
    enough = source.syn[-1][0] >= p.syn[-1][0]
    residual_first = source.syn[0][2]
    if wanted & 4 and enough and (not residual_first or source.n_inputs == p.n_inputs):
        p.syn, p.copies = source.syn, p.copies | 4
