# SPDX-License-Identifier: BSD-3-Clause
"""Section 14: what a decoder has to check, row by row."""

from __future__ import annotations

import pytest

from numchic_bitstream import CorruptError, LimitError, Limits, NumchicError, TruncatedError
from numchic_bitstream.v4 import read_stream
from numchic_conformance.synthetic.v4.malformed import (
    Case4,
    changed_headers,
    frame_change,
    good_frames,
    malformed_recipes,
    part_change,
    write,
)

CASES = [case for case in malformed_recipes() if "payload" not in case.features]


def rejected(data: bytes, limits: Limits | None = None) -> NumchicError:
    with pytest.raises(NumchicError) as caught:
        read_stream(data, limits)
    error = caught.value
    if not isinstance(error, LimitError):
        assert error.offset is not None
        assert 0 <= error.offset <= len(data)
    return error


def test_the_stream_itself_is_legal() -> None:
    assert len(read_stream(write(good_frames())).frames) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cases(case: Case4) -> None:
    error = rejected(case.build())
    assert (type(error).__name__, error.field) == (case.error.error, case.error.field)


def test_a_file_that_is_too_small() -> None:
    assert type(rejected(write(good_frames())[:7])) is TruncatedError


def test_an_odd_width() -> None:
    data = changed_headers(lambda _: None, size=(8, 7))
    assert rejected(data).field == "W"


@pytest.mark.parametrize("size", [0, 200])
def test_any_other_header_size(size: int) -> None:
    data = bytearray(write(good_frames()))
    data[6] = size
    assert isinstance(rejected(bytes(data)), CorruptError | TruncatedError)


def test_trailing_data() -> None:
    for more in (b"\0\0\0", b"\xff" * 20):
        data = write(good_frames()) + more
        assert isinstance(rejected(data), CorruptError | TruncatedError)


def test_lengths_that_take_from_what_follows() -> None:
    lengths = {"arm": (1, 5), "ups": (5, 0), "syn": (5, 5)}
    frames = good_frames()
    part_change(0, 0, length=lengths)(frames)
    assert isinstance(rejected(write(frames)), CorruptError | TruncatedError)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(pixels=63), "pixels"),
        (Limits(frames=2), "frames"),
        (Limits(stream_bytes=100), "stream_bytes"),
    ],
)
def test_limits(limits: Limits, field: str) -> None:
    error = rejected(write(good_frames()), limits)
    assert (type(error), error.field) == (LimitError, field)


def test_a_frame_that_is_stored_again() -> None:
    index = good_frames()[0].display_index
    error = rejected(changed_headers(frame_change(1, display_index=index)))
    assert type(error) is CorruptError
    assert error.reason == f"frame {index} is stored again; was the encode resumed?"


def test_a_huge_display_index_is_a_limit() -> None:
    error = rejected(changed_headers(frame_change(1, display_index=10_000_000)))
    assert type(error) is LimitError
