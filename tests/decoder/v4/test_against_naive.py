# SPDX-License-Identifier: BSD-3-Clause
"""The decoder against the naive one, on streams of random networks, stage by stage and whole."""

from __future__ import annotations

import os
from typing import get_args

import numpy as np
import pytest

import numchic
from numchic.v4.arm import context_positions, evaluate, prepare_arm
from numchic.v4.frame import FrameWriter
from numchic.v4.motion import interpolation_table, warp_blocks, warp_samples
from numchic.v4.prediction import combine
from numchic.v4.synthesis import MARGIN, Synthesiser
from numchic.v4.upsampling import double_rows
from numchic_bitstream.structure import FrameDataType
from numchic_bitstream.v4 import read_stream
from numchic_bitstream.v4.headers import GENERATIONS, Generation
from numchic_bitstream.v4.parameters import ArmLayer, read_parameters
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.headers import Part
from numchic_conformance.synthetic.v4.streams import make_stream
from reference.v4 import decoder, latents, motion, planes
from reference.v4.headers import parse

DATA_TYPES: tuple[FrameDataType, ...] = get_args(FrameDataType)

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
VIDEOS = (
    ((0, "I"), (1, "P")),
    ((0, "I"), (2, "P"), (1, "B")),
    ((0, "I"), (4, "I"), (2, "B"), (1, "B"), (3, "P")),
)


def check(data: bytes, generation: str) -> None:
    expected = decoder.decode(data, generation)
    pictures = list(numchic.decode_frames(data, threads=1))
    assert len(pictures) == len(expected)
    for picture, samples in zip(pictures, expected, strict=True):
        for plane, wanted in zip(picture.planes, samples, strict=True):
            np.testing.assert_array_equal(plane, wanted)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 8))
def test_stills(generation: Generation, seed: int) -> None:
    draw = Draw(f"{generation} still {seed}")
    data_type = DATA_TYPES[seed % 3]
    depth = draw.choice((8, 9, 12, 16)) if data_type == "rgb" else draw.choice((8, 10))
    size = (draw.integer(1, 20), draw.integer(1, 20))
    if data_type == "yuv420":
        size = (2 * size[0], 2 * size[1])
    check(make_stream(draw, generation, size, data_type, depth), generation)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("seed", range(1 if INTERPRETED else 8))
def test_videos(generation: Generation, seed: int) -> None:
    draw = Draw(f"{generation} video {seed}")
    data_type = draw.choice(("yuv420", "yuv444"))
    size = (4 * draw.integer(1, 4), 4 * draw.integer(1, 5))
    frames = VIDEOS[seed % 3]
    data = make_stream(draw, generation, size, data_type, draw.choice((8, 10)), frames)
    check(data, generation)


def test_noise_goes_on_in_the_next_frame() -> None:
    draw = Draw(6)
    changes = {"latent": [1, 1, 1], "noise": [1, 0, 1], "zero": 0}
    frames = ((0, "I"), (1, "I"))
    data = make_stream(draw, "4.2", (6, 7), "rgb", 8, frames, **changes)
    assert [frame.parts[0].noise_start for frame in read_stream(data).frames] == [0, 42 + 4]
    check(data, "4.2")


@pytest.mark.parametrize("context_size", [8, 12, 16, 24, 32])
@pytest.mark.parametrize("n_hidden", [0, 1, 3])
@pytest.mark.parametrize("bits", [8, 30])
def test_arm(context_size: int, n_hidden: int, bits: int) -> None:
    """With few bits as in real streams, and with so many that sums wrap around."""
    assert list(context_positions(context_size)) == latents.positions(context_size)
    rng = np.random.default_rng(context_size + n_hidden)
    bound = 1 << bits
    layers = []
    for n_outputs in [context_size] * n_hidden + [2]:
        weight = rng.integers(-bound, bound, (n_outputs, context_size))
        layers.append(ArmLayer(weight, rng.integers(-bound, bound, n_outputs)))
    arm = prepare_arm(tuple(layers))
    for _ in range(10):
        context = rng.integers(-9, 9, context_size)
        x, y, partial = np.zeros((3, arm.output_weight.shape[1]), np.int32)
        x[:context_size] = context
        with np.errstate(over="ignore"):
            found = evaluate(arm, x, y, partial)
        assert found == latents.arm(list(layers), context.tolist())


