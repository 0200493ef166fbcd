# SPDX-License-Identifier: BSD-3-Clause
"""Recipes of valid 4.x streams: every header field, every branch, every form of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import CodedFrame, make_stream

STILL: tuple[CodedFrame, ...] = ((0, "I"),)

# What parts have unless a recipe says otherwise. The rest is drawn.
_PLAIN: Mapping[str, Any] = {
    "arm": (8, 1),
    "ups": (1, 8, 1, 7),
    "syn": [(5, 1, 0, 1), (3, 1, 0, 0), (3, 3, 1, 0)],
    "latent": [1, 1, 1],
    "noise": [0, 0, 0],
    "blk": -4,
    "zero": 0,
}


@dataclass(frozen=True, kw_only=True)
class Recipe4:
    """A valid stream of an older generation.

    Parameters
    ----------
    id : str
        Name of the vector, from which all its numbers are drawn.
    description : str
        One sentence: what the vector exercises.
    generation : str
    features : tuple of str
    size : (H, W)
    data_type : {"rgb", "yuv420", "yuv444"}
    depth : int
    frames : sequence of CodedFrame
        In coding order.
    changes : mapping
        Attributes of all parts that are prescribed.
    """

    id: str
    description: str
    generation: str
    features: tuple[str, ...]
    size: tuple[int, int] = (13, 22)
    data_type: str = "rgb"
    depth: int = 8
    frames: Sequence[CodedFrame] = STILL
    changes: Mapping[str, Any] = field(default_factory=dict)
    level: Level = Level.CORE

    def build(self) -> bytes:
        """Return the stream."""
        return make_stream(
            Draw(self.id),
            self.generation,
            self.size,
            self.data_type,
            self.depth,
            self.frames,
            **self.changes,
        )


def recipes() -> tuple[Recipe4, ...]:
    """All recipes, in the order of the suite."""
    return tuple(_all_recipes())


def _all_recipes() -> Iterator[Recipe4]:
    for generation in ("4.2", "4.1", "4.0"):
        yield from _networks(generation)
    yield from _planes()
    yield from _samples()
    yield from _sizes()
    for generation in ("4.2", "4.1", "4.0"):
        yield from _videos(generation)
    yield from _motion()
    yield from _copies()


def _still(
    generation: str,
    name: str,
    description: str,
    *features: str,
    size: tuple[int, int] = (13, 22),
    data_type: str = "rgb",
    depth: int = 8,
    empty: Sequence[int] = (),
    **changes: Any,
) -> Recipe4:
    return Recipe4(
        id=f"{generation}-{name}",
        description=description,
        generation=generation,
        features=("still", *features),
        size=size,
        data_type=data_type,
        depth=depth,
        frames=((0, "I", {"empty": empty}),),
        changes={**_PLAIN, **changes},
    )


def _networks(generation: str) -> Iterator[Recipe4]:
    """Shapes of the three networks; the oldest generations with fewer of them."""
    sizes = (8, 12, 16, 24, 32) if generation == "4.2" else (16, 32)
    for i, size in enumerate(sizes):
        n_hidden = (1, 2, 0, 3, 2)[i]
        yield _still(
            generation, f"context-{size}-hidden-{n_hidden}",
            f"An ARM with a context of {size} and {n_hidden} hidden layers.",
            "arm", arm=(size, n_hidden),
        )  # fmt: skip
    kernels = (
        ((1, 8, 1, 7), (2, 4, 3, 1), (4, 12, 4, 15)) if generation == "4.2" else ((2, 8, 2, 5),)
    )
    for kernels_ in kernels:
        n_ups, ups_size, n_pre, pre_size = kernels_
        yield _still(
            generation, f"kernels-{n_ups}x{ups_size}-{n_pre}x{pre_size}",
            f"{n_ups} upsampling kernels of {ups_size}, {n_pre} refinement kernels of {pre_size}.",
            "upsampling", ups=kernels_, latent=[1] * 5, noise=[0] * 5,
        )  # fmt: skip
    if generation != "4.2":
        return
    for name, description, layers in (
        ("wide", "Many channels, more than are computed together.",
         [(41, 1, 0, 1), (3, 1, 0, 0), (3, 3, 1, 1), (3, 3, 1, 0)]),
        ("neighbours-first", "A first layer with a neighbourhood.", [(6, 3, 0, 1), (3, 1, 0, 0)]),
        ("residual-first", "A first layer with a residual connection.",
         [(3, 3, 1, 0), (7, 1, 0, 1), (3, 3, 0, 0)]),
        ("residual-pointwise", "Residual layers without neighbourhood, after two that are fused.",
         [(4, 1, 0, 1), (6, 1, 0, 0), (6, 1, 1, 1), (6, 1, 1, 0), (3, 1, 0, 0)]),
        ("more-outputs", "More output channels than are used.", [(5, 1, 0, 1), (6, 1, 0, 0)]),
    ):  # fmt: skip
        yield _still(generation, f"synthesis-{name}", description, "synthesis", syn=layers)
    yield _still(
        generation, "steps-smallest", "The smallest quantisation steps, and codes of order 0.",
        "parameters",
        q={"arm": (0, 0), "ups": (0, 0), "syn": (0, 0)},
        eg={"arm": (0, 0), "ups": (0, 0), "syn": (0, 0)},
    )  # fmt: skip
    yield _still(
        generation, "steps-largest", "The largest quantisation steps, and codes of order 12.",
        "parameters",
        q={"arm": (8, 16), "ups": (12, 0), "syn": (12, 24)},
        eg={"arm": (12, 12), "ups": (12, 0), "syn": (12, 12)},
    )  # fmt: skip


def _planes() -> Iterator[Recipe4]:
    """Which planes there are, and their block maps."""
    for blk in (0, 1, -1, 8, -16, 64, -128):
        kind = "no blocks" if blk == 0 else f"blocks of {abs(blk)}"
        how = "adaptive" if blk < 0 else "plain"
        description = "No blocks." if blk == 0 else f"Maps of {kind}, {how}."
        yield _still(
            "4.2", f"blocks-{blk}" if blk >= 0 else f"blocks-adaptive-{-blk}", description,
            "blocks", blk=blk, size=(21, 34),
        )  # fmt: skip
    eight: list[int] = [1] * 8
    yield _still(
        "4.2", "resolutions-8", "Eight resolutions, down to one sample.", "planes",
        latent=eight, noise=[0] * 8, size=(35, 50), ups=(3, 8, 2, 3),
    )  # fmt: skip
    yield _still(
        "4.2", "noise-everywhere", "Common randomness at every resolution.", "noise",
        noise=[1, 1, 1],
    )  # fmt: skip
    yield _still(
        "4.2", "noise-without-latents", "Resolutions with noise and without latent.", "noise",
        latent=[1, 0, 0, 1], noise=[0, 1, 0, 1],
    )  # fmt: skip
    for generation in ("4.2", "4.1", "4.0"):
        yield _still(
            generation, "gaps", "Resolutions without latent between others.", "planes",
            latent=[1, 0, 1, 0, 1], noise=[0] * 5,
        )  # fmt: skip
        yield _still(
            generation, "zero", "All latents zero: no upsampling kernels, no latents.", "zero",
            zero=1,
        )  # fmt: skip
        yield _still(
            generation, "empty", "Latent planes that are there but zero, so not sent.", "empty",
            empty=(0, 2),
        )  # fmt: skip
    yield _still(
        "4.2", "zero-with-noise", "All latents zero: the noise is not drawn either.", "zero",
        "noise", zero=1, noise=[1, 0, 1],
    )  # fmt: skip
    yield _still("4.2", "empty-everywhere", "No plane is sent.", "empty", empty=(0, 1, 2))


def _samples() -> Iterator[Recipe4]:
    for depth in (9, 12, 16):
        yield _still("4.2", f"rgb-{depth}b", f"RGB of {depth} bits.", "samples", depth=depth)
    for generation in ("4.2", "4.0"):
        for data_type in ("yuv420", "yuv444"):
            for depth in (8, 10):
                if (generation, depth) == ("4.0", 8):
                    continue
                yield _still(
                    generation, f"{data_type}-{depth}b", f"{data_type} of {depth} bits.",
                    "samples", size=(14, 22), data_type=data_type, depth=depth,
                )  # fmt: skip


def _sizes() -> Iterator[Recipe4]:
    for height, width in ((1, 1), (1, 37), (40, 1), (2, 3), (16, 16), (33, 65)):
        yield _still(
            "4.2", f"size-{height}x{width}", f"A picture of {height} x {width}.", "size",
            size=(height, width),
        )  # fmt: skip
    yield _still(
        "4.2", "size-5x530", "Rows longer than a tile of any decoder we know.", "size",
        size=(5, 530),
    )  # fmt: skip
    yield _still(
        "4.1", "size-300x3", "Rows of three, and more of them than in a band.", "size",
        size=(300, 3),
    )  # fmt: skip


# Motion of reduced size, from which blocks of 4 follow.
_SYN = {
    "I": [(5, 1, 0, 1), (3, 1, 0, 0), (3, 3, 1, 0)],
    "residue": [(5, 1, 0, 1), (4, 1, 0, 0), (4, 3, 1, 0)],
    "P": [(5, 1, 0, 1), (2, 1, 0, 0), (2, 3, 1, 0)],
    "B": [(5, 1, 0, 1), (5, 1, 0, 0), (5, 3, 1, 0)],
}


def _frame(
    index: int, kind: str, lead: int = 1, w: int = 3, flow: Sequence[tuple[int, int]] = (),
    copies: tuple[int, int] = (0, 0), zero: tuple[int, int] = (0, 0),
) -> CodedFrame:  # fmt: skip
    """One frame whose parts are the plain ones."""
    if kind == "I":
        return index, kind, {"residue": {"syn": _SYN["I"]}, "empty": ()}
    n_res = lead + 2
    residue = {"syn": _SYN["residue"], "copies": copies[0], "zero": zero[0]}
    motion = {
        "syn": _SYN[kind], "copies": copies[1], "zero": zero[1],
        "latent": [int(i >= lead) for i in range(n_res)], "noise": [0] * n_res,
    }  # fmt: skip
    flows = list(flow) or [(2, -1), (-3, 1)][: "IPB".index(kind)]
    return index, kind, {
        "residue": residue, "motion": motion, "w": w, "flow": flows, "empty": (),
    }  # fmt: skip


def _video(
    generation: str,
    name: str,
    description: str,
    *frames: CodedFrame,
    features: tuple[str, ...] = (),
    size: tuple[int, int] = (16, 24),
    data_type: str = "yuv420",
    depth: int = 8,
    **changes: Any,
) -> Recipe4:
    return Recipe4(
        id=f"{generation}-{name}",
        description=description,
        generation=generation,
        features=("video", *features),
        size=size,
        data_type=data_type,
        depth=depth,
        frames=frames,
        changes={**_PLAIN, **changes},
    )


def _videos(generation: str) -> Iterator[Recipe4]:
    """Structures and formats of every generation."""
    w = 0 if generation == "4.0" else 3
    yield _video(
        generation, "p", "A P frame, and another one predicted from it.",
        _frame(0, "I"), _frame(1, "P", w=w), _frame(2, "P", w=w), features=("p",),
    )  # fmt: skip
    yield _video(
        generation, "b", "B frames in two layers, between an I and a P frame, in 4:4:4.",
        _frame(0, "I"), _frame(4, "P", w=w), _frame(2, "B", w=w), _frame(1, "B", w=w),
        _frame(3, "B", w=w), features=("b",), data_type="yuv444", depth=10,
    )  # fmt: skip
    yield _video(
        generation, "gaps-in-motion", "Motion without its finest planes.",
        _frame(0, "I"), _frame(1, "P", lead=2, w=w), features=("p", "lead"),
    )  # fmt: skip
    if generation == "4.0":
        yield _video(
            generation, "far-flow", "A global flow beyond the picture, with bilinear vectors.",
            _frame(0, "I"), _frame(1, "P", w=0, flow=((-40, 17),)), features=("p", "flow"),
        )  # fmt: skip


def _motion() -> Iterator[Recipe4]:
    for w in range(8):
        taps = 2 * w + 2
        yield _video(
            "4.1" if w == 5 else "4.2", f"taps-{taps}", f"Interpolation with {taps} taps.",
            _frame(0, "I"), _frame(1, "P", w=w), features=("p", "taps"),
        )  # fmt: skip
    for lead in (0, 1, 3):
        yield _video(
            "4.2", f"motion-blocks-{1 << lead}", f"Motion in blocks of {1 << lead}.",
            _frame(0, "I"), _frame(2, "I"), _frame(1, "B", lead=lead, w=2),
            features=("b", "lead"), size=(8, 16),
        )  # fmt: skip
    yield _video(
        "4.2", "global-flow", "Global flows to all sides, and beyond the picture.",
        _frame(0, "I"), _frame(3, "P", flow=((7, 5),)), _frame(1, "B", flow=((-6, -3), (70, -90))),
        _frame(2, "B", flow=((0, 0), (-1_000_000, 1_000_000))), features=("b", "flow"),
    )  # fmt: skip
    yield _video(
        "4.2", "zero-in-video", "Residues, motions or both with all latents zero.",
        _frame(0, "I"), _frame(1, "P", zero=(1, 0)), _frame(2, "P", zero=(0, 1)),
        _frame(3, "P", zero=(1, 1)), features=("p", "zero"),
    )  # fmt: skip
    yield _video(
        "4.2", "noise-in-video", "Noise that goes on from frame to frame.",
        (0, "I", {"residue": {"noise": [1, 0, 1]}}), (1, "I", {"residue": {"zero": 1}}),
        (2, "I", {"residue": {"noise": [0, 1, 0]}}), features=("noise", "intra"),
        data_type="rgb",
    )  # fmt: skip


def _copies() -> Iterator[Recipe4]:
    """Copied topologies, from all kinds of sources (4.1)."""
    for generation in ("4.2", "4.1", "4.0"):
        w = 0 if generation == "4.0" else 1
        yield _video(
            generation, "copies", "Every group copied from an I frame, then from an inter frame.",
            _frame(0, "I"), _frame(1, "P", w=w, copies=(11, 3)),
            _frame(2, "P", w=w, copies=(15, 15)), features=("p", "copies"), data_type="yuv444",
        )  # fmt: skip
    yield _video(
        "4.2", "copies-after-an-intra-frame",
        "A copy from the last I frame although it is shown before the inter frame coded before it.",
        _frame(0, "I"), _frame(3, "P"), _frame(1, "I"), _frame(2, "P", copies=(0, 8)),
        features=("p", "copies"),
    )  # fmt: skip
    yield _video(
        "4.2", "copies-across-an-intra-frame",
        "A copy from the last I frame, which is shown after the inter frame coded before.",
        _frame(0, "I"), _frame(4, "I"), _frame(2, "B"), _frame(5, "P", copies=(0, 8)),
        _frame(1, "P"), _frame(3, "P"), features=("b", "copies"),
    )  # fmt: skip
    yield _video(
        "4.2", "copies-past-an-intra-frame",
        "Copies from the last I frame although inter frames come later, and from inter frames.",
        _frame(0, "I"), _frame(4, "I"), _frame(2, "B", copies=(2, 1)),
        _frame(5, "P", copies=(10, 2)), _frame(3, "B", copies=(5, 3)),
        _frame(1, "B", copies=(12, 12)), features=("b", "copies"),
    )  # fmt: skip
