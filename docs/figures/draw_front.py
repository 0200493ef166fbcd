# SPDX-License-Identifier: BSD-3-Clause
"""Draw the README's figures: ``pip install scikit-image pillow-jxl-plugin``, then run this file.

``front_pictures.svg`` is made of a stream in ``examples/`` and of its source in scikit-image,
``front_curves.svg`` of ``front.csv`` and ``front_decoding.csv``, which ``measure_front.py`` writes.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator
from measure_front import CROPS, ROOT, load, not_below, psnr

import numchic

sys.path.append(str(ROOT / "examples"))
from make_examples import CROPS as EXAMPLES
from make_examples import crop

HERE = Path(__file__).parent
EXAMPLE = "astronaut"
TOP, LEFT, SIDE, ENLARGED = 62, 70, 104, 4
STYLES = {
    "numchic auto slow": ("numchic, slow", "#084594", "o-"),
    "numchic auto medium": ("numchic, medium", "#4292c6", "o-"),
    "Cool-chic 5.0.1 hop, 1000 iterations": ("official encoder, hop", "black", "s:"),
    "Cool-chic 5.0.1 lop, 1000 iterations": ("official encoder, lop", "black", "^:"),
    "avif": ("AVIF", "#d95f0e", "-"),
    "jxl": ("JPEG XL", "#31a354", "-"),
    "webp": ("WebP", "#998ec3", "-"),
    "jpeg": ("JPEG", "#969696", "-"),
}
RATES = (0.25, 0.5, 1.0, 2.0)

Row = dict[str, str]


def read_rows(name: str) -> list[Row]:
    """Read a table beside this file."""
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def draw_pictures() -> Figure:
    """Draw a detail of an example: original, ours, and others with at least as many bytes."""
    source = next(crop(name, *map(int, area)) for name, *area, _ in EXAMPLES if name == EXAMPLE)
    stream = (ROOT / "examples" / f"{EXAMPLE}.cool").read_bytes()
    size = numchic.read_info(stream).n_bytes
    pictures = {"numchic": (numchic.decode(stream).to_rgb(), size)}
    for codec in ("avif", "jpeg"):
        data = not_below(size, codec, source)
        pictures[STYLES[codec][0]] = load(data), len(data)
    titles = [("original", source)] + [
        (f"{name}: {n_bytes} bytes, {psnr(picture, source):.1f} dB", picture)
        for name, (picture, n_bytes) in pictures.items()
    ]
    figure = Figure((9, 2.5), layout=ConstrainedLayoutEngine(h_pad=0.08))
    for axes, (title, picture) in zip(figure.subplots(1, 4), titles, strict=True):
        part = picture[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
        # Enlarged here, since viewers of SVG smooth what they enlarge.
        axes.imshow(part.repeat(ENLARGED, 0).repeat(ENLARGED, 1), interpolation="none")
        axes.set_title(title, fontsize=8.5)
        axes.set_axis_off()
    return figure


def upper_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out what lies below a line between two other points."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(points):
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x0) > (y - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def draw_curve(axes: Axes, rows: list[Row]) -> None:
    """PSNR over bits per pixel of one picture."""
    for curve, (label, colour, style) in STYLES.items():
        points = [
            (float(row["bpp"]), float(row["psnr_db"])) for row in rows if row["curve"] == curve
        ]
        if style == "-":  # of two chroma formats the better, without steps from one to the other
            points = upper_hull(points)
        axes.plot(*zip(*points, strict=True), style, color=colour, label=label, lw=1.3, ms=4)
    axes.set_xscale("log")
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("bits per pixel", fontsize=8)
    axes.grid(alpha=0.3)


def draw_times(axes: Axes, rows: list[Row]) -> None:
    """Times of decoding."""
    styles = [STYLES.get(row["decoder"], (row["decoder"], "#084594", "")) for row in rows]
    times = [float(row["cpu_ms"]) for row in rows]
    labels = [label.replace(", ", ",\n") for label, _, _ in styles]
    bars = axes.barh(labels, times, color=[colour for _, colour, _ in styles])
    axes.bar_label(bars, [f"{ms:.0f}" for ms in times], padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves() -> Figure:
    """Draw rate-distortion curves and times of decoding."""
    rows = read_rows("front.csv")
    figure = Figure((9, 3.4), layout=ConstrainedLayoutEngine(h_pad=0.08))
    *panels, bars = figure.subplots(1, 3, width_ratios=[1.15, 1.15, 1])
    for axes, picture in zip(panels, CROPS, strict=True):
        draw_curve(axes, [row for row in rows if row["picture"] == picture])
        axes.set_title(f"{picture.split('_')[0]}, crop of 256x256: PSNR / dB", fontsize=8.5)
    panels[0].set_xlim(0.4, 3.5)
    panels[0].set_ylim(24, 41)
    panels[1].set_xlim(0.18, 2.2)
    panels[1].set_ylim(29, 47)
    panels[1].legend(fontsize=7, loc="upper left")
    draw_times(bars, read_rows("front_decoding.csv"))
    bars.set_title("decoding 768x512: CPU ms", fontsize=8.5)
    for axes in [*panels, bars]:
        axes.tick_params(labelsize=8)
    return figure


def main() -> None:
    """Draw both."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "numchic"})
    for name, figure in (("pictures", draw_pictures()), ("curves", draw_curves())):
        figure.savefig(HERE / f"front_{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