@pytest.mark.parametrize("n_taps", [2, 4, 6])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_double_rows(n_taps: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(n_taps)
    plane = rng.standard_normal(size, np.float32)
    taps = rng.standard_normal(2 * n_taps, np.float32)
    for out_size in [(2 * size[0], 2 * size[1]), (2 * size[0] - 1, 2 * size[1] - 1)]:
        wanted = planes.double(plane, list(taps[0::2]), list(taps[1::2]), out_size)
        for first in range(out_size[0]):
            out = np.zeros((out_size[0] - first, out_size[1] + 2), np.float32)
            double_rows(plane, taps, first, out_size[1], 1, out)
            np.testing.assert_array_equal(out[:, 1:-1], wanted[first:])


def test_bands_of_the_synthesis() -> None:
    """Rows computed in bands, and rows wider than a tile."""
    draw = Draw(8)
    size = (9, 20) if INTERPRETED else (9, 523)
    data = make_stream(
        draw, "4.2", (9, 20), arm=(8, 0), zero=0, noise=[0, 0], latent=[1, 1],
        syn=[(5, 1, 0, 1), (3, 1, 0, 0), (3, 3, 1, 1), (6, 3, 0, 1), (6, 1, 1, 1), (3, 1, 0, 0)],
    )  # fmt: skip
    part = read_stream(data).frames[0].parts[0]
    layers = read_parameters(part).syn
    x = np.random.default_rng(1).standard_normal((2, *size)).astype(np.float32)
    naive_part: Part = parse(data, "4.2")[1][0].parts[0]
    wanted = planes.synthesise(x, naive_part, [(layer.weight, layer.bias) for layer in layers])
    synthesiser = Synthesiser(part.header, layers)
    for step in (1, 4, 9):
        for first in range(0, size[0], step):
            n_rows = min(step, size[0] - first)
            start, n_inputs = synthesiser.input_rows(size[0], first, n_rows)
            padded = np.empty((2, n_inputs, size[1] + 2 * MARGIN), np.float32)
            padded[:, :, MARGIN:-MARGIN] = x[:, start : start + n_inputs]
            out = synthesiser.run(padded, size[0], first, n_rows)
            np.testing.assert_array_equal(out, wanted[:, first : first + n_rows])


@pytest.mark.parametrize("n_taps", [2, 4, 8, 14, 16])
@pytest.mark.parametrize("block", [1, 4])
def test_warp_blocks(n_taps: int, block: int) -> None:
    rng = np.random.default_rng(n_taps + block)
    height, width = 8, 12
    reference = rng.random((3, height, width), np.float32)
    shape = (2, height // block, width // block)
    flow = (rng.standard_normal(shape) * 5).astype(np.float32)
    flow[0, 0, 0], flow[1, -1, -1] = 1e9, -1e4
    flow[:, 0, 1] = 0.5 / 64  # a tie
    wanted = motion.warp(reference, np.clip(flow, -1e5, 1e5), (0, 0), n_taps, block)
    channels = np.zeros((height, width, 4), np.float32)
    channels[:, :, :3] = reference.transpose(1, 2, 0)
    out = np.empty((3, height // 2, width), np.float32)
    for first in (0, height // 2):
        warp_blocks(channels, flow, block, interpolation_table(n_taps), first, out)
        np.testing.assert_array_equal(out, wanted[:, first : first + height // 2])


def test_warp_samples() -> None:
    rng = np.random.default_rng(5)
    reference = rng.random((3, 5, 7), np.float32)
    flow = (rng.standard_normal((2, 5, 7)) * 3).astype(np.float32)
    channels = np.zeros((5, 7, 4), np.float32)
    channels[:, :, :3] = reference.transpose(1, 2, 0)
    out = np.empty((3, 5, 7), np.float32)
    warp_samples(channels, flow, 0, out)
    np.testing.assert_array_equal(out, motion.warp_40(reference, flow, (0, 0)))


@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("clamped", [True, False])
def test_combine(n_references: int, clamped: bool) -> None:
    rng = np.random.default_rng(n_references)
    residue = rng.standard_normal((4, 4, 6)).astype(np.float32)
    field = rng.standard_normal((5, 2, 3)).astype(np.float32)
    warped = rng.random((n_references, 3, 4, 6), np.float32)
    every = field.repeat(2, 1).repeat(2, 2)
    wanted = motion.predict(residue, every, list(warped), clamped)
    bound = np.float32(1) if clamped else np.float32(np.inf)
    for first in (0, 1, 2):
        out = np.empty((3, 4 - first, 6), np.float32)
        combine(residue, field[4], 2, first, warped[:, :, first:].copy(), bound, out)
        np.testing.assert_array_equal(out, wanted[:, first:])


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_rounding(data_type: str) -> None:
    data = make_stream(Draw(1), "4.2", (4, 6), data_type, 10)
    signal = np.linspace(-0.1, 1.1, 72, dtype=np.float32).reshape(3, 4, 6)
    signal[0, 0, :4] = 0.5 / 1023, 1.5 / 1023, 2.5 / 1023, 1e30
    signal[1, 0, 0] = -np.inf
    writer = FrameWriter(read_stream(data))
    writer.put(0, signal[:, :2])
    writer.put(2, signal[:, 2:])
    picture = writer.picture()
    wanted = motion.output(signal, DATA_TYPES.index(data_type), 10)
    for plane, expected in zip(picture.planes, wanted, strict=True):
        np.testing.assert_array_equal(plane, expected)
    signal[0, 0, 0] = np.nan
    writer.put(0, signal)
    assert writer.picture().planes[0][0, 0] == 0
