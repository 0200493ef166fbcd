# SPDX-License-Identifier: BSD-3-Clause
"""What there is to be shown of a study: figures, tables and sentences, made of its points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePath

from matplotlib.figure import Figure

from numchic_bitstream import UsageError
from numchic_trainer.study.bd import (
    LEAST_OVERLAP,
    LEAST_POINTS,
    MEASURES,
    METHODS,
    Comparison,
    Measure,
    Quality,
    choose_reference,
    compare,
)
from numchic_trainer.study.crops import Sample, crops
from numchic_trainer.study.curves import Curve, mean_curves, picture_curves
from numchic_trainer.study.figures import (
    COSTS,
    QUALITIES,
    Cost,
    Style,
    draw_quality,
    draw_savings,
    styles_of,
    svg,
)
from numchic_trainer.study.names import shown
from numchic_trainer.study.point import Point
from numchic_trainer.study.tables import (
    Table,
    averages,
    cost_table,
    picture_table,
    results_table,
    set_table,
)


@dataclass(frozen=True)
class Drawing:
    """A file of ``figures/``.

    Attributes
    ----------
    name : str
        Of the file.
    caption : str
    data : bytes
        Contents of an SVG or PNG file.
    """

    name: str
    caption: str
    data: bytes


@dataclass(frozen=True)
class PictureContent:
    """One picture of the study."""

    name: str
    figures: list[Drawing]
    table: Table | None


@dataclass(frozen=True)
class Content:
    """All that page and summary show.

    Attributes
    ----------
    title : str
    facts : mapping
        Name to text, for the head.
    curves, times : list of Drawing
        Of the set.
    comparisons : list of Table
        Of the set, by measures.
    costs, results : Table
    crops : list of list of Drawing
        Of every picture that is shown, the source first.
    pictures : list of PictureContent
    methods, remarks : list of str
        How the numbers are made, and what was left out.
    """

    title: str
    facts: Mapping[str, str]
    curves: list[Drawing]
    times: list[Drawing]
    comparisons: list[Table]
    costs: Table
    crops: list[list[Drawing]]
    pictures: list[PictureContent]
    results: Table
    methods: list[str]
    remarks: list[str]

    def drawings(self) -> Iterator[Drawing]:
        """All of them."""
        yield from self.curves
        yield from self.times
        for row in self.crops:
            yield from row
        for picture in self.pictures:
            yield from picture.figures


def make_content(
    points: Sequence[Point],
    samples: Sequence[Sample],
    remarks: Sequence[str],
    facts: Mapping[str, str],
    reference: str | None = None,
) -> Content:
    """Draw and tabulate; see :func:`numchic_trainer.study.output.write_output`."""
    if not points:
        raise UsageError("there is no point to be drawn")
    pictures = picture_curves(points)
    means, left_out = mean_curves(points)
    # Small pictures have no MS-SSIM, which is no reason for the set to have none.
    compared = [p for p in points if p.picture in _pictures_with_ms_ssim(points)]
    means_by: dict[Quality, list[Curve]] = {
        "psnr_db": means,
        "ms_ssim_db": mean_curves(compared)[0],
    }
    curves = [curve for found in pictures.values() for curve in found]
    styles = styles_of(curves)
    reference = choose_reference(curves, reference)
    names = dict.fromkeys(curve.name for curve in curves)
    measured = [m for m in MEASURES if any(_has(curve, m) for curve in curves)]
    comparisons = (
        {
            measure: compare(
                measure,
                reference,
                names,
                pictures if measure.quality == "psnr_db" else picture_curves(compared),
                means_by[measure.quality],
            )
            for measure in measured
        }
        if len(names) > 1
        else {}
    )
    return Content(
        title=f"Rate-distortion study: {_count(pictures, 'picture')}, {_count(names, 'curve')}",
        facts=facts,
        curves=_rates(means_by, styles, "set", "Mean over the pictures"),
        times=_times(means, styles, comparisons, reference),
        comparisons=[set_table(m, reference, found) for m, found in comparisons.items()],
        costs=cost_table(points),
        crops=[_crops(k, sample) for k, sample in enumerate(samples, 1)],
        pictures=[
            PictureContent(
                shown(name),
                _rates(
                    dict.fromkeys(means_by, found),
                    styles,
                    f"picture-{k}-{_slug(name)}",
                    shown(name),
                ),
                picture_table(name, reference, comparisons) if comparisons else None,
            )
            for k, (name, found) in enumerate(pictures.items(), 1)
        ],
        results=results_table(points),
        methods=_methods(measured),
        remarks=[*remarks, *left_out],
    )


def _pictures_with_ms_ssim(points: Sequence[Point]) -> set[str]:
    return {point.picture for point in points if point.ms_ssim is not None}


def _has(curve: Curve, measure: Measure) -> bool:
    return any(getattr(mark, measure.quality) is not None for mark in curve.marks)


def _count(things: Mapping[str, object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _slug(name: str) -> str:
    """Part of a file's name, safe everywhere."""
    return re.sub("[^A-Za-z0-9]+", "-", PurePath(name).stem)[:40].strip("-").lower() or "unnamed"


