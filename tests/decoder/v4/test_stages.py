# SPDX-License-Identifier: BSD-3-Clause
"""Check values of appendix D, stage by stage."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numchic.v4.arm import prepare_arm
from numchic.v4.latents import decode_plane, interior, new_plane
from numchic.v4.motion import interpolation_table
from numchic.v4.synthesis import MARGIN, Synthesiser
from numchic.v4.upsampling import Upsampler
from numchic_bitstream.v4 import CoolChic, read_stream
from numchic_bitstream.v4.parameters import read_numbers, read_parameters
from v4_vectors import Vector4, v4_vectors

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="too large for kernels in plain Python"
)


def crcs(arrays: Iterable[NDArray[Any]], kind: str) -> str:
    return " ".join(f"{zlib.crc32(array.astype(kind).tobytes()):08x}" for array in arrays)


def only(name: str) -> pytest.MarkDecorator:
    vectors = [v for v in v4_vectors() if v.id in {name, "no-vectors"}]
    return pytest.mark.parametrize("vector", vectors)


def decode_stages(part: CoolChic, img_size: tuple[int, int]) -> tuple[str, str, str]:
    """Checksums of latents, synthesis inputs and synthesis outputs."""
    header, parameters = part.header, read_parameters(part)
    arm = prepare_arm(parameters.arm)
    context_size, blk = header.topology.arm.context_size, header.blk
    planes = {}
    for i in header.derived.coded_planes:
        plane = new_plane(*header.derived.sizes[i])
        assert list(decode_plane(part.latents[i], arm, context_size, blk, i, plane))
        planes[i] = plane
    height, width = header.derived.output_size
    upsampler = Upsampler(header, parameters, part.noise_start)
    upsampler.prepare(planes)
    inputs = np.empty((header.n_inputs, height, width + 2 * MARGIN), np.float32)
    upsampler.rows(0, MARGIN, inputs)
    dense = inputs[:, :, MARGIN:-MARGIN].copy()
    signal = Synthesiser(header, parameters.syn).run(inputs, height, 0, height)
    return crcs(map(interior, planes.values()), "<i4"), crcs(dense, "<f4"), crcs(signal, "<f4")


@only("a365_mse")
def test_a_picture(vector: Vector4) -> None:
    stream = read_stream(vector.path.read_bytes())
    part = stream.frames[0].parts[0]
    numbers = read_numbers(part)
    named = [numbers[name] for name in ("arm.w", "arm.b", "syn.w", "syn.b")]
    assert crcs(named, "<i4") == "1827037a ded1e569 283445e5 3bd13f5e"
    ups = [kernel[:4] * 4096 for kernel in read_parameters(part).ups]
    assert ups[0].tolist() == [-192, -104, -1320, -3744]
    assert decode_stages(part, stream.img_size) == (
        "5dae0acf ae6aa952 bdf9b944 d8b24620 61fedf64 04a387f5 215d2fb8",
        "4df6b902 8943a74d f9e3fce9 596e4c29 ee67dc5e d349c1a9 81e600d1",
        "8496741c 06f9b786 3a3b631b",
    )


@only("a365_wd")
def test_a_picture_with_common_randomness(vector: Vector4) -> None:
    stream = read_stream(vector.path.read_bytes())
    assert decode_stages(stream.frames[0].parts[0], stream.img_size) == (
        "c50d2b71 98b98fc0 b66b51f0 c967d84b d7bce78a 31c9cf44 51a9d3dd",
        "c21a0fb8 7174b684 6d5ec5a4 7dc0ea2d a06615c6 e626735d 34ef8cd7 "
        "f08d1666 e4eb2210 3a6372ad 956d805d 76b91d82 0ed848ea bab720ec",
        "e19c1a52 d0c3706d 97b411f0",
    )


@only("C-BasketballDrill_832x480_50p_yuv420_8b")
def test_a_b_frame(vector: Vector4) -> None:
    stream = read_stream(vector.path.read_bytes())
    assert stream.places[2][:2] == (16, "B")
    assert stream.places[2].references == (0, 32)
    residue, motion = stream.frames[2].parts
    latents, _, signal = decode_stages(residue, stream.img_size)
    assert latents == "e61e1af2 c710f5a6 f59fca48 c2103fdd 42dffe75 8864d857 8f6ea856"
    assert signal == "4563c85c 9284480d 3394fe42 cd35c209"
    assert decode_stages(motion, stream.img_size) == (
        "32790058 3bb3b359 26b411bf c4866b25 f363798d",
        "9708db9a 4c965b00 a5c8b457 3ff22c8b a81c1024",
        "de384938 c428a706 f5e7da29 beb5fcbd 005e303d",
    )


def test_interpolation_tables() -> None:
    tables = [interpolation_table(n_taps) for n_taps in range(2, 18, 2)]
    assert crcs(tables, "<f4") == (
        "8b45705f d40ce0ae 28dd51c6 14a2925c fbe0c65c ba4d2641 59bf4a48 6d218537"
    )
