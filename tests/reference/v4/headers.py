# SPDX-License-Identifier: BSD-3-Clause
"""Parsing of headers: specification, sections 3 to 6, appendices C.1 and C.2."""

from __future__ import annotations

from dataclasses import replace

from numchic_conformance.synthetic.v4.headers import Frame, Part, topology_source


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