def _drawing(name: str, caption: str, figure: Figure | None) -> list[Drawing]:
    return [] if figure is None else [Drawing(f"{name}.svg", caption, svg(figure))]


def _rates(
    curves: Mapping[Quality, Sequence[Curve]], styles: Mapping[str, Style], name: str, title: str
) -> list[Drawing]:
    """Rate-distortion curves by all qualities."""
    return [
        drawing
        for quality, label in QUALITIES.items()
        for drawing in _drawing(
            f"{name}-rate-{quality.removesuffix('_db').replace('_', '-')}",
            f"{title}: {label.split(' / ', maxsplit=1)[0]} over bits per pixel",
            draw_quality(curves[quality], quality, "bpp", styles),
        )
    ]


def _times(
    curves: Sequence[Curve],
    styles: Mapping[str, Style],
    comparisons: Mapping[Measure, Sequence[Comparison]],
    reference: str,
) -> list[Drawing]:
    """What time and work buy, in the mean over all pictures."""
    costs: tuple[Cost, ...] = ("encode_cpu_s", "decode_cpu_s", "macs_per_pixel")
    found = []
    for cost in costs[:2]:
        name = f"set-{cost.removesuffix('_cpu_s')}-time"
        caption = f"PSNR over {COSTS[cost]}: lines go from low to high rates"
        found += _drawing(name, caption, draw_quality(curves, "psnr_db", cost, styles))
    for cost in costs if comparisons else ():
        measure = MEASURES[0]
        name = f"set-bd-rate-{cost.replace('_', '-')}"
        caption = f"{averages(measure)[1]} ({METHODS[0]}) over {COSTS[cost]}: lower is better"
        figure = draw_savings(curves, cost, comparisons[measure], reference, styles)
        found += _drawing(name, caption, figure)
    return found


def _crops(k: int, sample: Sample) -> list[Drawing]:
    images = crops(sample)
    name = f"crop-{k}-{_slug(sample.picture)}"
    found = [Drawing(f"{name}-source.png", f"{shown(sample.picture)}, source", images[0])]
    for (point, _), image in zip(sample.decoded, images[1:], strict=True):
        caption = f"{shown(point.curve)}, {point.bytes} bytes, {point.psnr_db:.2f} dB"
        found.append(Drawing(f"{name}-{len(found)}-{_slug(point.curve + '.')}.png", caption, image))
    return found


def _methods(measures: Sequence[Measure]) -> list[str]:
    rate, mean_rate = averages(MEASURES[0])
    sentences = [
        f"BD-rate and BD-PSNR are computed by the library bjontegaard {version('bjontegaard')}, "
        f"by its methods {' and '.join(METHODS)}, with rates by their logarithm, over the interval "
        "that both curves have. A negative BD-rate means fewer bits than the reference needs.",
        "The overlap is this interval's part of that from the lowest to the highest value of both "
        "curves: of the quality for a BD-rate, of the logarithm of the rate for a BD-PSNR.",
        f"There is a number only if both curves have at least {LEAST_POINTS} points, quality rises "
        f"with the rate, and they overlap in at least {100 * LEAST_OVERLAP:.0f} %.",
        f"The {rate} is the arithmetic mean of one number per picture, and is given only if every "
        "picture has one. Beside it is the least of their overlaps.",
        f"For the {mean_rate} the curves are averaged first: at every setting that all pictures "
        "have, the mean over the pictures of bits per pixel, of PSNR in dB, and of MS-SSIM.",
        "PSNR is that of the mean squared error over all samples of all planes; 100 dB if nothing "
        "is lost.",
    ]
    if any(measure.quality == "ms_ssim_db" for measure in measures):
        sentences.append(
            "MS-SSIM x is shown as -10 log10(1 - x) dB. Its means, and those of the rates beside "
            "it, are over the pictures that are large enough to have one."
        )
    return sentences
