# SPDX-License-Identifier: BSD-3-Clause
"""The estimate of work, which is what the limit on multiply-accumulates looks at."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
import numchic
from numchic.v5.work import estimate_work
from numchic_bitstream import (
    CoolChic,
    CoolChicHeader,
    Frame,
    FrameHeader,
    LimitError,
    Limits,
    Stream,
    SynthesisLayer,
    VideoHeader,
    count_macs,
    read_stream,
    write_stream,
)
from strategies import coolchic_headers

BARE: dict[str, Any] = {
    "output_feature_ifce": 0,
    "hyperlatent_resolution": None,
    "latent_resolution": (0, 0),
    "linear_stabiliser_synth": 0,
    "syn_layer": (SynthesisLayer(3, 1, "linear", "relu"),),
}
CHANNELS = (SynthesisLayer(127, 15, "linear", "relu"), SynthesisLayer(3, 15, "linear", "relu"))


@given(header=coolchic_headers())
def test_work_is_more_than_multiply_accumulates(header: CoolChicHeader) -> None:
    assert estimate_work(header) > count_macs(header).total


@given(header=coolchic_headers(), extra=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_work_grows_with_the_picture(header: CoolChicHeader, extra: tuple[int, int]) -> None:
    height, width = header.img_size
    if header.output_feature_ifce:
        # Which grids have an IFCE depends on the height otherwise.
        header = dataclasses.replace(header, ifce_resolution=(0, 15))
    larger = dataclasses.replace(header, img_size=(height + extra[0], width + extra[1]))
    assert estimate_work(larger) >= estimate_work(header)


# What decoding took in milliseconds where this was measured, and a unit of work is some 0.1 ns.
# Multiply-accumulates alone would say a hundredth of it, or nothing.
@pytest.mark.parametrize(
    ("milliseconds", "changes"),
    [
        (160, {"img_size": (4000, 4000), "latent_resolution": (15, 15)}),
        (30, {"img_size": (16383, 1)}),
        (60, {"img_size": (16383, 9)}),
        (5900, {"img_size": (16383, 1), "syn_layer": CHANNELS}),
        (60, {"img_size": (1000, 1000), "flag_common_randomness": 1}),
        (
            20,
            {
                "img_size": (1, 1),
                "latent_resolution": (0, 15),
                "hyperlatent_resolution": (0, 15),
                "output_feature_ifce": 31,
                "ifce_resolution": (0, 15),
            },
        ),
    ],
)
def test_work_counts_what_multiply_accumulates_do_not(
    milliseconds: int, changes: dict[str, Any]
) -> None:
    header = builders.header(**(BARE | changes))
    work = estimate_work(header)
    assert milliseconds * 10**7 / 5 < work < milliseconds * 10**7 * 5
    assert count_macs(header).total < work / 10


def test_work_of_many_frames_is_noticed_early() -> None:
    """A frame takes some bytes of a stream and some milliseconds of a decoder."""
    still = read_stream(builders.stream())
    frames = tuple(
        dataclasses.replace(
            still.frames[0], header=dataclasses.replace(still.frames[0].header, display_index=i)
        )
        for i in range(100)
    )
    data = write_stream(Stream(VideoHeader(intra_pos=tuple(range(100))), frames))
    work = estimate_work(still.frames[0].residue.header)
    with pytest.raises(LimitError) as caught:
        numchic.open(data, limits=Limits(total_work=10 * work))
    assert (caught.value.field, caught.value.found) == ("total_work", 11 * work)
    with pytest.raises(LimitError) as caught:
        numchic.open(data, limits=Limits(work=work - 1))
    assert (caught.value.field, caught.value.found) == ("work", work)
    assert numchic.open(data, limits=Limits(work=work, total_work=100 * work)).n_frames == 100


def test_long_videos_are_within_the_default_limits() -> None:
    """Work is limited by frame: 500 frames of 832 x 480 were refused when it was that of all."""
    header = builders.header(
        img_size=(480, 832), latent_resolution=(0, 6), spatial_context_arm=16,
        n_hidden_layers_arm=2, nn_n_bytes=1, n_bytes_latent=4,
    )  # fmt: skip
    coolchic = CoolChic(header, bytes(1), bytes(4))
    frames = tuple(Frame(FrameHeader(display_index=i), coolchic) for i in range(500))
    data = write_stream(Stream(VideoHeader(intra_pos=tuple(range(500))), frames))
    assert 500 * estimate_work(header) > 5e11
    assert numchic.open(data).n_frames == 500
