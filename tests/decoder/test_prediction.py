# SPDX-License-Identifier: BSD-3-Clause
"""References, joining, and whole videos against the plain twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import builders
import numchic
from numchic.references import shifted_reference
from numchic.schedule import BAND_ROWS, Meter
from numchic.v5.prediction import combine, predict
from numchic_bitstream import CorruptError, FrameHeader
from reference import video as naive


def picture(data_type: Any, bitdepth: int, size: tuple[int, int] = (6, 8)) -> numchic.Picture:
    random = np.random.default_rng(bitdepth)
    chroma = (size[0] // 2, size[1] // 2) if data_type == "yuv420" else size
    dtype = np.uint8 if bitdepth == 8 else np.uint16
    planes = [random.integers(0, 1 << bitdepth, shape, dtype) for shape in (size, chroma, chroma)]
    return numchic.Picture((planes[0], planes[1], planes[2]), data_type, bitdepth)


@pytest.mark.parametrize("data_type", ["rgb", "yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
@pytest.mark.parametrize("flow", [(0, 0), (1, -2), (-3, 3), (8191, -8191)])
def test_references(data_type: str, bitdepth: int, flow: tuple[int, int]) -> None:
    reference = picture(data_type, bitdepth)
    expected = naive.shift(naive.reference_signal(reference.planes, bitdepth), *flow)
    found = shifted_reference(reference, flow)
    assert found.dtype == np.float32
    assert np.array_equal(np.moveaxis(found[:, :, :3], 2, 0), expected)
    assert not found[:, :, 3].any()


def test_gains_are_clipped() -> None:
    residue = np.zeros((5, 1, 4), np.float32)
    residue[:3] = 0.125
    residue[3] = [-9, -0.5, 0, 9]
    residue[4] = [0, 0, -9, 0.25]
    warped = np.empty((2, 3, 1, 4), np.float32)
    warped[0], warped[1] = 1, 0.5
    signal = combine(residue, warped)
    assert signal[0, 0].tolist() == [0.125, 0.125, 0.5 * 0.5 + 0.125, 0.75 + 0.5 * 0.25 + 0.125]
    assert combine(residue[:4], warped[:1])[2, 0].tolist() == [0.125, 0.125, 0.625, 1.125]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_must_be_finite(value: float) -> None:
    header = FrameHeader(
        frame_type="P", index_references=(0,), global_flow=(0, 0), warp_filter_size=8
    )
    motion = np.zeros((2, 6, 8), np.float32)
    motion[1, 2, 3] = value
    residue = np.zeros((4, 6, 8), np.float32)
    with pytest.raises(CorruptError, match="motion overflows") as caught:
        predict(header, residue, motion, [picture("rgb", 8)], lambda *_: None, Meter(), offset=99)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.synthesis", 99)


@pytest.mark.parametrize("warp_filter_size", [2, 4, 6, 14])
@pytest.mark.parametrize("data_type", ["rgb", "yuv420", "yuv444"])
def test_videos_equal_the_naive_twin(warp_filter_size: int, data_type: str) -> None:
    data = builders.video(
        warp_filter_size, frame_data_type=data_type, warp_filter_size=warp_filter_size
    )
    expected = naive.decode(data)
    for found, planes in zip(numchic.decode_frames(data), expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found.planes, planes, strict=True))


def test_bands_are_joined() -> None:
    """A video of more rows than a band has."""
    data = builders.video(img_size=(BAND_ROWS + 6, 4))
    expected = naive.decode(data)
    for found, planes in zip(numchic.decode_frames(data), expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found.planes, planes, strict=True))
