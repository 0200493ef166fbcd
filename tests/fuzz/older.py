# SPDX-License-Identifier: BSD-3-Clause
"""Mutations of 4.x streams that leave lengths and header sizes as they have to be.

Without them hardly anything gets past the walk over the headers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from numchic_conformance.synthetic.v4.headers import Frame, Part, write_frame
from reference.v4.headers import parse

GENERATIONS = ("4.2", "4.1", "4.0")
_GOP_BYTES = 6

Change = Callable[[Random, Part], None]


def change_stream(rng: Random, data: bytes) -> bytes | None:
    """Change one thing in one frame; None if the stream is broken already."""
    for generation in GENERATIONS:
        try:
            _, frames = parse(data, generation)
            frame = rng.choice(frames)
            if rng.random() < 0.3:
                _change_payload(rng, frame)
            elif frame.kind != "I" and rng.random() < 0.2:
                _change_motion(rng, frame)
            else:
                rng.choice(_CHANGES)(rng, rng.choice(frame.parts))
            _fit_payload(frame)
            return data[:_GOP_BYTES] + b"".join(write_frame(f, generation) for f in frames)
        except (ValueError, IndexError, AssertionError, KeyError, OverflowError):
            continue
    return None


def _fit_payload(frame: Frame) -> None:
    size = sum(sum(sum(p.length.values(), ())) + sum(p.len_lat) for p in frame.parts)
    frame.payload = frame.payload[:size].ljust(min(size, 1 << 12), b"\0")


def _change_payload(rng: Random, frame: Frame) -> None:
    out = bytearray(frame.payload)
    at = rng.randrange(len(out))
    out[at] = rng.choice((0, 255, out[at] ^ 1 << rng.randrange(8)))
    frame.payload = bytes(out)


def _change_motion(rng: Random, frame: Frame) -> None:
    frame.w = rng.randrange(8)
    bound = 1 << rng.randrange(22)
    frame.flow = [(rng.randint(-bound, bound), rng.randint(-bound, bound)) for _ in frame.flow]


def _arm(rng: Random, p: Part) -> None:
    p.arm = rng.choice((8, 12, 16, 24, 32)), rng.randrange(4)


def _ups(rng: Random, p: Part) -> None:
    numbers = list(p.ups)
    numbers[rng.randrange(4)] = rng.randrange(16)
    p.ups = numbers[0], numbers[1], numbers[2], numbers[3]


def _syn(rng: Random, p: Part) -> None:
    i = rng.randrange(len(p.syn))
    layer = list(p.syn[i])
    layer[rng.randrange(4)] = rng.randrange(4)
    p.syn = [*p.syn[:i], (layer[0], layer[1], layer[2], layer[3]), *p.syn[i + 1 :]]


def _planes(rng: Random, p: Part) -> None:
    mask = rng.choice((p.latent, p.noise))
    mask[rng.randrange(len(mask))] ^= 1


def _blk(rng: Random, p: Part) -> None:
    p.blk = rng.choice((1, -1)) << rng.randrange(7) if rng.random() < 0.8 else 0


def _steps(rng: Random, p: Part) -> None:
    m = rng.choice(p.modules)
    p.q[m] = rng.randrange(9), 0 if m == "ups" else rng.randrange(17)


def _orders(rng: Random, p: Part) -> None:
    m = rng.choice(p.modules)
    p.eg[m] = rng.randrange(13), 0 if m == "ups" else rng.randrange(13)


def _lengths(rng: Random, p: Part) -> None:
    i = rng.randrange(len(p.len_lat))
    p.len_lat[i] = max(0, p.len_lat[i] + rng.randint(-2, 2)) if rng.random() < 0.7 else 0


def _zero(rng: Random, p: Part) -> None:
    p.zero ^= 1


_CHANGES: tuple[Change, ...] = (
    _arm, _ups, _syn, _planes, _blk, _steps, _orders, _lengths, _zero,
)  # fmt: skip
