# SPDX-License-Identifier: BSD-3-Clause
"""Coding structure, sizes and grids: fields that are legal each, but not together."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import FrameHeader, VideoHeader
from numchic_bitstream.structure import FrameType
from numchic_bitstream.v5.headers import write_frame_header, write_video_header
from numchic_conformance.manifest import Expect, ExpectedError
from numchic_conformance.synthetic.malformed.case import STILL, VIDEO, Case, refuse
from numchic_conformance.synthetic.malformed.editing import (
    Change,
    header_end,
    header_start,
    put,
    put_all,
)
from numchic_conformance.synthetic.recipe import Recipe, still
from numchic_conformance.synthetic.videos import video

_VIDEO_RGB = video("base-video-rgb", "", 3, (0,), (2,), img_size=(6, 12), frame_data_type="rgb")
_PAIR = video("base-two-intras", "", 2, (0, 1), (), img_size=(6, 12), frame_data_type="rgb")


def relation_cases() -> Iterator[Case]:
    """Contradictions between fields."""
    yield from _structure()
    yield from _frames()
    yield from _sizes()
    yield from _grids()


def _video_header(intra: tuple[int, ...], p: tuple[int, ...], n_frames: int) -> Change:
    """Replace the video header."""

    def change(data: bytes) -> bytes:
        header = VideoHeader(n_frames=n_frames, intra_pos=intra, p_pos=p)
        return write_video_header(header) + data[header_end(data, "video") :]

    return change


def _structure() -> Iterator[Case]:
    rows: tuple[tuple[str, str, Recipe, tuple[int, ...], tuple[int, ...], int, str], ...] = (
        ("intra-beyond", "an intra frame that does not exist", STILL, (1,), (), 1, "intra_pos[0]"),
        ("intra-twice", "an intra frame listed twice", STILL, (0, 0), (), 1, "intra_pos[1]"),
        ("p-beyond", "a P frame that does not exist", VIDEO, (0,), (2, 3), 3, "p_pos[1]"),
        ("p-twice", "a P frame listed twice", VIDEO, (0,), (2, 2), 3, "p_pos[1]"),
        ("p-and-intra", "a frame listed as intra and as P", VIDEO, (0, 2), (2,), 3, "p_pos[0]"),
        ("first-not-intra", "a first frame that is not listed", VIDEO, (1,), (2,), 3, "intra_pos"),
        ("first-is-p", "a first frame that is a P frame", VIDEO, (1,), (0, 2), 3, "intra_pos"),
        ("last-is-b", "a last frame that is a B frame", VIDEO, (0,), (1,), 3, "n_frames"),
        ("only-first", "two frames, one of them listed", STILL, (0,), (), 2, "n_frames"),
    )  # fmt: skip
    for name, what, good, intra, p, n_frames, field in rows:
        yield refuse(
            f"structure-{name}", f"Coding structure: {what}.", _video_header(intra, p, n_frames),
            "CorruptError", field, "structure", good=good,
        )  # fmt: skip


def _frames() -> Iterator[Case]:
    rows = (
        ("data-type-changes", VIDEO, "frame 1", "frame_data_type", 2, "another data type"),
        ("bitdepth-changes", VIDEO, "frame 2", "bitdepth", 2, "another bit depth"),
    )
    for name, good, header, field, code, what in rows:
        yield refuse(
            name, f"Frame header: {what}.", put(header, field, code), "CorruptError", field,
            "frame", good=good,
        )  # fmt: skip
    types: tuple[tuple[str, Recipe, int, int, FrameType], ...] = (
        ("p-in-still", STILL, 0, 0, "P"),
        ("b-in-still", STILL, 0, 0, "B"),
        ("intra-instead-of-p", VIDEO, 1, 2, "I"),
        ("b-instead-of-p", VIDEO, 1, 2, "B"),
        ("p-instead-of-b", VIDEO, 2, 1, "P"),
    )
    for name, good, i, display_index, frame_type in types:
        yield refuse(
            f"frame-type-{name}", f"Frame header: type {frame_type} where there must be another.",
            _frame_header(i, display_index, frame_type, good), "CorruptError", "frame_type",
            "frame", good=good,
        )  # fmt: skip
    # The official decoder does not look at these.
    for name, good, header, field, code in (
        ("display-index-in-still", STILL, "frame 0", "display_index", 1),
        ("display-index", VIDEO, "frame 1", "display_index", 1),
        ("reference-of-p", VIDEO, "frame 1", "index_references[0]", 1),
        ("reference-of-b", VIDEO, "frame 2", "index_references[1]", 0),
    ):
        yield Case(
            id=f"{name}-differs",
            description=f"Frame header: {field} is not what the coding structure says.",
            change=put(header, field, code),
            expect=Expect.EITHER,
            error=ExpectedError("CorruptError", field.split("[", maxsplit=1)[0]),
            good=good,
            same_picture=True,
            features=("frame",),
        )


def _frame_header(i: int, display_index: int, frame_type: FrameType, good: Recipe) -> Change:
    """Replace a frame header by a good one of another type."""
    n_references = "IPB".index(frame_type)
    header = FrameHeader(
        display_index=display_index,
        frame_type=frame_type,
        frame_data_type=good.frames[0].header.frame_data_type,
        index_references=(0, 2)[:n_references],
        global_flow=(0, 0) * n_references,
        warp_filter_size=8 if n_references else None,
    )

    def change(data: bytes) -> bytes:
        end = header_end(data, f"frame {i}")
        start = header_start(data, f"frame {i}")
        return data[:start] + write_frame_header(header) + data[end:]

    return change


def _sizes() -> Iterator[Case]:
    for name, field in (("row", "img_size[0]"), ("column", "img_size[1]")):
        yield refuse(
            f"yuv420-one-{name}", f"4:2:0 of one {name}: there is no chroma sample.",
            put_all(("frame 0", "frame_data_type", 1), ("residue 0", field, 1)),
            "CorruptError", "img_size", "size",
        )  # fmt: skip
    for name, field, value in (("height", "img_size[0]", 5), ("width", "img_size[1]", 11)):
        yield refuse(
            f"yuv420-video-odd-{name}", f"A P frame in 4:2:0 with an odd {name}.",
            put("residue 1", field, value), "CorruptError", "img_size", "size", good=VIDEO,
        )  # fmt: skip
        yield refuse(
            f"motion-of-another-{name}", f"A motion decoder with another {name} than the residue.",
            put("motion 1", field, value + 3), "CorruptError", "img_size", "size",
            good=_VIDEO_RGB,
        )  # fmt: skip
        yield refuse(
            f"frame-of-another-{name}", f"A second frame with another {name} than the first.",
            put("residue 1", field, value), "CorruptError", "img_size", "size", good=_PAIR,
        )  # fmt: skip


def _hyperlatents(low: int, high: int) -> Change:
    field = "hyperlatent_resolution"
    return put_all(("residue 0", f"{field}[0]", low), ("residue 0", f"{field}[1]", high))


def _grids() -> Iterator[Case]:
    yield refuse(
        "latent-resolution-reversed", "latent_resolution = 3, 2.",
        put("residue 0", "latent_resolution[0]", 3), "CorruptError", "latent_resolution", "grids",
    )  # fmt: skip
    yield refuse(
        "hyperlatent-resolution-reversed", "hyperlatent_resolution = 3, 2.",
        put("residue 0", "hyperlatent_resolution[0]", 3),
        "CorruptError", "hyperlatent_resolution", "grids",
    )  # fmt: skip
    yield refuse(
        "levels-with-a-gap", "Latent levels 0 to 2 and hyperlatent levels 4 to 5: 3 is missing.",
        _hyperlatents(4, 5),
        "CorruptError", "hyperlatent_resolution", "grids",
    )  # fmt: skip
    yield Case(
        id="levels-with-a-gap-without-ifce",
        description="Latent level 0 and hyperlatent level 2 without IFCE: coolchic-5, 3.1 (a).",
        change=_hyperlatents(2, 2),
        expect=Expect.EITHER,
        error=ExpectedError("CorruptError", "hyperlatent_resolution"),
        good=still(
            "base-gap", "", latent_resolution=(0, 0), hyperlatent_resolution=(1, 1),
            output_feature_ifce=0, img_size=(6, 12),
        ),
        features=("grids",),
    )  # fmt: skip
    yield Case(
        id="levels-with-a-gap-in-one-pixel",
        description="Latent level 0 and hyperlatent level 2 of one pixel: coolchic-5, 3.1 (b).",
        change=_hyperlatents(2, 2),
        expect=Expect.EITHER,
        error=ExpectedError("CorruptError", "hyperlatent_resolution"),
        good=still(
            "base-gap-pixel", "", latent_resolution=(0, 0), hyperlatent_resolution=(1, 1),
            img_size=(1, 1),
        ),
        same_picture=True,
        features=("grids",),
    )  # fmt: skip
    yield Case(
        id="ifce-resolution-reversed",
        description="ifce_resolution = 2, 1: no grid has an IFCE.",
        change=put("residue 0", "ifce_resolution[0]", 2),
        expect=Expect.EITHER,
        error=ExpectedError("CorruptError", "ifce_resolution"),
        features=("grids",),
    )
    for n in (4, 0, 31):
        yield Case(
            id=f"n-latent-grids-{n}",
            description=f"n_latent_grids = {n} although there are 5 grids.",
            change=put("residue 0", "n_latent_grids", n),
            expect=Expect.EITHER,
            error=ExpectedError("CorruptError", "n_latent_grids"),
            same_picture=True,
            features=("grids",),
        )
    yield refuse(
        "randomness-without-picture-size",
        "Common randomness with latents from level 1.",
        put("residue 0", "flag_common_randomness", 1),
        "CorruptError", "latent_resolution", "grids",
        good=still("base-level-1", "", latent_resolution=(1, 2), img_size=(6, 12)),
    )  # fmt: skip
