# SPDX-License-Identifier: BSD-3-Clause
"""Headers of Y4M files, and what of them metadata keep."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

import builders
import numchic
from numchic.command.cli import main
from numchic.files.images import encode_image, y4m_header
from numchic.files.y4m import Y4M_TAGS, metadata_of_parameters
from numchic.picture import Picture
from numchic_bitstream.metadata import FRAME_RATE, Metadata, frame_rate
from numchic_bitstream.structure import FrameDataType

HEADER = re.compile(
    rb"YUV4MPEG2 W6 H4 F(\d{1,10}):(\d{1,10}) I[ptb?] A\d{1,9}:\d{1,9} C(\w+)(?: X[!-~]+)*\n"
)


def picture(
    metadata: Metadata | None, data_type: FrameDataType = "yuv420", bitdepth: int = 8
) -> Picture:
    chroma = (2, 3) if data_type == "yuv420" else (4, 6)
    kind = np.uint8 if bitdepth == 8 else np.uint16
    shapes = ((4, 6), chroma, chroma)
    luma, first, second = (np.zeros(shape, kind) for shape in shapes)
    return Picture((luma, first, second), data_type, bitdepth, metadata)


def texts(**values: str) -> Metadata:
    return Metadata(text=tuple((key.replace("_", "-"), value) for key, value in values.items()))


@pytest.mark.parametrize(
    ("kept", "data_type", "bitdepth", "line"),
    [
        ("F30000:1001 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED", "yuv420", 8, None),
        ("F25:1 It A128:117 C420jpeg", "yuv420", 8, None),
        ("F50:1 Ip A0:0 C420p10 XCOLORRANGE=FULL XA XB", "yuv420", 10, None),
        ("F24:1 I? A1:1 C444p12", "yuv444", 12, None),
        ("A4:3", "yuv420", 8, "F25:1 Ip A4:3 C420jpeg"),
        ("F0:0 C444", "yuv444", 8, "F25:1 Ip A1:1 C444"),
        ("F25:1 Ip A1:1 C420 XYSCSS=420 XLENGTH=7", "yuv420", 8, "F25:1 Ip A1:1 C420"),
    ],
)
def test_headers_come_back(
    kept: str, data_type: FrameDataType, bitdepth: int, line: str | None
) -> None:
    """Without what other parameters say as well; what is missing has a default."""
    metadata = metadata_of_parameters(["W6", "H4", *kept.split(" ")])
    found = y4m_header(picture(metadata, data_type, bitdepth)).decode()
    assert found == f"YUV4MPEG2 W6 H4 {line or kept}\n"


def test_nothing_is_kept_of_a_header_that_says_nothing() -> None:
    assert metadata_of_parameters(["W6", "H4", "F0:0", "XYSCSS=420"]) is None
    assert y4m_header(picture(None)) == b"YUV4MPEG2 W6 H4 F25:1 Ip A1:1 C420jpeg\n"


def test_a_rate_that_is_asked_for_wins() -> None:
    metadata = texts(frame_rate="50/1", y4m="A4:3")
    assert b" F24:1 Ip A4:3 " in y4m_header(picture(metadata), (24, 1))
    assert encode_image(picture(metadata), "y4m").startswith(b"YUV4MPEG2 W6 H4 F50:1 Ip A4:3 ")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("30000/1001", (30000, 1001)),
        ("25", (25, 1)),
        ("2147483647/1", (2147483647, 1)),
        *((text, None) for text in ("", "0", "1/0", "2147483648", "29.97", "-25", "25/", " 25")),
        *((text, None) for text in ("25\n", "25:1", "²", "9" * 5000, "25/1/1")),
    ],
)
def test_frame_rates(text: str, rate: tuple[int, int] | None) -> None:
    assert frame_rate(texts(frame_rate=text)) == rate
    assert (b"F25:1 " in y4m_header(picture(texts(frame_rate=text)))) is (rate in (None, (25, 1)))


@pytest.mark.parametrize(
    "text",
    [
        *("W9 H9 F9:9", "XA\nFRAME", "XA\tB", "XA\x7f", "X", "Xé", "Ix", "A1", "A:", "A-1:1"),
        *("C422", "C444", "C420p10", "Cmono", "C", "X" * 5000, "  ", "XYSCSS=444", "XLENGTH=9"),
        "FRAME",
    ],
)
def test_malformed_tags_are_left_out(text: str) -> None:
    expected = b"YUV4MPEG2 W6 H4 F25:1 Ip A1:1 C420jpeg\n"
    assert y4m_header(picture(texts(y4m=text))) == expected
    assert y4m_header(picture(texts(y4m=f"A1:1 {text} Ip"))) == expected


def test_a_header_is_no_longer_than_programs_read() -> None:
    tags = [f"X{i:09d}" for i in range(50)]
    line = y4m_header(picture(texts(y4m=" ".join(tags))))
    assert len(line) <= 96
    assert (
        line.decode().split()
        == ["YUV4MPEG2", "W6", "H4", "F25:1", "Ip", "A1:1", "C420jpeg"] + (tags[:5])
    )


@given(rate=st.text(max_size=30), tags=st.text(max_size=200))
@example(rate="1/2147483647", tags="I? A999999999:999999999 C420mpeg2 " + "X" * 100)
def test_whatever_metadata_say_the_header_is_sound(rate: str, tags: str) -> None:
    try:
        metadata = Metadata(text=((FRAME_RATE, rate), (Y4M_TAGS, tags)))
    except numchic.UsageError:  # no Unicode text
        return
    line = y4m_header(picture(metadata))
    match = HEADER.fullmatch(line)
    assert match is not None
    assert len(line) <= 96
    assert int(match[1])
    assert int(match[2])


@given(
    st.lists(
        st.sampled_from(["F30:1", "Ip", "It", "A2:1", "C420", "C420mpeg2", "XA", "XB=1"])
        | st.from_regex(r"[FIACX][!-~]{0,10}", fullmatch=True),
        max_size=8,
    )
)
def test_a_header_says_the_same_when_it_is_read_again(parameters: list[str]) -> None:
    once = y4m_header(picture(metadata_of_parameters(parameters)))
    again = once.decode().split()[1:]
    assert y4m_header(picture(metadata_of_parameters(again))) == once


def test_decode_and_info_of_a_stream_with_a_rate() -> None:
    metadata = texts(frame_rate="30000/1001", y4m="Ip A12:11 C420mpeg2 XCOLORRANGE=LIMITED")
    data = builders.with_trailer(builders.video(), metadata)

    def run(*arguments: str) -> bytes:
        return CliRunner().invoke(main, arguments, input=data).stdout_bytes

    tags = b"Ip A12:11 C420mpeg2 XCOLORRANGE=LIMITED\n"
    start = b"YUV4MPEG2 W6 H4 F30000:1001 " + tags
    assert run("decode", "-", "-").startswith(start + b"FRAME\n")
    assert run("decode", "-", "-", "--frames", "1", "--format", "y4m").startswith(start)
    assert run("decode", "-", "-", "--fps", "24").startswith(b"YUV4MPEG2 W6 H4 F24:1 " + tags)
    assert b"\n  frame rate 30000/1001 per second\n" in run("info", "-")
    trailer = numchic.read_info(data).trailer
    assert trailer is not None
    assert trailer.frame_rate == (30000, 1001)
    plain = numchic.read_info(builders.with_trailer(builders.video(), texts(frame_rate="x")))
    assert plain.trailer is not None
    assert plain.trailer.frame_rate is None
