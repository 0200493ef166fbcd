# SPDX-License-Identifier: BSD-3-Clause
"""Structures of videos (video training, section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies  # noqa: F401 - settings of hypothesis
from numchic_bitstream import UsageError, VideoHeader
from numchic_bitstream.v5.headers import read_video_header, write_video_header
from numchic_bitstream.v5.structure import check_structure, coding_order
from numchic_trainer.video.structure import MAX_FRAMES, plan_frames, plan_structure


@pytest.mark.parametrize(
    ("n_frames", "structure", "intra", "p"),
    [
        (1, None, (0,), ()),
        (1, "intra", (0,), ()),
        (1, "low-delay", (0,), ()),
        (1, "random-access", (0,), ()),
        (4, "intra", (0, 1, 2, 3), ()),
        (4, "low-delay", (0,), (1, 2, 3)),
        (2, "random-access", (0,), (1,)),
        (9, "random-access", (0,), (8,)),
        (5, "random-access", (0,), (4,)),
        (10, None, (0,), (8, 9)),
        (12, "random-access:4", (0,), (4, 8, 11)),
        (4, "random-access:1", (0,), (1, 2, 3)),
        (4, "random-access:4095", (0,), (3,)),
    ],
)
def test_structures_by_name(
    n_frames: int, structure: str | None, intra: tuple[int, ...], p: tuple[int, ...]
) -> None:
    assert plan_structure(n_frames, structure) == (intra, p)


@pytest.mark.parametrize(
    ("n_frames", "intra", "p", "expected"),
    [
        (20, "0,8-16,-1", None, ((0, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19), ())),
        (12, "0, 7", "11 ,3", ((0, 7), (3, 11))),
        (9, None, "-1", ((0,), (8,))),
        (9, "-9,-1", "", ((0, 8), ())),
        (3, "0-0", "2-2", ((0,), (2,))),
        (1, "0", "", ((0,), ())),
    ],
)
def test_lists(
    n_frames: int,
    intra: str | None,
    p: str | None,
    expected: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    assert plan_structure(n_frames, None, intra, p) == expected


def test_a_scene_cut_has_an_intra_frame_and_no_b_frame_across_it() -> None:
    """Property 13."""
    intra, p = plan_structure(20, "auto", cuts=[5, 19])
    assert intra == (0, 5, 19)
    assert p == (4, 13, 18)
    for frame in plan_frames(20, intra, p):
        if frame.kind == "B":
            first, last = frame.references
            assert not any(first < cut <= last for cut in (5, 19))


def test_only_auto_looks_at_cuts() -> None:
    assert plan_structure(9, "random-access", cuts=[3]) == ((0,), (8,))
    assert plan_structure(9, "low-delay", cuts=[3])[0] == (0,)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((0, "auto"), "n_frames"),
        ((4096, "auto"), "n_frames"),
        ((9, "auto", "0"), "structure"),
        ((9, "auto", None, "8"), "structure"),
        ((9, ""), "structure"),
        ((9, "low delay"), "structure"),
        ((9, "auto:8"), "structure"),
        ((9, "random-access:"), "structure"),
        ((9, "random-access:0"), "structure"),
        ((9, "random-access:-8"), "structure"),
        ((9, "random-access:4096"), "structure"),
        ((9, "random-access:" + "9" * 5000), "structure"),
        ((9, None, "", "8"), "intra"),
        ((9, None, "1-8"), "intra"),
        ((9, None, "0,9"), "intra"),
        ((9, None, "0,-10"), "intra"),
        ((9, None, "0,-0"), "intra"),
        ((9, None, "0,8,-1"), "intra"),
        ((9, None, "0,0"), "intra"),
        ((9, None, "0,3-1"), "intra"),
        ((9, None, "0,a"), "intra"),
        ((9, None, "0,,8"), "intra"),
        ((9, None, "0,1-2-3"), "intra"),
        ((9, None, "0,\N{ARABIC-INDIC DIGIT EIGHT}"), "intra"),
        ((9, None, "0-999999999"), "intra"),
        ((9, None, "9" * 5000), "intra"),
        ((9, None, "0", "0-8"), "p"),
        ((9, None, "0", "7"), "p"),
        ((9, None, "0", "x"), "p"),
        ((9, None, "0"), "p"),
        ((9, None, None, None, [0]), "cuts"),
        ((9, None, None, None, [9]), "cuts"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[int, str | None, str | None, str | None, list[int]], field: str
) -> None:
    with pytest.raises(UsageError) as error:
        plan_structure(*arguments)
    assert error.value.field == field
    assert error.value.found is not None
    assert error.value.allowed is not None


def test_worked_examples() -> None:
    """Section 13.1 of the format."""
    examples = [(9, "0", "8"), (9, "0", "6,8"), (12, "0,7", "3,11"), (6, "0,5", None)]
    for n_frames, i_list, p_list in examples:
        intra, p = plan_structure(n_frames, None, i_list, p_list)
        header = VideoHeader(n_frames=n_frames, intra_pos=intra, p_pos=p)
        planned = [(f.index, f.kind, f.references) for f in plan_frames(n_frames, intra, p)]
        assert planned == [tuple(frame) for frame in coding_order(header)]


def test_levels_begin_anew_between_any_two_anchors() -> None:
    frames = {f.index: f for f in plan_frames(17, *plan_structure(17, "random-access"))}
    assert [frames[i].level for i in range(17)] == [0, 3, 2, 3, 1, 3, 2, 3] * 2 + [0]


def test_donors_are_the_nearest_references_that_are_not_intra_frames() -> None:
    frames = {f.index: f for f in plan_frames(9, *plan_structure(9, "random-access"))}
    donors = {index: frame.donor for index, frame in frames.items()}
    # Frame 6 lies between 4, a B frame, and 8, a P frame; frame 2 between 0, an I frame, and 4.
    assert donors == {0: None, 8: None, 4: 8, 2: 4, 1: 2, 3: 2, 6: 4, 5: 4, 7: 6}
    chain = plan_frames(4, *plan_structure(4, "low-delay"))
    assert [frame.donor for frame in chain] == [None, None, 1, 2]


@given(
    n_frames=st.integers(1, 70),
    gap=st.integers(1, 20),
    name=st.sampled_from(["intra", "low-delay", "random-access", "auto"]),
    data=st.data(),
)
def test_every_structure_describes_a_video(
    n_frames: int, gap: int, name: str, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(1, n_frames - 1), max_size=4)) if n_frames > 1 else []
    structure = f"{name}:{gap}" if name == "random-access" else name
    intra, p = plan_structure(n_frames, structure, cuts=cuts)
    header = VideoHeader(n_frames=n_frames, intra_pos=intra, p_pos=p)
    check_structure(read_video_header(write_video_header(header)))
    frames = plan_frames(n_frames, intra, p)
    assert sorted(frame.index for frame in frames) == list(range(n_frames))
    done: set[int] = set()
    for frame in frames:
        assert set(frame.references) <= done
        assert frame.donor is None or frame.donor in frame.references
        done.add(frame.index)


def test_the_longest_video_is_planned() -> None:
    frames = plan_frames(MAX_FRAMES, *plan_structure(MAX_FRAMES))
    assert max(frame.level for frame in frames) == 3
