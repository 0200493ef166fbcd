# SPDX-License-Identifier: BSD-3-Clause
"""Figures of a study: quality over rate and over time, BD-rate over time and work."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from numchic_trainer.study.bd import METHODS, Comparison, Quality
from numchic_trainer.study.curves import Curve
from numchic_trainer.study.names import shown

Cost = Literal["bpp", "encode_cpu_s", "decode_cpu_s", "macs_per_pixel"]
Style = Mapping[str, Any]
Spots = Mapping[str, Sequence[tuple[float, float]]]

QUALITIES: dict[Quality, str] = {"psnr_db": "PSNR / dB", "ms_ssim_db": "MS-SSIM / dB"}
COSTS: dict[Cost, str] = {
    "bpp": "bits per pixel",
    "encode_cpu_s": "CPU seconds of encoding",
    "decode_cpu_s": "CPU seconds of decoding",
    "macs_per_pixel": "multiply-accumulates of decoding per pixel",
}

# Blue is ours alone, darker with more effort; the others are Okabe's and Ito's, darkened, without.
_BLUES = ("#62aee0", "#2171b5", "#08306b")
_OTHERS = ("#d55e00", "#009e73", "#b4569a", "#c98a00", "#6b6b6b", "#8c3b0a")
_MARKERS = ("s", "^", "D", "v", "P", "X", "p")  # no divisor of the number of colours: pairs differ
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "numchic",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9,
    "legend.frameon": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": "#888888",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#222222"),
}


@contextmanager
def _drawing() -> Iterator[None]:
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Text stays text: who looks at it needs the font, not who draws it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def svg(figure: Figure) -> bytes:
    """Contents of an SVG file, the same ones for the same figure."""
    file = io.BytesIO()
    with _drawing():
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def styles_of(curves: Iterable[Curve]) -> dict[str, Style]:
    """Colour, marker and line of every curve by name: ours blue and thick, the others thin.

    Of ours the shade tells efforts apart, filled or hollow markers tell presets apart.
    """
    unique = list({curve.name: curve for curve in curves}.values())
    ours = [curve for curve in unique if curve.codec == "numchic"]
    efforts = list(dict.fromkeys(curve.effort for curve in ours))
    presets = list(dict.fromkeys(curve.preset for curve in ours))
    styles: dict[str, Style] = {}
    for curve in ours:
        shade = efforts.index(curve.effort) if len(efforts) > 1 else 1
        hollow = presets.index(curve.preset) % 2
        colour = _BLUES[shade % len(_BLUES)]
        line = {"color": colour, "lw": 2.0, "zorder": 3, "marker": "o"}
        styles[curve.name] = line | ({"ls": (0, (4, 1.5)), "mfc": "white"} if hollow else {})
    for k, curve in enumerate(curve for curve in unique if curve.codec != "numchic"):
        colour, marker = _OTHERS[k % len(_OTHERS)], _MARKERS[k % len(_MARKERS)]
        styles[curve.name] = {"color": colour, "lw": 1.2, "marker": marker, "ms": 4.5}
    return styles


def draw_quality(
    curves: Sequence[Curve], quality: Quality, over: Cost, styles: Mapping[str, Style]
) -> Figure | None:
    """Quality over rate or time, one line per curve; None if there is nothing to be seen.

    A logarithmic axis has no zero: a time that is too short for its clock is not drawn.
    """
    spots = {
        curve.name: [
            (x, y)
            for mark in curve.marks
            if (y := getattr(mark, quality)) is not None and (x := getattr(mark, over) or 0.0) > 0.0
        ]
        for curve in curves
    }
    return _draw(spots, COSTS[over], QUALITIES[quality], styles)


def draw_savings(
    curves: Sequence[Curve],
    over: Cost,
    comparisons: Sequence[Comparison],
    reference: str,
    styles: Mapping[str, Style],
) -> Figure | None:
    """BD-rate of the mean curves over what a picture costs; None without two different costs."""
    rates = {c.curve: c.of_mean_curve.values.get(METHODS[0]) for c in comparisons}
    rates[reference] = 0.0
    spots = {}
    for curve in curves:
        costs = [cost for mark in curve.marks if (cost := getattr(mark, over)) is not None]
        rate = rates.get(curve.name)
        if rate is not None and costs and fmean(costs) > 0.0:
            spots[curve.name] = [(fmean(costs), rate)]
    if len({line[0][0] for line in spots.values()}) < 2:
        return None
    return _draw(spots, COSTS[over], f"BD-rate against {shown(reference)} / %", styles)


def _draw(spots: Spots, x_label: str, y_label: str, styles: Mapping[str, Style]) -> Figure | None:
    spots = {name: line for name, line in spots.items() if line}
    if not spots:
        return None
    with _drawing():
        # A blank keeps matplotlib from leaving out names that start with an underscore.
        labels = [f"{'' if name[:1] != '_' else ' '}{shown(name)}" for name in spots]
        longest = max(map(len, labels))
        n_columns = 3 if longest <= 18 else 2 if longest <= 32 else 1
        n_rows = -(-len(labels) // n_columns)
        figure = Figure((5.2, 3.6 + 0.19 * n_rows), layout="constrained")
        axes = figure.subplots()
        lines = [
            axes.plot([x for x, _ in line], [y for _, y in line], **styles[name])[0]
            for name, line in spots.items()
        ]
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(color="#888888", alpha=0.25, lw=0.6)
        _plain_logarithmic(axes)
        figure.legend(
            lines,
            labels,
            ncols=n_columns,
            loc="outside lower center",
            fontsize=8.5,
            handlelength=2.4,
        )
    return figure


def _plain_logarithmic(axes: Axes) -> None:
    """Scale the axis of what is paid, with plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0, 2.0, 5.0) if high < 3e3 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
