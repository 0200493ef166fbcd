# SPDX-License-Identifier: BSD-3-Clause
"""Tables of a study, as page and summary show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from numchic_trainer.study.bd import METHODS, Comparison, Difference, Measure
from numchic_trainer.study.names import shown
from numchic_trainer.study.point import Point

_FIRST = ("picture", "curve", "setting", "bytes", "bpp", "psnr_db", "ms_ssim")
_LAST = ("width", "height", "codec", "preset", "effort", "timing")
_TEXTS = {"picture", "curve", "codec", "preset", "effort", "timed", "timing"}


@dataclass(frozen=True)
class Table:
    """Rows of texts under headings.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : list of tuple of str
    groups : tuple of (str, int)
        Headings over several columns each; empty if there are none.
    notes : tuple of str
        What is said below.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    groups: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def is_number(self, column: int) -> bool:
        """Whether there are numbers in a column."""
        return self.columns[column] not in _TEXTS


def averages(measure: Measure) -> tuple[str, str]:
    """Names of both ways of averaging: over the pictures, and of the mean curve."""
    short = measure.name.split(" by ", maxsplit=1)[0]
    return f"mean of the pictures' {short}s", f"{short} of the mean curve"


def set_table(measure: Measure, reference: str, comparisons: Sequence[Comparison]) -> Table:
    """Differences of the set, averaged in both ways."""
    names = averages(measure)
    rows, without = [], []
    for found in comparisons:
        both = (found.mean_of_pictures, found.of_mean_curve)
        cells = [cell for difference in both for cell in _cells(measure, difference)]
        rows.append((shown(found.curve), *cells))
        without += [(name, found.curve, d) for name, d in zip(names, both, strict=True)]
    width = len(METHODS) + 1
    return Table(
        title=f"{measure.name} against {shown(reference)}",
        columns=("curve", *METHODS, "least overlap", *METHODS, "overlap"),
        rows=rows,
        groups=(("", 1), *((name, width) for name in names)),
        notes=_reasons(without),
    )


def picture_table(
    picture: str, reference: str, comparisons: Mapping[Measure, Sequence[Comparison]]
) -> Table:
    """Differences in one picture by all measures that it has."""
    comparisons = {
        measure: compared
        for measure, compared in comparisons.items()
        if any(picture in found.pictures for found in compared)
    }
    rows: dict[str, list[str]] = {}
    without = []
    for measure, compared in comparisons.items():
        for found in compared:
            difference = found.pictures[picture]
            rows.setdefault(found.curve, []).extend(_cells(measure, difference))
            without.append((measure.name, found.curve, difference))
    return Table(
        title=f"{shown(picture)} against {shown(reference)}",
        columns=("curve", *(*METHODS, "overlap") * len(comparisons)),
        rows=[(shown(curve), *cells) for curve, cells in rows.items()],
        groups=(("", 1), *((measure.name, len(METHODS) + 1) for measure in comparisons)),
        notes=_reasons(without),
    )


def _reasons(differences: Iterable[tuple[str, str, Difference]]) -> tuple[str, ...]:
    """Sentences that say of what there is no number, for which curves, and why."""
    curves: dict[tuple[str, str], list[str]] = {}
    for name, curve, difference in differences:
        if difference.reason:
            curves.setdefault((name, difference.reason), []).append(shown(curve))
    return tuple(
        f"No {name} for {', '.join(found)}: {reason}." for (name, reason), found in curves.items()
    )


def _cells(measure: Measure, difference: Difference) -> list[str]:
    """Number of every method with its unit, and the overlap."""
    values = difference.values
    numbers = [f"{values[m]:+.2f} {measure.unit}" if values else "" for m in METHODS]
    return [*numbers, "" if difference.overlap is None else f"{100 * difference.overlap:.0f} %"]


def cost_table(points: Sequence[Point]) -> Table:
    """Time and work of every curve."""
    rows = []
    for name in dict.fromkeys(point.curve for point in points):
        group = [point for point in points if point.curve == name]
        timing = ", ".join(sorted({point.timing for point in group if point.timing}))
        n_pictures = len({point.picture for point in group})
        costs = [
            [value for point in group if (value := getattr(point, field)) is not None]
            for field in ("encode_cpu_s", "decode_cpu_s", "macs_per_pixel")
        ]
        means = [_rounded(fmean(values), 3) if values else "" for values in costs]
        rows.append((shown(name), timing, str(n_pictures), str(len(group)), *means))
    return Table(
        title="Time and work",
        columns=(
            *("curve", "timed", "pictures", "points"),
            *("encode, CPU s", "decode, CPU s", "MAC per pixel"),
        ),
        rows=rows,
        notes=(
            "Means over the points of a curve that have a value. What is timed is a call within a "
            "running process, or a whole process with its start.",
        ),
    )


def results_table(points: Sequence[Point]) -> Table:
    """All points, without columns in which there is nothing."""
    names = [field.name for field in fields(Point) if field.name not in _FIRST + _LAST]
    columns = tuple(
        name
        for name in (*_FIRST, *names, *_LAST)
        if any(getattr(point, name) is not None for point in points)
    )
    rows = [tuple(_plain(getattr(point, name)) for name in columns) for point in points]
    return Table("All results", columns, rows)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return _rounded(value, 5) if isinstance(value, float) else shown(str(value))


def _rounded(value: float, digits: int) -> str:
    """So many digits, and all before the point."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
