# SPDX-License-Identifier: BSD-3-Clause
"""Sizes, sample formats, final resizing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numchic_bitstream import FrameHeader
from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.drawing import Signal
from numchic_conformance.synthetic.recipe import Recipe, still

# Height, width, what is special.
_SIZES = (
    (1, 1, "a single pixel"),
    (1, 2, "two pixels in a row"),
    (2, 1, "two pixels in a column"),
    (2, 2, "the smallest size without a side of 1"),
    (1, 40, "one row; with a wavefront of one row"),
    (40, 1, "one column"),
    (3, 3, "every grid smaller than the context"),
    (5, 4, "less than five columns, the reach of the context"),
    (4, 5, "less than five rows, the reach of the context"),
    (7, 8, "raster order well below its limit of 9 columns"),
    (30, 9, "the widest grid in raster order"),
    (30, 10, "the narrowest grid in wavefront order, where no two samples share a time"),
    (30, 11, "the narrowest grid in which samples share a time"),
    (4, 19, "19 columns, halved to 10"),
    (4, 18, "18 columns, halved to 9"),
    (12, 20, "20 columns, the last width with two samples of a time in a row pair"),
    (12, 21, "21 columns, where three rows begin to overlap in time"),
    (2, 60, "a wavefront with more columns than 10 times the rows"),
    (60, 13, "a wavefront with many rows"),
    (16, 16, "powers of two"),
    (17, 17, "powers of two plus one"),
    (15, 15, "powers of two minus one"),
    (33, 64, "an odd height and an even width"),
    (64, 33, "an even height and an odd width"),
    (72, 65, "more than one band of 64 rows, with a rest"),
    (129, 14, "two bands of 64 rows and one row"),
)


# Height, width, level of the finest latent: ratios 2, 4, 8 exactly, others, and different on the
# two axes. Sizes of level n are rounded up, so that 9 at level 1 is 5.
_RESIZES = (
    (16, 24, 1),
    (16, 24, 2),
    (16, 24, 3),
    (15, 23, 1),
    (13, 21, 2),
    (9, 16, 1),
    (16, 9, 1),
    (1, 17, 1),
    (17, 1, 2),
    (20, 40, 4),
    (2, 17, 1),
    (94, 198, 2),  # positions of nearest differ in float32, float64 and integers
)


def picture_recipes() -> Iterator[Recipe]:
    """Recipes about the shape and format of pictures."""
    yield from _sizes()
    yield from _formats()
    yield from _chroma()
    yield from _resizes()


def _sizes() -> Iterator[Recipe]:
    for height, width, what in _SIZES:
        yield still(f"size-{width}x{height}", f"Size: {what}.", "size", img_size=(height, width))
    small: dict[str, Any] = {"spatial_context_arm": 3, "ups_k_size": 4, "ups_preconcat_k_size": 3}
    yield still(
        "size-16383x1", "The widest picture, one row high.", "size",
        level=Level.FULL, img_size=(1, 16383), latent_resolution=(0, 15), **small,
    )  # fmt: skip
    yield still(
        "size-1x16383", "The highest picture, one column wide.", "size",
        level=Level.FULL, img_size=(16383, 1), latent_resolution=(0, 15), **small,
    )  # fmt: skip


def _formats() -> Iterator[Recipe]:
    for data_type in ("rgb", "yuv420", "yuv444"):
        for bitdepth in range(8, 17):
            frame = FrameHeader(frame_data_type=data_type, bitdepth=bitdepth)
            yield still(
                f"format-{data_type}-{bitdepth}b",
                f"Samples: {data_type} with {bitdepth} bits.",
                "format", data_type, f"{bitdepth} bits",
                frame=frame, img_size=(14, 20),
            )  # fmt: skip


def _chroma() -> Iterator[Recipe]:
    sizes = ((2, 2), (3, 3), (2, 3), (3, 2), (15, 22), (14, 21), (15, 21), (67, 20))
    for height, width in sizes:
        for bitdepth in (8, 10):
            frame = FrameHeader(frame_data_type="yuv420", bitdepth=bitdepth)
            yield still(
                f"yuv420-{bitdepth}b-{width}x{height}",
                f"4:2:0 of a size {width} x {height}: an odd last row or column has no chroma.",
                "yuv420",
                frame=frame, img_size=(height, width),
            )  # fmt: skip
    for bitdepth in (8, 16):
        yield still(
            f"yuv420-{bitdepth}b-unclamped",
            "4:2:0 averages of values far outside 0..1, which are clamped after the mean only.",
            "yuv420", "saturated",
            signal=Signal(mean=0.5, spread=1.5), img_size=(16, 22),
            frame=FrameHeader(frame_data_type="yuv420", bitdepth=bitdepth),
        )  # fmt: skip
        for data_type in ("rgb", "yuv444"):
            yield still(
                f"{data_type}-{bitdepth}b-unclamped",
                "Samples far outside 0..1 on both sides.",
                data_type, "saturated",
                signal=Signal(mean=0.5, spread=1.5), img_size=(16, 22),
                frame=FrameHeader(frame_data_type=data_type, bitdepth=bitdepth),
            )  # fmt: skip


def _resizes() -> Iterator[Recipe]:
    for kind in ("nearest", "bilinear", "bicubic"):
        for height, width, level in _RESIZES:
            yield still(
                f"resize-{kind}-{width}x{height}-from-level-{level}",
                f"Final {kind} resize from level {level} to {width} x {height}.",
                "resize", kind,
                img_size=(height, width), latent_resolution=(level, level + 2),
                final_upsampling_type=kind,
            )  # fmt: skip
        yield still(
            f"resize-{kind}-identity",
            f"Final {kind} resize that has nothing to do.",
            "resize", kind,
            final_upsampling_type=kind,
        )  # fmt: skip
        yield still(
            f"resize-{kind}-yuv420",
            f"Final {kind} resize followed by 4:2:0.",
            "resize", kind, "yuv420",
            img_size=(15, 22), latent_resolution=(1, 3), final_upsampling_type=kind,
            frame=FrameHeader(frame_data_type="yuv420"),
        )  # fmt: skip
