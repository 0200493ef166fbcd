# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of what an encode has done, to be looked at: ``index.html`` and its figures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import numchic
from numchic.files.images import write_file
from numchic.picture import Picture
from numchic_bitstream import read_stream
from numchic_bitstream.arrays import F32, F64
from numchic_trainer.figures import block_means, block_side, png, reduced, show, to_rgb
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.quality import mean_squared_error, psnr
from numchic_trainer.write import load_model

Log = Sequence[Mapping[str, float | str]]
_PHASE_COLOURS = {"warm-up": "#f3e3c3", "main": "#dbe9f6", "refine": "#e2f0dd"}


def write_report(
    directory: Path, source: Picture, stream: bytes, log: Log, weights: F32 | None = None
) -> list[Path]:
    """Draw an encode.

    Parameters
    ----------
    directory : Path
        Folder of the files, which is made if it does not exist.
    source : Picture
    stream : bytes
    log : sequence of dict
        The log of :class:`numchic_trainer.EncodeResult`; it may be empty.
    weights : array of float32, shape (H, W), optional
        Weights of the squared errors, with a mean of 1.

    Returns
    -------
    list of Path
        The files: comparison.png, weights.png if there are some, latents.png, rate.png,
        training.png, index.html.
    """
    directory.mkdir(parents=True, exist_ok=True)
    decoded = numchic.decode(stream)
    parsed = read_stream(stream)
    model = load_model(parsed.frames[0].residue).eval()
    grids = model.quantised_latents()
    latents = [grid.numpy() for grid in grids]
    bits = [grid.numpy() for grid in model.latent_bits(grids)]
    figures = {
        "comparison": _comparison(source, decoded, parsed.n_bytes),
        **({} if weights is None else {"weights": _weights(source, decoded, weights)}),
        "latents": _pyramid(model, latents, bits),
        "rate": _rate(model, bits, parsed.n_bytes),
        "training": _training(log),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(directory / f"{name}.png")
        write_file(paths[-1], png(figure))
    paths.append(directory / "index.html")
    facts = _facts(source, decoded, parsed.n_bytes, len(stream))
    if log:
        facts["optimised for"] = _optimised_for(log[-1])
    write_file(paths[-1], _page(figures, facts).encode())
    return paths


def _facts(source: Picture, decoded: Picture, n_bytes: int, n_all_bytes: int) -> dict[str, str]:
    side = block_side(source.planes[0].shape)
    return {
        "size": f"{source.width} x {source.height}, {source.data_type}, {source.bitdepth} bits",
        "stream": f"{n_bytes} bytes, {_bpp(source, n_bytes):.4f} bits per pixel",
        "trailer": f"{n_all_bytes - n_bytes} bytes",
        "PSNR": f"{_psnr(source, decoded):.2f} dB",
        "figures": "all samples" if side == 1 else f"means of {side} x {side} samples",
    }


def _optimised_for(last: Mapping[str, float | str]) -> str:
    """Say what the loss of the last row of a log is made of."""
    loss, distortion, bpp = (1000.0 * float(last[key]) for key in ("loss", "distortion", "bpp"))
    return (
        f"{last['measure']}: {distortion:.4f}e-3 + lambda {float(last['lmbda']):.3g} x "
        f"{bpp / 1000.0:.4f} bits per pixel = {loss:.4f}e-3"
    )


def _page(figures: Mapping[str, Figure], facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>\n" for name, value in facts.items()
    )
    images = "".join(f'<p><img src="{name}.png" alt="{name}"></p>\n' for name in figures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<title>numchic encode</title>\n"
        "<style>body{font-family:sans-serif;margin:2em}img{max-width:100%}"
        "th{text-align:left;padding-right:1em}</style></head>\n"
        f"<body><h1>numchic encode</h1>\n<table>\n{rows}</table>\n{images}</body></html>\n"
    )


def _bpp(picture: Picture, n_bytes: int) -> float:
    return 8 * n_bytes / (picture.height * picture.width)


def _psnr(source: Picture, decoded: Picture) -> float:
    return psnr(mean_squared_error(source, decoded))


def _comparison(source: Picture, decoded: Picture, n_bytes: int) -> Figure:
    ratio = source.height / source.width
    figure = Figure((13, min(max(13 / 3 * ratio, 2.0), 12) + 0.8), layout="constrained")
    axes = figure.subplots(1, 3)
    colours = "" if source.data_type == "rgb" else " (as RGB by BT.709, full range)"
    show(axes[0], to_rgb(reduced(source)), f"original{colours}")
    show(
        axes[1],
        to_rgb(reduced(decoded)),
        f"decoded: {_bpp(source, n_bytes):.3f} bits per pixel, {_psnr(source, decoded):.2f} dB",
    )
    n_planes = _n_compared(source)
    name = "luma error" if n_planes == 1 else "error, mean of R, G, B"

    def rows(r: slice) -> F64:
        differences = [
            ours[r].astype(np.float64) - theirs[r]
            for ours, theirs in zip(decoded.planes, source.planes[:n_planes], strict=False)
        ]
        mean: F64 = np.mean(differences, axis=0)
        return mean

    error = block_means(rows, source.planes[0].shape)
    limit = max(1.0, float(np.quantile(np.abs(error), 0.999)))
    image = show(
        axes[2], error, f"{name} (decoded - original)", cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    figure.colorbar(image, ax=axes[2], shrink=0.8, label="sample values")
    return figure


def _weights(source: Picture, decoded: Picture, weights: F32) -> Figure:
    """Draw the weights, and the squared error of luma or of all colours with them."""
    ratio = source.height / source.width
    figure = Figure((13, min(max(13 / 2 * ratio, 2.0), 12) + 0.8), layout="constrained")
    axes = figure.subplots(1, 2)
    n_planes = _n_compared(source)
    maximum = (1 << source.bitdepth) - 1

    def rows(r: slice) -> F64:
        errors = [
            ((ours[r].astype(np.float64) - theirs[r]) / maximum) ** 2
            for ours, theirs in zip(decoded.planes, source.planes[:n_planes], strict=False)
        ]
        weighted: F64 = 1000.0 * weights[r] * np.mean(errors, axis=0)
        return weighted

    error = block_means(rows, weights.shape)
    name = "error" if n_planes == 3 else "luma error"
    mean = np.mean([rows(slice(y, y + 1)).mean() for y in range(source.height)])
    title = f"weighted squared {name} x 1000, mean {mean:.3f}"
    shown = block_means(weights.__getitem__, weights.shape)
    maps = {"weights of the squared error, mean 1": shown, title: error}
    for panel, (heading, values) in zip(axes, maps.items(), strict=True):
        limit = float(np.quantile(values, 0.999)) or float(values.max())
        image = show(panel, values, heading, cmap="viridis", vmin=0.0, vmax=limit)
        figure.colorbar(image, ax=panel, shrink=0.8)
    return figure


def _n_compared(source: Picture) -> int:
    """Number of planes whose errors are shown: all colours, or luma."""
    return 3 if source.data_type == "rgb" else 1


def _names(model: CoolChicEncoder) -> list[str]:
    """Resolution of every grid, hyperlatents marked."""
    return [f"1/{1 << g.level}" + (" hyper" if g.hyper else "") for g in model.grids]


def _pyramid(model: CoolChicEncoder, latents: list[F32], bits: list[F32]) -> Figure:
    n_columns = min(5, len(latents))
    n_rows = -(-len(latents) // n_columns)
    height, width = model.param.img_size
    panel = min(max(2.6 * height / width, 1.2), 5.0) + 0.7
    figure = Figure((2.7 * n_columns, panel * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[len(latents) :]:
        axes.set_axis_off()
    for axes, name, grid, cost in zip(panels, _names(model), latents, bits, strict=False):
        image = block_means(grid.__getitem__, grid.shape)
        limit = max(1.0, float(np.quantile(np.abs(image), 0.995)))
        title = (
            f"{name}: {grid.shape[1]} x {grid.shape[0]}, {_sum(cost) / 8:.0f} bytes\n"
            f"{grid.min():.0f} .. {grid.max():.0f}, zeros {100 * np.mean(grid == 0):.0f} %"
        )
        drawn = show(axes, image, title, cmap="RdBu_r", vmin=-limit, vmax=limit)
        figure.colorbar(drawn, ax=axes, shrink=0.6, ticks=[-limit, 0, limit], format="%.0f")
    return figure


def _rate(model: CoolChicEncoder, bits: list[F32], n_bytes: int) -> Figure:
    networks, _ = model.get_network_rate()
    parts = {name: _sum(cost) / 8 for name, cost in zip(_names(model), bits, strict=True)}
    parts |= {module: sum(kinds.values()) / 8 for module, kinds in networks.items()}
    parts["headers etc."] = max(0.0, n_bytes - sum(parts.values()))
    figure = Figure((13, 0.3 * len(parts) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    n_grids = len(bits)
    colours = ["#4878a8"] * n_grids + ["#c8803c"] * (len(parts) - n_grids - 1) + ["#888888"]
    bars = left.barh(list(parts), list(parts.values()), color=colours)
    labels = [f"{value:.0f} bytes, {100 * value / n_bytes:.1f} %" for value in parts.values()]
    left.bar_label(bars, labels, padding=3, fontsize=8)
    left.invert_yaxis()
    left.margins(x=0.25)
    left.set_title("bytes of latents, networks and headers", fontsize=9)
    left.tick_params(labelsize=8)
    rates = _rate_map(model, bits)
    limit = float(np.quantile(rates, 0.999))  # a few dear samples would hide the rest
    image = show(
        right, rates, "bits per pixel of all latents", cmap="viridis", vmin=0.0, vmax=limit
    )
    figure.colorbar(image, ax=right, shrink=0.8)
    return figure


def _rate_map(model: CoolChicEncoder, bits: list[F32]) -> F64:
    """Bits of every grid, spread over the pixels that its samples cover."""
    height, width = model.param.img_size

    def rows(r: slice) -> F64:
        total = np.zeros((r.stop - r.start, width))
        for grid, cost in zip(model.grids, bits, strict=True):
            block = 1 << grid.level
            y, x = np.arange(r.start, r.stop) // block, np.arange(width) // block
            total += cost[y][:, x] / block**2
        return total

    return block_means(rows, (height, width))


def _sum(values: F32) -> float:
    return float(values.sum(dtype=np.float64))


def _training(log: Log) -> Figure:
    figure = Figure((13, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    rows = [row for row in log if row["phase"] in _PHASE_COLOURS]
    last = log[-1] if log else None
    for axes, key, title in zip(
        panels,
        ("loss", "bpp", "psnr_db"),
        ("loss x 1000", "bits per pixel", "PSNR / dB"),
        strict=True,
    ):
        scale = 1000.0 if key == "loss" else 1.0
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("iteration", fontsize=8)
        axes.tick_params(labelsize=8)
        if not rows or last is None:
            axes.text(0.5, 0.5, "no log", ha="center", transform=axes.transAxes)
            continue
        for name, first, end in _phases(rows):
            axes.axvspan(first, end, color=_PHASE_COLOURS[name], lw=0)
            axes.text(
                (first + end) / 2, 0.98, name, ha="center", va="top", fontsize=8,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        # Losses by different measures do not compare.
        for measure in dict.fromkeys(str(r["measure"]) for r in rows):
            curve = [r for r in rows if r["measure"] == measure]
            axes.plot(
                [float(r["iteration"]) for r in curve], [scale * float(r[key]) for r in curve],
                ".-", ms=3, lw=1, label=measure,
                color="#24507a" if measure == last["measure"] else "#999999",
            )  # fmt: skip
        found = scale * float(last[key])
        axes.plot(float(last["iteration"]), found, "o", color="#b03030")
        axes.set_title(f"{title}; of the file (red): {found:.3f}", fontsize=9)
        if key == "loss":
            axes.legend(fontsize=8, loc="center right")
        if key == "loss" and min(float(r[key]) for r in [*rows, last]) > 0.0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:.3g}")
            low, high = axes.get_ylim()
            if high < 10 * low:  # no or one power of ten to be labelled
                axes.yaxis.set_minor_formatter("{x:.2g}")
                axes.tick_params(which="minor", labelsize=7)
            else:
                axes.yaxis.set_minor_formatter("")
    return figure


def _phases(rows: Log) -> Iterator[tuple[str, float, float]]:
    """Name, first and last iteration of every phase."""
    start = 0.0
    for name, group in groupby(rows, key=lambda row: str(row["phase"])):
        end = float(list(group)[-1]["iteration"])
        yield name, start, end
        start = end
