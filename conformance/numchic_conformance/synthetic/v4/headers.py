# SPDX-License-Identifier: BSD-3-Clause
"""Headers of 4.x streams as they are written (coolchic-4.2, sections 3 to 5, C.1, C.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numchic_bitstream.tables import Field, write_table
from numchic_bitstream.v4.headers import (
    ARM,
    CONTEXT_UNIT,
    FRAME_HEADER,
    GOP_HEADER,
    GOP_HEADER_BYTES,
    LAT,
    SYN,
    UPS,
    Vector,
    coding_table,
)

MODULES = ("arm", "ups", "syn")


@dataclass
class Part:
    """Header of one cool-chic; topology by group, the rest as in 5.2.

    Nothing is checked. ``copies`` says which groups are not written, see section 4.
    """

    arm: tuple[int, int]  # C, L
    ups: tuple[int, int, int, int]  # NU, KU, NP, KP
    syn: list[tuple[int, int, int, int]]  # out, ks, residual, ReLU
    latent: list[int]
    noise: list[int]
    blk: int = 0
    zero: int = 0
    q: dict[str, tuple[int, int]] = field(default_factory=dict)
    eg: dict[str, tuple[int, int]] = field(default_factory=dict)
    length: dict[str, tuple[int, int]] = field(default_factory=dict)
    len_lat: list[int] = field(default_factory=list)
    copies: int = 0

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules with parameters."""
        return ("arm", "syn") if self.zero else MODULES

    @property
    def n_inputs(self) -> int:
        """Input channels of the synthesis."""
        return sum(self.latent) + sum(self.noise)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Numbers of weights and biases (8.1)."""
        c, n_hidden = self.arm
        n_ups, ups_size, n_pre, pre_size = self.ups
        weights = biases = 0
        n_in = self.n_inputs
        for out, ks, _, _ in self.syn:
            weights += out * n_in * ks * ks
            biases += out
            n_in = out
        return {
            "arm": (n_hidden * c * c + 2 * c, n_hidden * c + 2),
            "ups": (n_ups * ((ups_size + 1) // 2) + n_pre * ((pre_size + 1) // 2), 0),
            "syn": (weights, biases),
        }


@dataclass
class Frame:
    """Header and payload of one frame."""

    display_index: int
    kind: str
    parts: list[Part]
    w: int = 0
    flow: list[tuple[int, int]] = field(default_factory=list)
    payload: bytes = b""


def topology_source(frames: Sequence[Frame], display_index: int) -> Frame | None:
    """Frame that an inter frame after ``frames`` copies from (4.1)."""
    last_i: Frame | None = None
    last_inter: Frame | None = None
    for frame in frames:
        if frame.kind == "I":
            last_i, last_inter = frame, None
        else:
            last_inter = frame
    if last_i is None or last_inter is None:
        return last_i
    before = last_inter.display_index < last_i.display_index < display_index
    return last_i if before else last_inter


def write_gop(height: int, width: int, data_type: str, depth: int) -> bytes:
    """Header of the file (3.1)."""
    values = {"n_bytes_header": GOP_HEADER_BYTES, "H": height, "W": width}
    return write_table(GOP_HEADER, values | {"data_type": data_type, "bitdepth - 8": depth - 8})


def write_frame(frame: Frame, generation: str) -> bytes:
    """Header and payload of a frame (4)."""
    values: dict[str, Any] = {
        "display_index": frame.display_index,
        "reserved": 0,
        "frame_type": frame.kind,
        "w": None if frame.kind == "I" else frame.w,
        "global_flow": [Vector(*vector) for vector in frame.flow],
    }
    for k, part in enumerate(frame.parts):
        values |= {f"topology_copy[{k}]": part.copies, f"latents_zero[{k}]": part.zero}
    size, *fields = FRAME_HEADER
    out = write_table(_unchecked(fields), values)
    out += b"".join(_write_part(part, generation) for part in frame.parts)
    n_bytes = len(out) + (1 if len(out) < 127 else 2)
    return write_table([size], {"n_bytes_header": n_bytes}) + out + frame.payload


def _unchecked(table: Iterable[Field]) -> list[Field]:
    """Rows of a table that take any number that their bits can express."""
    return [f if isinstance(f.allowed, tuple) else replace(f, allowed=[]) for f in table]


def _write_part(p: Part, generation: str) -> bytes:
    groups = (ARM, UPS, SYN, LAT[generation])
    topology = [f for i, group in enumerate(groups) if not p.copies >> i & 1 for f in group]
    values: dict[str, Any] = {
        "arm.n": p.arm[0] // CONTEXT_UNIT[generation],
        "arm.L": p.arm[1],
        **dict(zip((field.name for field in UPS), p.ups, strict=True)),
        "n_syn": len(p.syn),
        "syn": [dict(zip(("out", "ks", "residual", "relu"), s, strict=True)) for s in p.syn],
        "n_res": len(p.latent),
        "noise_mask": _mask(p.noise),
        "latent_mask": _mask(p.latent),
        "latent": p.latent,
        "blk": p.blk,
    }
    for module in p.modules:
        for name, numbers in (("q", p.q), ("eg", p.eg), ("len", p.length)):
            for kind, number in zip("wb", numbers[module], strict=True):
                values[f"{module}.{name}_{kind}"] = number
    values |= {f"len_lat[{i}]": n_bytes for i, n_bytes in enumerate(p.len_lat)}
    return write_table(
        _unchecked((*topology, *coding_table(bool(p.zero), tuple(p.latent)))), values
    )


def _mask(bits: Sequence[int]) -> int:
    return sum(bit << (7 - i) for i, bit in enumerate(bits))
