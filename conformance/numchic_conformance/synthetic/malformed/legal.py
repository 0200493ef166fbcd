# SPDX-License-Identifier: BSD-3-Clause
"""Streams that are unusual and yet legal, or that a decoder may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from numchic_conformance.manifest import Expect
from numchic_conformance.synthetic.malformed.case import STILL, VIDEO, Case, base
from numchic_conformance.synthetic.malformed.editing import (
    Change,
    append,
    change_all,
    extend,
    flip,
    put,
    replace_payloads,
)
from numchic_conformance.synthetic.recipe import Recipe, still
from numchic_conformance.synthetic.seeded import Source
from numchic_conformance.synthetic.videos import video


def legal_cases() -> Iterator[Case]:
    """Unusual streams."""
    for name, what, more in (
        ("one-byte", "one byte", b"\0"),
        ("text", "text", b"the end\n"),
        ("random", "37 random bytes", Source("trailing").data("bytes", 37)),
        ("stream", "the same stream once more", base(STILL)),
    ):
        yield _case(f"trailing-{name}", f"After the last frame: {what}.", append(more))
    yield _case(
        "trailing-after-video", "After the last frame of a video: 16 bytes.",
        append(bytes(range(16))), good=VIDEO,
    )  # fmt: skip
    for header, bits in (("residue 0", 1), ("frame 0", 2), ("frame 0", 4)):
        yield _case(
            f"padding-of-{header.split(' ', maxsplit=1)[0]}-header-{bits}",
            f"Padding bit {bits} from the end of the header is set: {header}.",
            flip(header, bits),
        )
    yield _case(
        "padding-of-video-header", "Padding bits of the video header are set.",
        change_all(flip("video", 1), flip("video", 4)), good=VIDEO,
    )  # fmt: skip
    for header in ("video", "frame 0", "residue 0"):
        for extra in (b"\0", b"\xff" * 4, bytes(range(250))):
            name = header.split(" ", maxsplit=1)[0]
            yield _case(
                f"extended-{name}-header-{len(extra)}",
                f"{len(extra)} unknown bytes at the end of a header: {header}.",
                extend(header, extra), expect=Expect.EITHER,
            )  # fmt: skip
    yield _case(
        "extended-headers", "Unknown bytes at the end of all headers.",
        change_all(*(
            extend(header, b"more")
            for header in ("video", "frame 0", "residue 0")
        )),
        expect=Expect.EITHER,
    )  # fmt: skip
    for n in (1, 2, 5):
        yield _case(
            f"extra-latent-words-{n}",
            f"{n} words after the last one that the range coder needs.",
            replace_payloads(latents=_longer(n)), expect=Expect.EITHER,
        )  # fmt: skip
    yield _case(
        "latents-without-last-word-of-zeros",
        "A payload whose last word is zero, which is read beyond the end as well, without it.",
        replace_payloads(latents=lambda p: p[:-4]), expect=Expect.EITHER, good=_ending_in_zeros(),
    )  # fmt: skip
    yield _case(
        "negative-zero", "A global flow of minus zero.",
        put("frame 1", "global_flow[0]", 1 << 13),
        good=video(
            "base-zero-flow", "", 3, (0,), (2,), img_size=(6, 12), flows=((0, -2, 2, 7),)
        ),
    )  # fmt: skip
    yield _case(
        "ifce-on-no-grid", "Two IFCE features, but ifce_resolution has no grid: all are zero.",
        _nothing, expect=Expect.EITHER,
        good=still("base-no-ifce", "", img_size=(6, 12), ifce_resolution=(4, 5)),
    )  # fmt: skip
    yield _case(
        "ifce-on-no-grid-for-its-height",
        "IFCE on levels 4 and 5, which a height of 6 does not reach although there are such grids.",
        _nothing, expect=Expect.EITHER,
        good=still(
            "base-no-ifce-height", "", img_size=(6, 22), ifce_resolution=(4, 5),
            latent_resolution=(0, 5),
        ),
    )  # fmt: skip
    yield _case(
        "grids-32", "32 grids, which the field n_latent_grids cannot express.",
        _nothing, expect=Expect.EITHER,
        good=still(
            "base-32-grids", "", img_size=(6, 12), latent_resolution=(0, 15),
            hyperlatent_resolution=(0, 15),
        ),
    )  # fmt: skip


def _longer(n: int) -> Callable[[bytes], bytes]:
    return lambda payload: payload + b"more" * n


def _nothing(data: bytes) -> bytes:
    return data


def _case(
    name: str,
    description: str,
    change: Change,
    *,
    expect: Expect = Expect.DECODE,
    good: Recipe = STILL,
) -> Case:
    return Case(
        id=name,
        description=description,
        change=change,
        expect=expect,
        good=good,
        same_picture=True,
        features=("legal",),
    )


def _ending_in_zeros() -> Recipe:
    """Return a still whose last latent word is zero."""
    for i in range(1000):
        recipe = still(f"base-zero-word-{i}", "", img_size=(3, 4), latent_resolution=(0, 1))
        if recipe.stream().frames[0].residue.latent_payload.endswith(bytes(4)):
            return recipe
    raise AssertionError
