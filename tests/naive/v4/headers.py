# SPDX-License-Identifier: BSD-3-Clause
"""Headers, parsing and writing: specification, sections 3 to 6, appendices C.1 and C.2."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

MODULES = ("arm", "ups", "syn")


@dataclass
class Part:
    """Header of one cool-chic; ``topology`` by group, the rest as in 5.2."""

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
        return ("arm", "syn") if self.zero else MODULES

    @property
    def n_inputs(self) -> int:
        return sum(self.latent) + sum(self.noise)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Numbers of weights and biases."""
        c, n_hidden = self.arm
        nu, ku, np_, kp = self.ups
        weights = biases = 0
        n_in = self.n_inputs
        for out, ks, _, _ in self.syn:
            weights += out * n_in * ks * ks
            biases += out
            n_in = out
        return {
            "arm": (n_hidden * c * c + 2 * c, n_hidden * c + 2),
            "ups": (nu * ((ku + 1) // 2) + np_ * ((kp + 1) // 2), 0),
            "syn": (weights, biases),
        }


@dataclass
class Frame:
    display_index: int
    kind: str
    parts: list[Part]
    w: int = 0
    flow: list[tuple[int, int]] = field(default_factory=list)
    payload: bytes = b""


class Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def u8(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def uvar(self) -> int:
        value = 0
        while True:
            byte = self.u8()
            value = value << 7 | byte & 127
            if byte < 128:
                return value

    def svar(self) -> int:
        value = self.uvar()
        return -(value >> 1) if value & 1 else value >> 1


def uvar(value: int) -> bytes:
    groups = [value & 127]
    while value >> 7:
        value >>= 7
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def svar(value: int) -> bytes:
    return uvar(2 * abs(value) + (value < 0))


def parse(data: bytes, generation: str) -> tuple[tuple[int, int, int, int], list[Frame]]:
    """(height, width, type, depth) and the frames in coding order."""
    gop = (
        int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big"),
        data[5] >> 4, 8 + (data[5] & 15),
    )  # fmt: skip
    frames: list[Frame] = []
    position = 6
    while position < len(data):
        start = position
        r = Reader(data, position)
        size, d, flags0 = r.uvar(), r.uvar(), r.u8()
        kind = "IPB"[flags0 & 3]
        frame = Frame(d, kind, [])
        flags = [(flags0 >> 2 & 1, flags0 >> 3 & 15)]
        source = None
        if kind != "I":
            flags1 = r.u8()
            flags.append((flags1 & 1, flags1 >> 1 & 15))
            frame.w = flags1 >> 5
            frame.flow = [(r.svar(), r.svar()) for _ in range("IPB".index(kind))]
            source = topology_source(frames, d)
        for k, (zero, copies) in enumerate(flags):
            model = None if source is None else source.parts[k if source.kind != "I" else 0]
            frame.parts.append(_parse_part(r, generation, zero, copies, model))
        assert r.position == start + size
        n_bytes = sum(sum(sum(p.length.values(), ())) + sum(p.len_lat) for p in frame.parts)
        position = r.position + n_bytes
        frame.payload = data[r.position : position]
        frames.append(frame)
    assert position == len(data)
    return gop, frames


def topology_source(frames: list[Frame], d: int) -> Frame | None:
    """Section 4.1, for an inter frame with display index d."""
    last_i: Frame | None = None
    last_inter: Frame | None = None
    for frame in frames:
        if frame.kind == "I":
            last_i, last_inter = frame, None
        else:
            last_inter = frame
    if last_i is None or last_inter is None:
        return last_i
    if d > last_i.display_index and last_inter.display_index < last_i.display_index:
        return last_i
    return last_inter


def _parse_part(r: Reader, generation: str, zero: int, copies: int, source: Part | None) -> Part:
    if copies:
        assert source is not None
        p = replace(source, zero=zero, copies=copies)
    else:
        p = Part((0, 0), (0, 0, 0, 0), [], [], [], zero=zero)
    if not copies & 1:
        byte = r.u8()
        p.arm = (byte >> 4) * (4 if generation == "4.2" else 8), byte & 15
    if not copies & 2:
        ups, pre = r.u8(), r.u8()
        p.ups = ups >> 4, ups & 15, pre >> 4, pre & 15
    if not copies & 4:
        p.syn = []
        for _ in range(r.u8()):
            out, ks, mode = r.u8(), r.u8(), r.u8()
            p.syn.append((out, ks, mode >> 4, mode & 15))
    if not copies & 8:
        n_res = r.u8()
        p.noise = [0] * n_res
        if generation == "4.0":
            p.latent = [r.u8() for _ in range(n_res)]
        else:
            if generation == "4.2":
                mask = r.u8()
                p.noise = [mask >> (7 - i) & 1 for i in range(n_res)]
            mask = r.u8()
            p.latent = [mask >> (7 - i) & 1 for i in range(n_res)]
    p.blk = r.u8()
    p.blk -= 256 if p.blk > 127 else 0
    p.q = {m: (r.u8(), r.u8()) for m in p.modules}
    p.eg = {m: (r.u8(), r.u8()) for m in p.modules}
    p.length = {m: (r.uvar(), r.uvar()) for m in p.modules}
    p.len_lat = [r.uvar() if there and not zero else 0 for there in p.latent]
    return p


def write_gop(height: int, width: int, data_type: int, depth: int) -> bytes:
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\6" + sizes + bytes([data_type << 4 | depth - 8])


def write_frame(frame: Frame, generation: str) -> bytes:
    """Header and payload."""
    flags = [p.zero << 2 | p.copies << 3 for p in frame.parts[:1]]
    out = uvar(frame.display_index) + bytes([flags[0] | "IPB".index(frame.kind)])
    if frame.kind != "I":
        motion = frame.parts[1]
        out += bytes([motion.zero | motion.copies << 1 | frame.w << 5])
        out += b"".join(svar(x) + svar(y) for x, y in frame.flow)
    out += b"".join(_write_part(p, generation) for p in frame.parts)
    size = len(out) + 1
    if size > 127:
        size += 1
    return uvar(size) + out + frame.payload


def _write_part(p: Part, generation: str) -> bytes:
    out = b""
    if not p.copies & 1:
        out += bytes([p.arm[0] // (4 if generation == "4.2" else 8) << 4 | p.arm[1]])
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
