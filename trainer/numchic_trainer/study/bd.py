# SPDX-License-Identifier: BSD-3-Clause
"""Bjontegaard's differences of curves, by the library ``bjontegaard``, and why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import bjontegaard
import numpy as np

from numchic_bitstream import UsageError
from numchic_bitstream.arrays import F64
from numchic_trainer.study.curves import Curve
from numchic_trainer.study.names import shown

METHODS = ("akima", "pchip")
LEAST_POINTS = 4
LEAST_OVERLAP = 0.25

Quality = Literal["psnr_db", "ms_ssim_db"]


@dataclass(frozen=True)
class Measure:
    """A kind of difference.

    Attributes
    ----------
    name, unit : str
    quality : str
        Field of :class:`~numchic_trainer.study.curves.Mark`.
    over_rate : bool
        Whether it is a difference of qualities over the rate, not of rates over the quality.
    """

    name: str
    unit: str
    quality: Quality
    over_rate: bool


BD_RATE = Measure("BD-rate by PSNR", "%", "psnr_db", over_rate=False)
BD_PSNR = Measure("BD-PSNR", "dB", "psnr_db", over_rate=True)
BD_RATE_MS_SSIM = Measure("BD-rate by MS-SSIM", "%", "ms_ssim_db", over_rate=False)
MEASURES = (BD_RATE, BD_PSNR, BD_RATE_MS_SSIM)


@dataclass(frozen=True)
class Difference:
    """Of a curve to another, or the mean of several.

    Attributes
    ----------
    values : mapping
        By name of the method; empty if there is no number.
    overlap : float or None
        Part of the joint interval in which there are both curves; of a mean the smallest.
    reason : str or None
        Why there is no number.
    """

    values: Mapping[str, float]
    overlap: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A curve against the reference by one measure.

    Attributes
    ----------
    curve : str
    pictures : dict
        Difference of every picture.
    mean_of_pictures : Difference
        Mean of the pictures' differences.
    of_mean_curve : Difference
        Difference of the mean curves.
    """

    curve: str
    pictures: dict[str, Difference]
    mean_of_pictures: Difference
    of_mean_curve: Difference


def choose_reference(curves: Sequence[Curve], name: str | None = None) -> str:
    """Name of the curve that others are compared with.

    Without a name it is the first of those that have the most points, and not one of numchic if
    there are others.
    """
    names = list(dict.fromkeys(curve.name for curve in curves))
    if name is not None:
        if name not in names:
            raise UsageError("there is no such curve", "reference", None, name, ", ".join(names))
        return name
    totals = dict.fromkeys(names, 0)
    for curve in curves:
        totals[curve.name] += len(curve.marks)
    others = {curve.name for curve in curves if curve.codec != "numchic"}
    return max(names, key=lambda name: (name in others, totals[name]))


def difference(measure: Measure, reference: Curve, curve: Curve) -> Difference:
    """Compare two curves, or say why that cannot be done."""
    anchor, test = _known(reference, measure.quality), _known(curve, measure.quality)
    for whose, line in (("", test), ("the reference has ", anchor)):
        if reason := _unfit(*line):
            return Difference({}, None, f"{whose}{reason}")
    overlap = _overlap(_base(measure, *anchor), _base(measure, *test))
    if overlap < LEAST_OVERLAP:
        reason = f"the curves overlap in {100 * overlap:.0f} % of their joint interval"
        return Difference({}, overlap, f"{reason}, less than {100 * LEAST_OVERLAP:.0f} %")
    library: Callable[..., float] = (
        bjontegaard.bd_psnr if measure.over_rate else bjontegaard.bd_rate
    )
    # The overlap is judged above: the library would only warn.
    options = {"require_matching_points": False, "min_overlap": 0}
    values = {
        method: float(library(*anchor, *test, method=method, **options)) for method in METHODS
    }
    return Difference(values, overlap)


def compare(
    measure: Measure,
    reference: str,
    names: Iterable[str],
    pictures: Mapping[str, Sequence[Curve]],
    means: Sequence[Curve],
) -> list[Comparison]:
    """Compare curves with the reference, in every picture and in the mean over them."""
    found = []
    for name in names:
        if name != reference:
            single = {p: _among(measure, reference, name, c) for p, c in pictures.items()}
            mean = _among(measure, reference, name, means, "no mean curve")
            found.append(Comparison(name, single, _mean(single), mean))
    return found


def _among(
    measure: Measure, reference: str, name: str, curves: Sequence[Curve], missing: str = "no points"
) -> Difference:
    """Compare two of these curves."""
    by_name = {curve.name: curve for curve in curves}
    if name not in by_name:
        return Difference({}, None, missing)
    if reference not in by_name:
        return Difference({}, None, f"the reference has {missing}")
    return difference(measure, by_name[reference], by_name[name])


def _mean(differences: Mapping[str, Difference]) -> Difference:
    """Mean of the pictures' differences: of all of them, since others would not compare."""
    overlaps = [d.overlap for d in differences.values() if d.overlap is not None]
    overlap = min(overlaps, default=None)
    for picture, found in differences.items():
        if found.reason:
            return Difference({}, overlap, f"{shown(picture)}: {found.reason}")
    values = {m: fmean(d.values[m] for d in differences.values()) for m in METHODS}
    return Difference(values, overlap)


def _known(curve: Curve, quality: Quality) -> tuple[F64, F64]:
    """Rates and qualities where there is a quality."""
    pairs = [(mark.bpp, getattr(mark, quality)) for mark in curve.marks]
    known = np.array([pair for pair in pairs if pair[1] is not None], np.float64).reshape(-1, 2)
    return known[:, 0], known[:, 1]


def _unfit(rates: F64, qualities: F64) -> str | None:
    """What a curve has that keeps it from being compared."""
    if len(rates) < LEAST_POINTS:
        return f"fewer than {LEAST_POINTS} points" if len(rates) else "no point with this quality"
    if not (np.isfinite(rates).all() and np.isfinite(qualities).all() and rates[0] > 0.0):
        return "a rate or a quality that is no number to be compared"
    falls = np.flatnonzero((np.diff(rates) <= 0.0) | (np.diff(qualities) <= 0.0))
    if len(falls):
        where = f"{rates[falls[0]]:.4f} and {rates[falls[0] + 1]:.4f} bits per pixel"
        return f"no quality that rises with the rate between {where}"
    return None


def _base(measure: Measure, rates: F64, qualities: F64) -> F64:
    """What is integrated over."""
    return np.log10(rates) if measure.over_rate else qualities


def _overlap(first: F64, second: F64) -> float:
    """Part of the joint interval that is in both."""
    joint = max(first[-1], second[-1]) - min(first[0], second[0])
    common = min(first[-1], second[-1]) - max(first[0], second[0])
    return float(max(common, 0.0) / joint)
