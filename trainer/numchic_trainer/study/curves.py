# SPDX-License-Identifier: BSD-3-Clause
"""Points of a study as curves: of every picture, and of the mean over all pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from numchic_trainer.study.names import shown
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
        missing = [picture for picture in pictures if all(p.picture != picture for p in group)]
        common, others = _by_settings(group, len(pictures))
        if common and not missing:
            curves.append(_curve(group, common))
        if missing:
            reason = f"{shown(name)}: it has no points of {_some(missing)}"
        elif not common:
            reason = f"{shown(name)}: it has no setting once in every picture"
        elif others:
            reason = f"{shown(name)} at {_some(others)}: not once in every picture"
        else:
            continue
        remarks.append(f"The mean over the pictures is without {reason}.")
    return curves, remarks


def _by_settings(group: Iterable[Point], n_pictures: int) -> tuple[list[list[Point]], list[str]]:
    """Points at settings that every picture has once, and the other settings."""
    settings: dict[str, list[Point]] = {}
    for point in group:
        settings.setdefault(point.setting, []).append(point)
    # Somebody else's table may have a setting twice: nobody knows which of them is meant.
    common = {
        setting: points
        for setting, points in settings.items()
        if len(points) == len({point.picture for point in points}) == n_pictures
    }
    return list(common.values()), [setting for setting in settings if setting not in common]


def _some(names: Sequence[str]) -> str:
    """Names, at most three of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + more


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
