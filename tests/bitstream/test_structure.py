# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from numchic_bitstream import CorruptError, VideoHeader
from numchic_bitstream.v5.headers import read_video_header, write_video_header
from numchic_bitstream.v5.structure import check_structure, coding_order
from strategies import video_headers


def structure(n_frames: int, intra_pos: tuple[int, ...], p_pos: tuple[int, ...] = ()) -> str:
    """Coding order in the notation of section 13.1."""
    header = VideoHeader(n_frames=n_frames, intra_pos=intra_pos, p_pos=p_pos)
    check_structure(read_video_header(write_video_header(header)))
    words = []
    for index, frame_type, references in coding_order(header):
        suffix = f"[{','.join(map(str, references))}]" if references else ""
        words.append(f"{frame_type}{index}{suffix}")
    return " ".join(words)


def test_worked_examples() -> None:
    """Section 13.1."""
    assert structure(9, (0,), (8,)) == (
        "I0 P8[0] B4[0,8] B2[0,4] B1[0,2] B3[2,4] B6[4,8] B5[4,6] B7[6,8]"
    )
    assert structure(9, (0,), (6, 8)) == (
        "I0 P6[0] P8[6] B3[0,6] B1[0,3] B2[1,3] B4[3,6] B5[4,6] B7[6,8]"
    )
    assert structure(12, (0, 7), (3, 11)) == (
        "I0 I7 P3[0] P11[7] B1[0,3] B2[1,3] B5[3,7] B4[3,5] B6[5,7] B9[7,11] B8[7,9] B10[9,11]"
    )
    assert structure(6, (0, 5)) == "I0 I5 B2[0,5] B1[0,2] B3[2,5] B4[3,5]"


def test_a_still_is_one_intra_frame() -> None:
    assert structure(1, (0,)) == "I0"


@pytest.mark.parametrize(
    ("n_frames", "intra_pos", "p_pos", "field", "offset"),
    [
        (2, (0, 2), (1,), "intra_pos[1]", 8),
        (2, (0,), (4095,), "p_pos[0]", 8),
        (2, (0, 0), (1,), "intra_pos[1]", 8),
        (3, (0, 2), (1, 1), "p_pos[1]", 11),
        (2, (0, 1), (1,), "p_pos[0]", 9),
        (2, (1,), (), "intra_pos", 6),
        (2, (1,), (0,), "intra_pos", 6),
        (3, (0,), (1,), "n_frames", 0),
        (3, (0, 1), (), "n_frames", 0),
    ],
)
def test_impossible_structures(
    n_frames: int, intra_pos: tuple[int, ...], p_pos: tuple[int, ...], field: str, offset: int
) -> None:
    with pytest.raises(CorruptError) as caught:
        structure(n_frames, intra_pos, p_pos)
    assert (caught.value.field, caught.value.offset) == (field, offset)


@given(video_headers(max_frames=80))
def test_every_frame_is_coded_once_and_after_its_references(header: VideoHeader) -> None:
    check_structure(read_video_header(write_video_header(header)))
    order = coding_order(header)
    assert sorted(frame.display_index for frame in order) == list(range(header.n_frames))
    coded: set[int] = set()
    for index, frame_type, references in order:
        assert coded.issuperset(references)
        past = [i for i in coded if i < index]
        future = [i for i in coded if i > index]
        if frame_type == "I":
            assert index in header.intra_pos
            assert references == ()
        elif frame_type == "P":
            assert index in header.p_pos
            assert references == (max(past),)
        else:
            assert references == (max(past), min(future))
            assert index == sum(references) // 2
        coded.add(index)


@given(video_headers())
def test_the_lists_are_sorted_before_use(header: VideoHeader) -> None:
    tidy = dataclasses.replace(
        header, intra_pos=tuple(sorted(header.intra_pos)), p_pos=tuple(sorted(header.p_pos))
    )
    assert coding_order(header) == coding_order(tidy)
