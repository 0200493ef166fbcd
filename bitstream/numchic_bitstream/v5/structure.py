# SPDX-License-Identifier: BSD-3-Clause
"""Coding structure of a video: order, types and references (coolchic-5, section 13.1). Exact."""

from __future__ import annotations

from bisect import bisect_left, insort

from numchic_bitstream.errors import CorruptError
from numchic_bitstream.structure import CodedFrame
from numchic_bitstream.tables import Parsed
from numchic_bitstream.v5.headers import VideoHeader


def check_structure(parsed: Parsed[VideoHeader]) -> None:
    """Check that the positions of intra and P frames describe a video.

    Raises
    ------
    CorruptError
        A position is out of range or listed twice, the first frame is not an intra frame, or the
        last one is neither intra nor P.
    """
    header = parsed.header
    positions = header.intra_pos + header.p_pos
    seen: set[int] = set()
    for i, position in enumerate(positions):
        in_p = i - header.n_intras
        field = f"intra_pos[{i}]" if in_p < 0 else f"p_pos[{in_p}]"
        if position >= header.n_frames:
            _reject(parsed, "no such frame", field, position, f"0..{header.n_frames - 1}")
        if position in seen:
            _reject(parsed, "a frame is listed twice", field, position, "distinct positions")
        seen.add(position)
    if 0 not in header.intra_pos:
        _reject(
            parsed,
            "the first frame is not an intra frame",
            "intra_pos",
            header.intra_pos,
            "0 in it",
        )
    if header.n_frames - 1 not in seen:
        _reject(
            parsed,
            "the last frame is neither an intra nor a P frame",
            "n_frames",
            header.n_frames,
            f"one more than the largest position, {max(seen)}",
        )


def _reject(
    parsed: Parsed[VideoHeader], reason: str, field: str, found: object, allowed: str
) -> None:
    raise CorruptError(reason, field, parsed.offset(field), found, allowed)


def coding_order(header: VideoHeader) -> list[CodedFrame]:
    """Derive all frames, in coding order, from a header that passed :func:`check_structure`.

    Examples
    --------
    >>> header = VideoHeader(n_frames=4, intra_pos=(0,), p_pos=(3,))
    >>> [(f.frame_type, f.display_index, f.references) for f in coding_order(header)]
    [('I', 0, ()), ('P', 3, (0,)), ('B', 1, (0, 3)), ('B', 2, (1, 3))]
    """
    order = [CodedFrame(i, "I", ()) for i in sorted(header.intra_pos)]
    placed = sorted(header.intra_pos)
    for i in sorted(header.p_pos):
        order.append(CodedFrame(i, "P", (placed[bisect_left(placed, i) - 1],)))
        insort(placed, i)
    gap = 0  # placed[: gap + 1] is 0, 1, ..., gap
    while len(order) < header.n_frames:
        while placed[gap + 1] == gap + 1:
            gap += 1
        past, future = placed[gap], placed[gap + 1]
        middle = past + (future - past) // 2
        order.append(CodedFrame(middle, "B", (past, future)))
        placed.insert(gap + 1, middle)
    return order
