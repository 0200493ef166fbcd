# SPDX-License-Identifier: BSD-3-Clause
"""Section 14: what a decoder has to check, row by row."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from naive.v4 import headers, streams
from naive.v4.headers import Frame, Part
from numchic_bitstream import CorruptError, LimitError, Limits, NumchicError, TruncatedError
from numchic_bitstream.errors import UnsupportedError
from numchic_bitstream.v4 import read_stream

VIDEO = ((0, "I"), (2, "P"), (1, "B"))


def build(
    change: Callable[[list[Frame]], None] = lambda _: None,
    *,
    size: tuple[int, int] = (8, 8),
    data_type: str = "yuv420",
    depth: int = 8,
    generation: str = "4.2",
    frames: tuple[tuple[int, str], ...] = VIDEO,
) -> bytes:
    """A small video whose headers are changed; payloads are zeros."""
    rng = random.Random(11)
    changes: dict[str, Any] = {
        "arm": (8, 1),
        "ups": (1, 4, 1, 3),
        "latent": [1, 1],
        "noise": [0, 0],
        "blk": 4,
        "zero": 0,
    }
    data = streams.make_stream(rng, generation, (8, 8), "yuv420", 8, frames, **changes)
    _, parsed = headers.parse(data, generation)
    for frame in parsed:
        frame.parts = [resolve(part) for part in frame.parts]
    change(parsed)
    for frame in parsed:
        lengths = [n for part in frame.parts for pair in part.length.values() for n in pair]
        lengths += [n for part in frame.parts for n in part.len_lat]
        frame.payload = bytes(min(sum(lengths), 10_000))
    kind = streams.DATA_TYPES.index(data_type)
    out = headers.write_gop(*size, kind, depth)
    return out + b"".join(headers.write_frame(frame, generation) for frame in parsed)


def resolve(part: Part) -> Part:
    """Without copies, and with latents."""
    return replace(part, copies=0)


def part_change(**changes: Any) -> Callable[[list[Frame]], None]:
    def change(frames: list[Frame]) -> None:
        frames[0].parts[0] = replace(frames[0].parts[0], **changes)

    return change


def motion_change(**changes: Any) -> Callable[[list[Frame]], None]:
    def change(frames: list[Frame]) -> None:
        frames[1].parts[1] = replace(frames[1].parts[1], **changes)

    return change


def frame_change(index: int, **changes: Any) -> Callable[[list[Frame]], None]:
    def change(frames: list[Frame]) -> None:
        frames[index] = replace(frames[index], **changes)

    return change


def rejected(data: bytes, limits: Limits | None = None) -> NumchicError:
    with pytest.raises(NumchicError) as caught:
        read_stream(data, limits)
    error = caught.value
    if not isinstance(error, LimitError):
        assert error.offset is not None
        assert 0 <= error.offset <= len(data)
    return error


def test_the_stream_itself_is_legal() -> None:
    assert len(read_stream(build()).frames) == 3


MODES = [(5, 1, 0, 1), (3, 1, 0, 0)]

HEADER_CASES: dict[str, tuple[Callable[[list[Frame]], None], type[NumchicError], str]] = {
    "context size 20": (part_change(arm=(20, 1)), UnsupportedError, "arm.n"),
    "no context": (part_change(arm=(0, 1)), UnsupportedError, "arm.n"),
    "no upsampling kernel": (part_change(ups=(0, 4, 1, 3)), UnsupportedError, "ups.NU"),
    "no refinement kernel": (part_change(ups=(1, 4, 0, 3)), UnsupportedError, "pre.NP"),
    "upsampling kernel of 6": (part_change(ups=(1, 6, 1, 3)), UnsupportedError, "ups.KU"),
    "refinement kernel of 4": (part_change(ups=(1, 4, 1, 4)), UnsupportedError, "pre.KP"),
    "one layer": (part_change(syn=[(3, 1, 0, 1)]), UnsupportedError, "n_syn"),
    "no outputs": (part_change(syn=[(0, 1, 0, 1), (3, 1, 0, 0)]), UnsupportedError, "syn[0].out"),
    "5 x 5": (part_change(syn=[(3, 5, 0, 1), (3, 1, 0, 0)]), UnsupportedError, "syn[0].ks"),
    "residual": (part_change(syn=[(3, 3, 1, 1), (3, 1, 0, 0)]), UnsupportedError, "syn[0].out"),
    "two outputs": (part_change(syn=[(5, 1, 0, 1), (2, 1, 0, 0)]), UnsupportedError, "syn[1].out"),
    "fused 0": (part_change(syn=[(5, 1, 0, 0), (3, 1, 0, 0)]), UnsupportedError, "syn[0].relu"),
    "fused 1": (part_change(syn=[(3, 1, 0, 1), (3, 1, 1, 0)]), UnsupportedError, "syn[1].residual"),
    "one motion output": (
        motion_change(syn=[(5, 1, 0, 1), (1, 1, 0, 0)]), UnsupportedError, "syn[1].out",
    ),
    "one resolution": (
        part_change(latent=[1], noise=[0], len_lat=[3]), CorruptError, "n_res",
    ),
    "coarsest plane only": (
        motion_change(latent=[0, 1], len_lat=[0, 0]), UnsupportedError, "latent_mask",
    ),
    "reduced residue": (
        part_change(latent=[0, 1, 1], noise=[0, 0, 0], len_lat=[0, 0, 0]),
        UnsupportedError, "latent_mask",
    ),
    "reduced noise": (
        motion_change(latent=[0, 1, 1], noise=[1, 0, 0], len_lat=[0, 0, 0]),
        UnsupportedError, "noise_mask",
    ),
    "blocks of 16": (
        motion_change(latent=[0, 0, 0, 0, 1, 1], noise=[0] * 6, len_lat=[0] * 6),
        UnsupportedError, "latent_mask",
    ),
    "noise beyond": (part_change(noise=[0, 0, 1]), CorruptError, "noise_mask"),
    "no latent": (part_change(latent=[0, 0], len_lat=[0, 0]), CorruptError, "latent_mask"),
    "block of 12": (part_change(blk=12), CorruptError, "blk"),
    "block of -3": (part_change(blk=-3), CorruptError, "blk"),
    "arm q": (
        part_change(q={"arm": (9, 9), "ups": (4, 0), "syn": (5, 14)}), CorruptError, "arm.q_w",
    ),
    "ups q_b": (
        part_change(q={"arm": (2, 9), "ups": (4, 255), "syn": (5, 14)}), CorruptError, "ups.q_b",
    ),
    "syn q": (
        part_change(q={"arm": (2, 9), "ups": (4, 0), "syn": (5, 25)}), CorruptError, "syn.q_b",
    ),
    "order 13": (
        part_change(eg={"arm": (0, 0), "ups": (13, 0), "syn": (0, 0)}), CorruptError, "ups.eg_w",
    ),
    "ups eg_b": (
        part_change(eg={"arm": (0, 0), "ups": (0, 1), "syn": (0, 0)}), CorruptError, "ups.eg_b",
    ),
    "index twice": (frame_change(2, display_index=2), CorruptError, "display_index"),
    "no later frame": (frame_change(2, display_index=3), CorruptError, "display_index"),
    "first is B": (lambda frames: frames.reverse(), CorruptError, "frame_type"),
    "first index 1": (frame_change(0, display_index=1), CorruptError, "display_index"),
    "flow": (frame_change(1, flow=[(0, -(2**20) - 1)]), CorruptError, "global_flow[0].y"),
    "gap": (frame_change(1, display_index=3), TruncatedError, "display_index"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADER_CASES)
def test_headers(name: str) -> None:
    change, kind, field = HEADER_CASES[name]
    error = rejected(build(change))
    assert (type(error), error.field) == (kind, field)


def test_file() -> None:
    data = build()
    assert rejected(data[:7]).field is not None
    for byte, value, field in [
        (0, 7, "n_bytes_header"), (2, 0, "H"), (4, 0, "W"), (5, 0x30, "data_type"),
        (5, 0x09, "bitdepth - 8"), (5, 0x11, "bitdepth - 8"), (5, 0x21, "bitdepth - 8"),
    ]:  # fmt: skip
        changed = bytearray(data)
        changed[byte] = value
        error = rejected(bytes(changed))
        assert (type(error), error.field) == (CorruptError, field)


@pytest.mark.parametrize(("size", "field"), [((7, 8), "H"), ((8, 7), "W")])
def test_odd_sizes(size: tuple[int, int], field: str) -> None:
    error = rejected(build(size=size))
    assert (type(error), error.field) == (UnsupportedError, field)


def test_inter_frames_in_rgb() -> None:
    error = rejected(build(data_type="rgb"))
    assert (type(error), error.field) == (CorruptError, "frame_type")


def test_header_size() -> None:
    data = bytearray(build())
    data[6] += 1
    assert rejected(bytes(data)).field == "n_bytes_header"


def test_reserved_bits_and_type() -> None:
    for value in (0x80, 0x08, 0x03):
        data = bytearray(build())
        data[8] |= value
        assert type(rejected(bytes(data))) is CorruptError


def test_trailing_data() -> None:
    assert isinstance(rejected(build() + b"\0\0\0"), CorruptError | TruncatedError)


def test_lengths() -> None:
    lengths = {"arm": (0, 5), "ups": (5, 0), "syn": (5, 5)}
    assert rejected(build(part_change(length=lengths))).field is not None
    huge = {"arm": (2**31 - 1, 5), "ups": (5, 0), "syn": (5, 5)}
    error = rejected(build(part_change(length=huge)))
    assert type(error) is TruncatedError


def test_missing_parameters() -> None:
    def change(frames: list[Frame]) -> None:
        part = frames[0].parts[0]
        n_arm = sum(part.length["arm"])
        part.length["arm"] = 0, n_arm

    error = rejected(build(change))
    assert (type(error), error.field) == (CorruptError, "arm.len_w")


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(pixels=63), "pixels"),
        (Limits(frames=2), "frames"),
        (Limits(macs=1000), "macs"),
        (Limits(stream_bytes=100), "stream_bytes"),
    ],
)
def test_limits(limits: Limits, field: str) -> None:
    error = rejected(build(), limits)
    assert (type(error), error.field) == (LimitError, field)


def test_a_huge_display_index_is_a_limit() -> None:
    error = rejected(build(frame_change(1, display_index=10_000_000)))
    assert type(error) is LimitError
