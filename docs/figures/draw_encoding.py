# SPDX-License-Identifier: BSD-3-Clause
"""Draw ``encoding.svg`` from ``encoding.json``: quality over rate and over time.

The rows are those of ``python -m numchic_trainer.benchmark encodes --save``, and of other codecs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

HERE = Path(__file__).parent
PICTURES = ("kodim14.png", "kodim23.png")
OURS = {"fast": "#9ecae1", "medium": "#4292c6", "slow": "#084594"}
OTHERS = {"AVIF": "#d95f0e", "JPEG XL": "#31a354", "WebP": "#998ec3", "JPEG": "#bdbdbd"}
LAMBDA = 1e-3
RATES = (0.1, 0.2, 0.5, 1.0, 2.0)

Row = dict[str, Any]


def j_x1000(row: Row) -> float:
    """Loss at one price of bits, whatever the encode was made for."""
    mse = 10.0 ** (-row["psnr_db"] / 10.0)
    return float(1000 * (mse + LAMBDA * row["bpp"]))


def draw_rates(axes: Axes, rows: Iterable[Row], value: str) -> None:
    """Curves over bits per pixel."""
    rows = list(rows)
    for name, colour in (OTHERS | OURS).items():
        curve = sorted((r for r in rows if r["curve"] == name), key=lambda r: r["bpp"])
        quality = [r["psnr_db"] if value == "PSNR / dB" else j_x1000(r) for r in curve]
        label = f"numchic, {name}" if name in OURS else name
        axes.plot([r["bpp"] for r in curve], quality, ".-", color=colour, label=label, lw=1.2)
    axes.set_xlabel("bits per pixel")
    axes.set_xscale("log")
    axes.set_xlim(0.1, 3.0)
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(value)


def draw_times(axes: Axes, rows: Iterable[Row], value: str) -> None:
    """What CPU time buys at one price of bits: the best of every codec, every effort of ours."""
    rows = list(rows)
    ours = [r for r in rows if r["curve"] in OURS and r["lmbda"] == LAMBDA]
    best = [
        min((r for r in rows if r["curve"] == name), key=j_x1000)
        for name in OTHERS
        if any(r["curve"] == name for r in rows)
    ]
    for r in best + ours:
        quality = r["psnr_db"] if value == "PSNR / dB" else j_x1000(r)
        axes.plot(r["cpu_s"], quality, "o", color=(OTHERS | OURS)[r["curve"]])
        axes.annotate(
            r["curve"], (r["cpu_s"], quality), xytext=(4, 4), textcoords="offset points", fontsize=7
        )
    axes.margins(0.12)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"CPU seconds of the encode, at the price lambda = {LAMBDA:g}")
    axes.set_ylabel(value)


def main() -> None:
    """Draw."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "numchic"})
    rows = json.loads((HERE / "encoding.json").read_text())
    figure = Figure((12, 11), layout="constrained")
    panels = figure.subplots(4, len(PICTURES))
    for column, picture in enumerate(PICTURES):
        here = [row for row in rows if row["picture"] == picture]
        for row, value in enumerate(("PSNR / dB", "J x 1000")):
            draw_rates(panels[row, column], here, value)
            draw_times(panels[2 + row, column], here, value)
        panels[0, column].set_title(f"{picture.removesuffix('.png')}, 768 x 512")
        panels[1, column].set_ylim(top=2.5 * min(map(j_x1000, here)))
    panels[0, 0].legend(fontsize=8)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    figure.savefig(HERE / "encoding.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
