# SPDX-License-Identifier: BSD-3-Clause
"""Points of a study as curves: of every picture, and of the mean over all pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from numchic_trainer.study.point import Point

_LARGEST_MS_SSIM = 1.0 - 1e-10  # 100 dB, as PSNR has it if nothing is lost


@dataclass(frozen=True)
class Mark:
    """What a curve has at one setting: of one picture, or the mean over all of them."""

    setting: str
    bpp: float
    psnr_db: float
    ms_ssim_db: float | None
    encode_cpu_s: float | None
    decode_cpu_s: float | None
    macs_per_pixel: float | None


@dataclass(frozen=True)
class Curve:
    """Marks of a codec by ascending rate.

    Attributes
    ----------
    name, codec : str
    preset, effort : str or None
        Of numchic.
    marks : tuple of Mark
    """

    name: str
    codec: str
    preset: str | None
    effort: str | None
    marks: tuple[Mark, ...]


def ms_ssim_db(value: float) -> float:
    """MS-SSIM in dB, in which differences near 1 can be seen; 100 if nothing is lost."""
    return -10.0 * math.log10(1.0 - min(value, _LARGEST_MS_SSIM))


def picture_curves(points: Iterable[Point]) -> dict[str, list[Curve]]:
    """Curves of every picture; pictures and curves come in the order of the points."""
    groups: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        groups.setdefault(point.picture, {}).setdefault(point.curve, []).append(point)
    return {
        picture: [_curve(group, [[point] for point in group]) for group in curves.values()]
        for picture, curves in groups.items()
    }


def mean_curves(points: Iterable[Point]) -> tuple[list[Curve], list[str]]:
    """Means over all pictures at equal settings.

    Curves are comparable only if they are of the same pictures. So one that lacks a picture is left
    out, and of the others every setting that not all pictures have.

    Returns
    -------
    list of Curve
    list of str
        Sentences that say what was left out.
    """
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.curve, []).append(point)
    pictures = list(dict.fromkeys(p.picture for group in groups.values() for p in group))
    curves, remarks = [], []
    for name, group in groups.items():
        common, left_out = _common_settings(group, pictures)
        if common:
            curves.append(_curve(group, common))
        if left_out:
            remarks.append(f"Mean over the pictures: of {name}, {left_out}.")
    return curves, remarks


def _common_settings(
    group: Sequence[Point], pictures: Sequence[str]
) -> tuple[list[list[Point]], str | None]:
    """Points of one curve by settings that all pictures have, and what is left out."""
    missing = [picture for picture in pictures if all(p.picture != picture for p in group)]
    if missing:
        return [], f"nothing is in it, since {_some(missing)} has no point"
    settings: dict[str, list[Point]] = {}
    for point in group:
        settings.setdefault(point.setting, []).append(point)
    # Somebody else's table may have a setting twice: which of them is meant, nobody knows.
    common = {
        setting: found
        for setting, found in settings.items()
        if set(Counter(p.picture for p in found).values()) == {1} and len(found) == len(pictures)
    }
    others = [setting for setting in settings if setting not in common]
    if not common:
        return [], "nothing is in it, since no setting occurs once in every picture"
    if others:
        return list(common.values()), f"{_some(others)} is left out, not once in every picture"
    return list(common.values()), None


def _some(names: Sequence[str]) -> str:
    """Names, at most three of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _curve(points: Sequence[Point], groups: Iterable[Sequence[Point]]) -> Curve:
    first = points[0]
    marks = sorted(map(_mark, groups), key=lambda mark: (mark.bpp, mark.psnr_db))
    return Curve(first.curve, first.codec, first.preset, first.effort, tuple(marks))


def _mark(points: Sequence[Point]) -> Mark:
    ms_ssim = _mean(p.ms_ssim for p in points)
    return Mark(
        setting=points[0].setting,
        bpp=fmean(p.bpp for p in points),
        psnr_db=fmean(p.psnr_db for p in points),
        ms_ssim_db=None if ms_ssim is None else ms_ssim_db(ms_ssim),
        encode_cpu_s=_mean(p.encode_cpu_s for p in points),
        decode_cpu_s=_mean(p.decode_cpu_s for p in points),
        macs_per_pixel=_mean(p.macs_per_pixel for p in points),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean, if there is none that misses."""
    values = list(values)
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
