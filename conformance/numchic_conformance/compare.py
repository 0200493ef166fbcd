# SPDX-License-Identifier: BSD-3-Clause
"""Where two decoders first differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic.v5.context import ROW_DELAY
from numchic_conformance.manifest import PictureFormat

Array = NDArray[Any]

CURRENT_GENERATION = "5.0"
"""Generation that other decoders are taken to know, and whose streams can be written again."""

FLOAT_STAGES = ("dense", "synthesis")
FLOAT_TOLERANCE = 2e-5
"""Of float stages, relative to the largest magnitude in them (at least 1)."""


@dataclass(frozen=True)
class Divergence:
    """The first difference between what was expected and what was found.

    Attributes
    ----------
    stage : str
        See :mod:`numchic_conformance.stages`.
    position : str
        Of the first differing value, in the order in which a decoder computes them.
    expected, found : str
        Values there, or digests of the whole stage, or its shapes.
    extent : str
        How many values differ, and by how much.
    """

    stage: str
    position: str
    expected: str
    found: str
    extent: str = ""

    def __str__(self) -> str:
        where = f" at {self.position}" if self.position else ""
        extent = f" ({self.extent})" if self.extent else ""
        return f"{self.stage}{where}: expected {self.expected}, found {self.found}{extent}"


def base_name(stage: str) -> str:
    """Name of a stage without frame, part and number: ``latents`` for ``latents.3``."""
    names = [name for name in stage.split(".") if name not in {"residue", "motion"}]
    return next(name for name in names if not name.startswith("frame"))


def compare_stage(
    stage: str, expected: Array, found: Array, generation: str = CURRENT_GENERATION
) -> Divergence | None:
    """Compare one stage before the samples.

    Integers must be equal; of float stages of 5.0 see :data:`FLOAT_TOLERANCE`, those of 4.x must be
    equal as well. Latents are compared in coding order, because everything after a wrong one is
    wrong: that of a wavefront (coolchic-5, section 7), in 4.x row by row.
    """
    if expected.shape != found.shape:
        return Divergence(stage, "", f"shape {expected.shape}", f"shape {found.shape}")
    kind = base_name(stage)
    with np.errstate(invalid="ignore"):  # infinities
        difference = np.abs(found.astype(np.float64) - expected)
    is_current = generation == CURRENT_GENERATION
    if kind in FLOAT_STAGES and is_current:
        scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
        # Also for NaN, but not for equal infinities.
        different = ~((difference <= FLOAT_TOLERANCE * scale) | (found == expected))
    else:
        different = found != expected
    if not different.any():
        return None
    index: tuple[int, ...]
    if kind == "latents" and is_current:
        rows, columns = np.nonzero(different)
        first = np.lexsort((rows, columns + ROW_DELAY * rows))[0]
        index = int(rows[first]), int(columns[first])
    else:
        index = tuple(int(axis[0]) for axis in np.nonzero(different))
    return Divergence(
        stage,
        _position(index),
        _show(expected[index]),
        _show(found[index]),
        f"{np.count_nonzero(different)} of {different.size} differ, at most by "
        f"{_show(np.nan_to_num(difference).max())}",
    )


def _position(index: tuple[int, ...]) -> str:
    axes = ("channel", "row", "column")[-len(index) :] if len(index) > 1 else ("index",)
    return ", ".join(f"{axis} {i}" for axis, i in zip(axes, index, strict=True))


def _show(value: Any) -> str:
    return f"{value:.8g}" if np.issubdtype(type(value), np.floating) else str(value)


def compare_samples(
    picture: PictureFormat, expected: Array, found: Array, max_abs_diff: int, changed: int
) -> Divergence | None:
    """Compare all samples of all frames, in the order of the stage ``samples``.

    Parameters
    ----------
    picture : PictureFormat
    expected, found : uint8[n] or uint16[n]
    max_abs_diff : int
        Largest difference that is allowed.
    changed : int
        Number of samples that may differ.

    Returns
    -------
    Divergence or None
        The first sample that differs, or that differs too much if any does.
    """
    if expected.size != found.size:
        return Divergence("samples", "", f"{expected.size} samples", f"{found.size} samples")
    difference = np.abs(found.astype(np.int64) - expected)
    n_changed, largest = int(np.count_nonzero(difference)), int(difference.max(initial=0))
    if largest <= max_abs_diff and n_changed <= changed:
        return None
    threshold = max_abs_diff if largest > max_abs_diff else 0
    index = int(np.argmax(difference > threshold))
    return Divergence(
        "samples",
        sample_position(picture, index),
        str(expected[index]),
        str(found[index]),
        f"{n_changed} of {expected.size} differ, at most by {largest}; allowed {changed}, by "
        f"{max_abs_diff}",
    )


def sample_position(picture: PictureFormat, index: int) -> str:
    """Frame, plane, row and column of a sample of the stage ``samples``."""
    frame, rest = divmod(index, picture.frame_samples)
    prefix = f"frame {frame}, " if picture.frames > 1 else ""
    if picture.data_type == "rgb":
        pixel, channel = divmod(rest, 3)
        row, column = divmod(pixel, picture.width)
        return f"{prefix}plane {'RGB'[channel]}, row {row}, column {column}"
    plane = 0
    for rows, columns in picture.plane_shapes:
        if rest < rows * columns:
            break
        rest -= rows * columns
        plane += 1
    row, column = divmod(rest, columns)
    return f"{prefix}plane {'YUV'[plane]}, row {row}, column {column}"
