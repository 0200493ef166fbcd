# SPDX-License-Identifier: BSD-3-Clause
"""Headers of 4.x streams as they are written (coolchic-4.2, sections 3 to 5, C.1, C.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MODULES = ("arm", "ups", "syn")
DATA_TYPES = ("rgb", "yuv420", "yuv444")


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


def uvar(value: int) -> bytes:
    """Write an unsigned number (1.2)."""
    groups = [value & 127]
    while value >> 7:
        value >>= 7
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def svar(value: int) -> bytes:
    """Write a signed number (1.2)."""
    return uvar(2 * abs(value) + (value < 0))


def write_gop(height: int, width: int, data_type: int, depth: int) -> bytes:
    """Header of the file (3.1)."""
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\6" + sizes + bytes([data_type << 4 | depth - 8])


def write_frame(frame: Frame, generation: str) -> bytes:
    """Header and payload of a frame (4)."""
    first = frame.parts[0]
    flags = first.zero << 2 | first.copies << 3 | "IPB".index(frame.kind)
    out = uvar(frame.display_index) + bytes([flags])
    if frame.kind != "I":
        motion = frame.parts[1]
        out += bytes([motion.zero | motion.copies << 1 | frame.w << 5])
        out += b"".join(svar(x) + svar(y) for x, y in frame.flow)
    out += b"".join(_write_part(part, generation) for part in frame.parts)
    size = len(out) + 1
    if size > 127:
        size += 1
    return uvar(size) + out + frame.payload


def _write_part(p: Part, generation: str) -> bytes:
    out = b""
    if not p.copies & 1:
        unit = 4 if generation == "4.2" else 8
        out += bytes([p.arm[0] // unit << 4 | p.arm[1]])
    if not p.copies & 2:
        out += bytes([p.ups[0] << 4 | p.ups[1], p.ups[2] << 4 | p.ups[3]])
    if not p.copies & 4:
        out += bytes([len(p.syn)])
        for n_out, ks, residual, relu in p.syn:
            out += bytes([n_out, ks, residual << 4 | relu])
    if not p.copies & 8:
        out += bytes([len(p.latent)])
        if generation == "4.0":
            out += bytes(p.latent)
        else:
            masks = [p.noise, p.latent] if generation == "4.2" else [p.latent]
            out += bytes(sum(bit << (7 - i) for i, bit in enumerate(mask)) for mask in masks)
    out += bytes([p.blk & 255])
    out += b"".join(bytes(p.q[m]) for m in p.modules)
    out += b"".join(bytes(p.eg[m]) for m in p.modules)
    out += b"".join(uvar(n) for m in p.modules for n in p.length[m])
    if not p.zero:
        out += b"".join(uvar(n) for n, there in zip(p.len_lat, p.latent, strict=True) if there)
    return out
