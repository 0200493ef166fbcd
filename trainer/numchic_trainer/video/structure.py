# SPDX-License-Identifier: BSD-3-Clause
"""Which frames of a video are I, P and B (video-training, section 3).

Structures have a name, or are lists of the I and of the P frames; all others are B frames::

    intra                 I I I I I ...
    low-delay             I P P P P ...
    random-access[:GAP]   I B B B P ...    an anchor every GAP frames, and at the end
    auto                  random access, begun anew at every scene cut

Items of a list are parted by commas: a number, a negative one, which counts from the end, or a
range ``a-b`` with both its ends, such as ``0,8-16,-1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from numchic_bitstream import UsageError, VideoHeader
from numchic_bitstream.arguments import as_integer
from numchic_bitstream.structure import FrameType
from numchic_bitstream.v5.structure import coding_order

Positions = tuple[int, ...]

MAX_FRAMES: Final = 4095  # twelve bits

# The shortest gap of those that section 3.2 calls efficient: what moves is still found over eight
# frames, three levels of B frames are most of what a deeper hierarchy gains, and seven of eight
# frames are B frames, half of which nothing waits for.
DEFAULT_GAP: Final = 8

_STRUCTURE = re.compile(r"(intra|low-delay|auto|random-access(?::([0-9]{1,9}))?)")
_ITEM = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?|(-[0-9]{1,9})")


@dataclass(frozen=True)
class PlannedFrame:
    """One frame of a video to encode.

    Parameters
    ----------
    index : int
        In the order of display.
    kind : {"I", "P", "B"}
    references : tuple of int
        Frames it is predicted from, the past one first.
    level : int
        Number of B steps between the frame and its anchors; 0 for I and P frames. (Section 3.1.)
    donor : int or None
        The nearest reference that has networks of the same kinds: a P or B frame. (Section 14.3.)
    """

    index: int
    kind: FrameType
    references: tuple[int, ...]
    level: int
    donor: int | None


def plan_structure(
    n_frames: int,
    structure: str | None = None,
    intra: str | None = None,
    p: str | None = None,
    cuts: Sequence[int] = (),
) -> tuple[Positions, Positions]:
    """Give the I frames and the P frames of a video, in the order of display.

    Parameters
    ----------
    n_frames : int
        1 .. 4095.
    structure : str, optional
        Name of a structure; ``auto`` if there are no lists either.
    intra, p : str, optional
        Lists of frames. The first is ``0`` and the second empty unless they are given.
    cuts : sequence of int
        First frames of new scenes, 1 .. n_frames - 1. Only ``auto`` looks at them: these frames
        become I frames, and those before them P frames, so that no B frame has one on each side.

    Raises
    ------
    UsageError
        The number of frames is out of range, structure and lists do not go together, or one of
        them is malformed or describes no video; ``field`` names the argument.

    Examples
    --------
    >>> plan_structure(14, "random-access:4")
    ((0,), (4, 8, 12, 13))
    >>> plan_structure(14, "auto", cuts=[10])
    ((0, 10), (8, 9, 13))
    >>> plan_structure(14, intra="0,8-10", p="4,-1")
    ((0, 8, 9, 10), (4, 13))
    """
    n_frames = as_integer(n_frames, "n_frames", 1, MAX_FRAMES)
    check_structure(structure, intra, p)
    if intra is not None or p is not None:
        return _listed(n_frames, "0" if intra is None else intra, p or "")
    name, gap = _parse_structure("auto" if structure is None else structure)
    if name == "intra":
        return tuple(range(n_frames)), ()
    if name == "low-delay":
        return (0,), tuple(range(1, n_frames))
    return _scenes(n_frames, gap, cuts if name == "auto" else ())


def check_structure(structure: str | None, intra: str | None, p: str | None) -> None:
    """Raise an error for what :func:`plan_structure` refuses whatever the video."""
    lists = {name: text for name, text in (("intra", intra), ("p", p)) if text is not None}
    if structure is not None:
        _parse_structure(structure)
        if lists:
            raise UsageError(
                "a structure and lists of frames are given", "structure", None, structure, "either"
            )
    for name, text in lists.items():
        for _ in _items(name, text):
            pass


def plan_frames(n_frames: int, intra: Sequence[int], p: Sequence[int]) -> list[PlannedFrame]:
    """Give all frames in coding order.

    Parameters
    ----------
    n_frames, intra, p
        As :func:`plan_structure` takes and returns them.

    Examples
    --------
    >>> for frame in plan_frames(4, (0,), (3,)):
    ...     print(frame.index, frame.kind, frame.references, frame.level, frame.donor)
    0 I () 0 None
    3 P (0,) 0 None
    1 B (0, 3) 1 3
    2 B (1, 3) 2 1
    """
    frames: dict[int, PlannedFrame] = {}
    header = VideoHeader(n_frames=n_frames, intra_pos=tuple(intra), p_pos=tuple(p))
    for index, kind, references in coding_order(header):
        level = 1 + max(frames[r].level for r in references) if kind == "B" else 0
        donors = [frames[r] for r in references if frames[r].kind != "I"]
        # Of two that are as near, the one of the same kind: it has all outputs that are needed.
        nearest = min(donors, key=lambda d: (abs(d.index - index), d.kind != kind), default=None)
        donor = None if nearest is None else nearest.index
        frames[index] = PlannedFrame(index, kind, references, level, donor)
    return list(frames.values())


def _parse_structure(text: str) -> tuple[str, int]:
    """Name of a structure, and its gap."""
    match = _STRUCTURE.fullmatch(text)
    if match is None:
        raise UsageError(
            "no such structure", "structure", None, ascii(text[:40]),
            "intra, low-delay, random-access, random-access:GAP, auto",
        )  # fmt: skip
    if match[2] is None:
        return match[1], DEFAULT_GAP
    gap = int(match[2])
    if not 1 <= gap <= MAX_FRAMES:
        raise UsageError("no such gap", "structure", None, gap, f"1 .. {MAX_FRAMES}")
    return "random-access", gap


def _scenes(n_frames: int, gap: int, cuts: Sequence[int]) -> tuple[Positions, Positions]:
    """Random access: every scene has an I frame first, a P frame every ``gap`` and at the end."""
    for cut in cuts:
        as_integer(cut, "cuts", 1, n_frames - 1)
    firsts = sorted({0, *map(int, cuts)})
    p: list[int] = []
    for first, after in zip(firsts, [*firsts[1:], n_frames], strict=True):
        p.extend(range(first + gap, after - 1, gap))
        if after - 1 > first:
            p.append(after - 1)
    return tuple(firsts), tuple(p)


def _listed(n_frames: int, intra: str, p: str) -> tuple[Positions, Positions]:
    kinds: dict[int, str] = {}
    for name, text in (("intra", intra), ("p", p)):
        for index in _indices(name, text, n_frames):
            if index in kinds:
                raise UsageError("a frame is listed twice", name, None, index, "every frame once")
            kinds[index] = name
    if kinds.get(0) != "intra":
        raise UsageError(
            "the first frame is not an I frame", "intra", None, ascii(intra[:40]), "0 in it"
        )
    last = n_frames - 1
    if last not in kinds:
        raise UsageError(
            "the last frame is neither an I nor a P frame",
            "p",
            None,
            ascii(p[:40]),
            f"{last} in it",
        )
    both = [tuple(sorted(i for i in kinds if kinds[i] == name)) for name in ("intra", "p")]
    return both[0], both[1]


def _indices(name: str, text: str, n_frames: int) -> Iterator[int]:
    """Frames of a list, as they come; every range is known to lie in the video before it begins."""
    for match in _items(name, text):
        first = int(match[3]) + n_frames if match[3] else int(match[1])
        last = int(match[2]) if match[2] else first
        if not 0 <= first < n_frames or last >= n_frames:
            allowed = f"-{n_frames} .. {n_frames - 1}"
            raise UsageError("no such frame", name, None, match[0], allowed)
        if last < first:
            raise UsageError("a range ends before it begins", name, None, match[0], "a-b, a <= b")
        yield from range(first, last + 1)


def _items(name: str, text: str) -> Iterator[re.Match[str]]:
    """Items of a list."""
    for item in text.split(",") if text.strip() else ():
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            allowed = "numbers, -1 for the last frame, and ranges such as 0,8-16,-1"
            raise UsageError("malformed list of frames", name, None, ascii(item[:40]), allowed)
        yield match
