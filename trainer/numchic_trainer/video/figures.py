# SPDX-License-Identifier: BSD-3-Clause
"""Figures of an encoded video: its structure, bytes and quality by frame, pictures of a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgb
from matplotlib.figure import Figure

from numchic.picture import Picture
from numchic_bitstream.arrays import F32, F64
from numchic_trainer import figures
from numchic_trainer.figures import block_means, reduced, show
from numchic_trainer.video.frame import FrameReport
from numchic_trainer.video.signals import Signals

KIND_COLOURS = {"I": "#b8433b", "P": "#2f6ca3", "B": "#5d9c59"}
PART_COLOURS = {
    "header": "#999999",
    "residue_network": "#c8803c",
    "residue_latent": "#4878a8",
    "motion_network": "#ecc08c",
    "motion_latent": "#9fc3e0",
}
PARTS = tuple(PART_COLOURS)
"""What the bytes of a frame are: names of the fields of its report, without ``_bytes``."""

MAX_DRAWN = 96
"""Frames of a structure that are drawn, so that each can be told from the others."""

_WIDTH = 13.0  # inches
_CHART = 10.5  # of which a chart has so many beside its legend
_FEW = 6  # frames that do not fill the width of a chart
_WIDEST = 40.0
_MARKS = ((0.5, 5.0), (0.8, 14.0))  # dots and dashes: share of the distance, largest size
_MAX_GAIN = 64
_LEAST_MOTION = 0.1  # pixels: motion that is shorter is not made to look like motion
_N_ARROWS = 24  # along the longer side
_ARROW = 0.2  # of the greatest length: shorter arrows are dots, which say nothing


def structure(frames: Sequence[FrameReport]) -> Figure:
    """Draw frames by time and level, with arrows from references to what is predicted from them.

    Parameters
    ----------
    frames : sequence of FrameReport
        In the order of display; the first :data:`MAX_DRAWN` are drawn.
    """
    drawn = frames[:MAX_DRAWN]
    levels = {frame.index: frame.level for frame in drawn}
    deepest = max(levels.values())
    figure = Figure((max(4.0, 0.3 * len(drawn) + 1), 1.0 + 0.5 * deepest), layout="constrained")
    axes = figure.subplots()
    for frame in drawn:
        place = (frame.index, -frame.level)
        for index in set(frame.references) & levels.keys():
            axes.annotate(
                "", place, (index, -levels[index]),
                arrowprops={
                    "arrowstyle": "-|>", "shrinkA": 7, "shrinkB": 7, "lw": 0.7,
                    "color": KIND_COLOURS[frame.kind],
                },
            )  # fmt: skip
        axes.text(*place, str(frame.index), ha="center", va="center", fontsize=7, color="white")
    x, y = [frame.index for frame in drawn], [-frame.level for frame in drawn]
    axes.scatter(x, y, s=170, c=[KIND_COLOURS[frame.kind] for frame in drawn], zorder=2)
    axes.set_xlim(-0.7, max(len(drawn), 2) - 0.3)
    axes.set_ylim(-deepest - 0.5, 0.5)
    axes.set_yticks(range(-deepest, 1), [f"level {-y}" for y in range(-deepest, 1)], fontsize=8)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def courses(frames: Sequence[FrameReport], planes: Sequence[str]) -> Figure:
    """Draw bytes by part and quality by plane over the frames.

    Parameters
    ----------
    frames : sequence of FrameReport
        In the order of display.
    planes : sequence of str
        Names of the three planes.
    """
    width = float(np.clip(0.012 * len(frames), _WIDTH, _WIDEST))
    figure = Figure((width, 7.5), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=(10, 10, 1))
    _draw_bytes(upper, frames)
    _draw_quality(middle, frames, planes)
    colours = np.array([[to_rgb(KIND_COLOURS[frame.kind]) for frame in frames]])
    n = len(frames)
    lower.imshow(colours, extent=(-0.5, n - 0.5, 0, 1), aspect="auto", interpolation="nearest")
    if n <= MAX_DRAWN:
        for frame in frames:
            lower.text(
                frame.index, 0.45, frame.kind, ha="center", va="center", fontsize=8, color="white"
            )
    lower.set_xlabel(", ".join(_described(frames)), fontsize=9)
    lower.set_yticks([])
    lower.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    lower.set_xlim(-0.6, max(n, _FEW) - 0.4)
    for axes in (upper, middle, lower):
        axes.tick_params(labelsize=8)
    return figure


def _described(frames: Sequence[FrameReport]) -> list[str]:
    names = {"I": "red", "P": "blue", "B": "green"}
    kinds = {frame.kind for frame in frames}
    return [f"{kind} frames {name}" for kind, name in names.items() if kind in kinds]


def _draw_bytes(axes: Axes, frames: Sequence[FrameReport]) -> None:
    """Draw stacked bars; those of I frames are cut where others would be too low to be seen."""
    n = len(frames)
    edges = (np.arange(n)[:, None] + (-0.4, 0.4)).ravel()
    bottom = np.zeros(n)
    for part, colour in PART_COLOURS.items():
        top = bottom + [getattr(frame, f"{part}_bytes") for frame in frames]
        axes.stairs(
            _with_gaps(top), edges, baseline=_with_gaps(bottom), fill=True, color=colour,
            label=f"{part.replace('_', ' ')}s",
        )  # fmt: skip
        bottom = top
    total = int(bottom.sum())
    title = f"bytes of frames: {total}, mean {total / n:.0f}"
    inter = [frame.n_bytes for frame in frames if frame.kind != "I"]
    limit = 1.1 * float(max(bottom))
    if inter and max(bottom) > 3 * max(inter):
        limit = 1.6 * max(inter)
        title += "; the highest bars are cut"
        cut = [frame for frame in frames if frame.n_bytes > limit]
        for frame in cut if len(cut) <= MAX_DRAWN else ():
            side = "left" if 2 * frame.index < n else "right"  # where there is room
            axes.text(
                frame.index, 0.97, f"{frame.n_bytes}", ha=side, va="top", fontsize=8,
                transform=axes.get_xaxis_transform(), bbox={"fc": "white", "lw": 0, "pad": 1},
            )  # fmt: skip
    axes.set_title(title, fontsize=9)
    axes.set_ylim(0, limit)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _with_gaps(values: F64) -> F64:
    """Values with zeros between them."""
    spread = np.zeros(2 * values.size - 1)
    spread[::2] = values
    return spread


def _draw_quality(axes: Axes, frames: Sequence[FrameReport], planes: Sequence[str]) -> None:
    x = [frame.index for frame in frames]
    shades = ("#222222", "#777777", "#aaaaaa")
    for i, (plane, shade) in enumerate(zip(planes, shades, strict=True)):
        axes.plot(
            x, [frame.psnr[i] for frame in frames], color=shade, lw=1, marker=".", ms=2, label=plane
        )
    distance = 72 * _CHART / max(len(frames), _FEW)  # of two frames, in points
    dot, dash = (float(np.clip(share * distance, 1.5, most)) for share, most in _MARKS)
    colours = [KIND_COLOURS[frame.kind] for frame in frames]
    axes.scatter(x, [frame.psnr[0] for frame in frames], dot**2, colours, zorder=3)
    predicted = [frame for frame in frames if frame.prediction_psnr is not None]
    if predicted:
        axes.scatter(
            [frame.index for frame in predicted],
            [frame.prediction_psnr[0] for frame in predicted if frame.prediction_psnr is not None],
            dash**2, [KIND_COLOURS[frame.kind] for frame in predicted], marker="_",
            zorder=2, label=f"{planes[0]} of the\nprediction",
        )  # fmt: skip
    axes.set_title("PSNR of every plane / dB", fontsize=9)
    axes.grid(axis="y", color="#dddddd", lw=0.5)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


class _Panel(NamedTuple):
    """Something to show: colours, or shades of grey from ``low`` to ``high``."""

    title: str
    image: F64
    low: float = 0.0
    high: float = 1.0


def pictures(
    report: FrameReport, source: Picture, decoded: Picture, signals: Signals | None
) -> Figure:
    """Draw what a frame is made of.

    Parameters
    ----------
    report : FrameReport
    source, decoded : Picture
    signals : Signals or None
        Of a P or B frame.
    """
    n_rows = 1 if signals is None else 2
    ratio = source.height / source.width
    height = min(max(3.2 * ratio, 1.0), 6.0) + 0.45
    figure = Figure((_WIDTH, n_rows * height), layout="constrained")
    axes = figure.subplots(n_rows, 4, squeeze=False).ravel()
    panels = _panels(report, source, decoded, signals)
    for panel, place in zip(panels, axes, strict=False):
        show(place, panel.image, panel.title, cmap="gray", vmin=panel.low, vmax=panel.high)
    fields: Sequence[F32] = () if signals is None else list(signals.motion)
    flows = zip(report.global_flow[::2], report.global_flow[1::2], strict=True)
    places = axes[len(panels) :]
    for place, field, flow, index in zip(places, fields, flows, report.references, strict=False):
        _draw_motion(place, field, f"motion from frame {index}", flow)
    for place in places[len(fields) :]:
        place.set_axis_off()
    return figure


def _panels(
    report: FrameReport, source: Picture, decoded: Picture, signals: Signals | None
) -> list[_Panel]:
    shown = [
        _Panel("source", figures.to_rgb(reduced(source))),
        _Panel(
            f"decoded: {report.n_bytes} bytes, {report.psnr[0]:.2f} dB",
            figures.to_rgb(reduced(decoded)),
        ),
    ]
    if signals is None:
        return [*shown, _luma_error(decoded, source)]
    assert report.prediction_psnr is not None
    title = f"prediction: {report.prediction_psnr[0]:.2f} dB"
    shown += [
        _Panel(title, figures.to_rgb(reduced(signals.prediction))),
        _residue(signals.residue, source.data_type),
        _share("alpha", signals.alpha, "share of the prediction"),
    ]
    if signals.beta is not None:
        shown.append(_share("beta", signals.beta, f"share of frame {report.references[0]}"))
    return shown


def _share(name: str, values: F32, meaning: str) -> _Panel:
    """Shades of as little of 0 .. 1 as there is."""
    image = block_means(values.__getitem__, values.shape)
    low, high = math.floor(10 * image.min()) / 10, math.ceil(10 * image.max()) / 10
    if low == high:
        low, high = 0.0, 1.0
    mean = float(values.mean(dtype=np.float64))
    title = f"{name}, {meaning}: mean {mean:.3f}\nblack {low:.1f}, white {high:.1f}"
    return _Panel(title, image, low, high)


def _luma_error(decoded: Picture, source: Picture) -> _Panel:
    maximum = np.float32((1 << source.bitdepth) - 1)
    ours, theirs = decoded.planes[0], source.planes[0]

    def rows(r: slice) -> F32:
        return (ours[r].astype(np.float32) - theirs[r]) / maximum

    image = block_means(rows, ours.shape)
    gain = _gain(image)
    name = "R" if source.data_type == "rgb" else "luma"
    return _Panel(f"error of {name}, x {gain} (none: grey)", 0.5 + gain * image)


def _residue(planes: F32, data_type: str) -> _Panel:
    """Residue in colour, around grey."""
    means = np.stack([block_means(plane.__getitem__, plane.shape) for plane in planes])
    gain = _gain(means)
    y, u, v = np.clip(128 + 255 * gain * means, 0, 255).astype(np.uint8)
    coloured = Picture((y, u, v), "rgb" if data_type == "rgb" else "yuv444", 8)
    return _Panel(f"residue, x {gain} (none: grey)", figures.to_rgb(coloured))


def _gain(values: F64) -> int:
    """Power of two that makes small values visible and leaves nearly all within 1/2."""
    largest = float(np.quantile(np.abs(values), 0.99))
    gain = _MAX_GAIN
    while gain > 1 and gain * largest > 0.5:
        gain //= 2
    return gain


def _draw_motion(axes: Axes, vectors: F32, name: str, flow: Sequence[int]) -> None:
    """Draw a field of vectors: hue is direction, brightness is length, arrows show both."""
    field = np.stack([block_means(c.__getitem__, c.shape) for c in vectors])
    length = np.hypot(*field)
    longest = float(np.quantile(length, 0.99))
    limit = max(longest, _LEAST_MOTION)
    title = f"{name}: up to {longest:.2f} pixels"
    if any(flow):
        title += f"\nafter a shift by ({flow[0]}, {flow[1]})"
    show(axes, colours_of(field / limit), title)
    height, width = length.shape
    step = max(1, round(max(height, width) / _N_ARROWS))
    rows, columns = np.arange(step // 2, height, step), np.arange(step // 2, width, step)
    y, x = (places.ravel() for places in np.meshgrid(rows, columns, indexing="ij"))
    y, x = (places[length[y, x] > _ARROW * limit] for places in (y, x))
    if x.size:
        axes.quiver(
            x, y, *field[:, y, x], angles="xy", scale_units="xy", scale=limit / step,
            color="white", edgecolor="black", linewidth=0.4, width=0.006,
        )  # fmt: skip


def colours_of(field: F64) -> F64:
    """Colours of vectors: those of length 1 are the brightest, those of length 0 black.

    Parameters
    ----------
    field : float64[2, h, w]
        To the right, downwards.

    Returns
    -------
    float64[h, w, 3]
        RGB in [0, 1].
    """
    hue = np.arctan2(field[1], field[0]) / (2 * np.pi) % 1.0
    brightness = np.clip(np.hypot(*field), 0.0, 1.0)
    colours: F64 = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), brightness], -1))
    return colours


def wheel() -> Figure:
    """Draw what the colours of vectors mean."""
    figure = Figure((1.6, 1.6), layout="constrained")
    axes = figure.subplots()
    y, x = np.mgrid[-1:1:121j, -1:1:121j]
    inside = np.hypot(x, y) <= 1
    image = np.where(inside[..., None], colours_of(np.stack([x, y])), 1.0)
    show(axes, image, "motion: direction, length")
    axes.title.set_fontsize(7)
    axes.spines[:].set_visible(False)
    return figure
