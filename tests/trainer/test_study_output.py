# SPDX-License-Identifier: BSD-3-Clause
"""What a study shows: means, Bjontegaard's differences, figures, tables, page and summary."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.integrate import quad
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from numchic_bitstream import UsageError
from numchic_trainer.study.bd import (
    BD_PSNR,
    BD_RATE,
    BD_RATE_MS_SSIM,
    METHODS,
    Measure,
    choose_reference,
    compare,
    difference,
)
from numchic_trainer.study.content import make_content
from numchic_trainer.study.crops import Sample, crops, detailed_region
from numchic_trainer.study.curves import Curve, mean_curves, ms_ssim_db, picture_curves
from numchic_trainer.study.figures import draw_quality, draw_savings, styles_of, svg
from numchic_trainer.study.names import shown
from numchic_trainer.study.output import write_output
from numchic_trainer.study.page import page
from numchic_trainer.study.point import Point
from numchic_trainer.study.summary import summary
from numchic_trainer.study.tables import cost_table, results_table
from study_points import study_points
from vectors import shared_folder

RATES = (0.1, 0.21, 0.4, 0.83, 1.5)
QUALITIES = (28.0, 30.5, 33.0, 36.5, 39.0)
HOSTILE = "<script>alert('x')</script>"
ODD = "_$\\foo{$ 日本語 \x1b\udc80\n| `x`"
INTERPOLATORS = {"akima": Akima1DInterpolator, "pchip": PchipInterpolator}


def line(
    curve: str,
    rates: Sequence[float] = RATES,
    qualities: Sequence[float] = QUALITIES,
    picture: str = "a.png",
    codec: str | None = None,
) -> list[Point]:
    return [
        Point(picture, 100, 80, curve, codec or curve, str(k), round(1000 * rate), rate, quality)
        for k, (rate, quality) in enumerate(zip(rates, qualities, strict=True))
    ]


def one_curve(points: Sequence[Point]) -> Curve:
    (curves,) = picture_curves(points).values()
    (curve,) = curves
    return curve


HALF = [0.5 * rate for rate in RATES]
REFERENCE = one_curve(line("jpeg"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study in which names are hostile."""
    names = {"jpeg": HOSTILE, "webp": ODD, "avif": "long " * 60}
    points = [
        replace(p, picture=HOSTILE + p.picture, curve=names.get(p.curve, p.curve))
        for p in study_points()
    ]
    more = [replace(p, curve=f"codec {k}") for k in (1, 2) for p in points if p.codec == "jxl"]
    image = np.zeros((40, 200, 3), np.uint8)
    sample = Sample(HOSTILE, image, [(points[0], image)])
    folder = tmp_path_factory.mktemp("study")
    write_output(folder, points + more, [sample], [f"Without {HOSTILE}."], {HOSTILE: ODD})
    return folder


def test_a_tenth_less_rate_is_ten_percent() -> None:
    cheaper = one_curve(line("ours", [0.9 * rate for rate in RATES]))
    found = difference(BD_RATE, REFERENCE, cheaper)
    assert found.values == pytest.approx({"akima": -10.0, "pchip": -10.0}, abs=1e-9)
    assert found.overlap == 1.0
    assert found.reason is None


def test_a_decibel_more_is_a_decibel() -> None:
    better = one_curve(line("ours", RATES, [quality + 1.0 for quality in QUALITIES]))
    found = difference(BD_PSNR, REFERENCE, better)
    assert found.values == pytest.approx({"akima": 1.0, "pchip": 1.0}, abs=1e-9)
    assert difference(BD_RATE, REFERENCE, better).overlap == pytest.approx(10.0 / 12.0)


def test_ms_ssim_is_compared_in_decibels() -> None:
    points = [replace(p, ms_ssim=1.0 - 10.0 ** (-p.psnr_db / 20.0)) for p in line("jpeg")]
    cheaper = [replace(p, curve="ours", bpp=0.8 * p.bpp) for p in points]
    found = difference(BD_RATE_MS_SSIM, one_curve(points), one_curve(cheaper))
    assert found.values == pytest.approx({"akima": -20.0, "pchip": -20.0}, abs=1e-9)
    assert difference(BD_RATE_MS_SSIM, REFERENCE, one_curve(cheaper)).values == {}
    assert ms_ssim_db(0.99) == pytest.approx(20.0)
    assert ms_ssim_db(1.0) == pytest.approx(100.0)


def test_overlap_of_rates_is_that_of_their_logarithms() -> None:
    shifted = one_curve(line("ours", [rate * 15**0.5 for rate in RATES]))
    assert difference(BD_PSNR, REFERENCE, shifted).overlap == pytest.approx(1.0 / 3.0)


@pytest.mark.parametrize(
    ("rates", "qualities", "reason"),
    [
        (RATES[:3], QUALITIES[:3], "fewer than 4 points"),
        (RATES, [q + 20 for q in QUALITIES], "overlap in 0 % of their joint interval"),
        (RATES, [q + 8 for q in QUALITIES], "overlap in 16 % of their joint interval"),
        (RATES, (28, 30, 30, 36, 39), "between 0.2100 and 0.4000 bits"),
        ((0.1, 0.2, 0.2, 0.8, 1.5), QUALITIES, "between 0.2000 and 0.2000 bits"),
        ((0.0, *RATES[1:]), QUALITIES, "no number"),
        (RATES, (*QUALITIES[:4], float("inf")), "no number"),
    ],
)
def test_no_number_but_a_reason(
    rates: Sequence[float], qualities: Sequence[float], reason: str
) -> None:
    found = difference(BD_RATE, REFERENCE, one_curve(line("ours", rates, qualities)))
    assert found.values == {}
    assert found.reason is not None
    assert reason in found.reason


def test_three_points_of_the_reference_are_too_few() -> None:
    found = difference(BD_RATE, one_curve(line("jpeg", RATES[:3], QUALITIES[:3])), REFERENCE)
    assert found.reason == "the reference has fewer than 4 points"


def test_filters_of_warnings_stay() -> None:
    before = list(warnings.filters)
    better = one_curve(line("ours", RATES, [quality + 5.0 for quality in QUALITIES]))
    assert difference(BD_RATE, REFERENCE, better).values
    make_content(line("日本語"), [], [], {})
    assert warnings.filters == before


def test_both_ways_of_averaging() -> None:
    """A picture of many bits weighs more in the mean curve."""
    tenfold = [10.0 * rate for rate in RATES]
    points = [
        *line("jpeg", RATES, picture="a.png"),
        *line("jpeg", tenfold, picture="b.png"),
        *line("ours", [0.5 * rate for rate in RATES], picture="a.png"),
        *line("ours", tenfold, picture="b.png"),
    ]
    means, remarks = mean_curves(points)
    (found,) = compare(BD_RATE, "jpeg", ["ours"], picture_curves(points), means)
    expected = 100.0 * ((0.5 + 10.0) / (1.0 + 10.0) - 1.0)
    for method in METHODS:
        assert found.mean_of_pictures.values[method] == pytest.approx(-25.0)
        assert found.of_mean_curve.values[method] == pytest.approx(expected)
    assert remarks == []


def test_a_mean_is_of_all_pictures() -> None:
    shifted = [quality + 8.0 for quality in QUALITIES]
    points = [p for name in "ab" for p in line("jpeg", picture=name)]
    points += line("ours", picture="a") + line("ours", RATES, shifted, picture="b")
    (found,) = compare(BD_RATE, "jpeg", ["ours"], picture_curves(points), mean_curves(points)[0])
    assert found.pictures["a"].values
    assert found.mean_of_pictures.values == {}
    assert str(found.mean_of_pictures.reason).startswith("b: the curves overlap in 16 %")


def test_a_picture_too_small_for_ms_ssim_costs_the_set_nothing_else() -> None:
    points = [
        replace(p, ms_ssim=None if name == "small" else 1.0 - 10.0 ** (-p.psnr_db / 10.0))
        for name in ("small", "large", "other")
        for p in (*line("jpeg", picture=name), *line("ours", HALF, picture=name))
    ]
    points += line("theirs", picture="small")
    content = make_content(points, [], [], {})
    assert [drawing.name for drawing in content.curves] == [
        "set-rate-psnr.svg",
        "set-rate-ms-ssim.svg",
    ]
    rate, _, by_ms_ssim = content.comparisons
    for table in (rate, by_ms_ssim):
        assert table.rows[0][1:] == ("-50.00 %", "-50.00 %", "100 %") * 2
    assert by_ms_ssim.rows[1][1:] == ("", "", "") * 2
    assert [len(p.table.columns) for p in content.pictures if p.table] == [7, 10, 10]


def test_means_are_over_what_all_pictures_have() -> None:
    whole = [p for name in ("a", "b") for p in line("whole", picture=name)]
    partly = [p for p in whole if (p.picture, p.setting) != ("b", "2")]
    points = [
        *whole,
        *(replace(p, curve="partly") for p in partly),
        *line("lacking", picture="a"),
        *(replace(p, curve="twice") for p in [*whole, whole[0]]),
        *line("strange", picture="a"),
        *(replace(p, setting=p.setting + "!") for p in line("strange", picture="b")),
    ]
    curves, remarks = mean_curves(points)
    assert {curve.name: len(curve.marks) for curve in curves} == {
        "whole": 5, "partly": 4, "twice": 4,
    }  # fmt: skip
    assert remarks == [
        "The mean over the pictures is without partly at 2: not once in every picture.",
        "The mean over the pictures is without lacking: it has no points of b.",
        "The mean over the pictures is without twice at 0: not once in every picture.",
        "The mean over the pictures is without strange: it has no setting once in every picture.",
    ]


def test_a_mean_of_times_needs_all_of_them() -> None:
    points = [replace(p, picture=n) for n in "ab" for p in line("jpeg")]
    known = [replace(p, encode_cpu_s=2.0 if p.picture == "a" else 4.0) for p in points]
    assert mean_curves(known)[0][0].marks[0].encode_cpu_s == 3.0
    known[0] = replace(known[0], encode_cpu_s=None)
    assert mean_curves(known)[0][0].marks[0].encode_cpu_s is None


def test_reference() -> None:
    curves = [
        one_curve(line("ours", codec="numchic")),
        one_curve(line("short", RATES[:4], QUALITIES[:4])),
        one_curve(line("jpeg")),
        one_curve(line("webp")),
    ]
    assert choose_reference(curves) == "jpeg"
    assert choose_reference(curves[:2]) == "short"
    assert choose_reference(curves[:1]) == "ours"
    assert choose_reference(curves, "webp") == "webp"
    with pytest.raises(UsageError, match=r"no such curve.*found png.*allowed ours, short"):
        choose_reference(curves, "png")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measure", [BD_RATE, BD_PSNR], ids=lambda measure: measure.name)
def test_public_tables(measure: Measure, method: str) -> None:
    """Integrals made in another way, of classical codecs on public pictures."""
    shared = shared_folder()
    path = None if shared is None else shared / "data" / "classical.tsv"
    if path is None or not path.is_file():
        pytest.skip("no table of classical codecs: set NUMCHIC_SHARED or put it into ../shared")
    lines = [row for row in path.read_text().splitlines() if not row.startswith("#")]
    rows = list(csv.DictReader(lines, delimiter="\t"))
    n_compared = 0
    for picture in sorted({row["image"] for row in rows}):
        here = {
            codec: one_curve(
                [
                    Point(picture, 1, 1, codec, codec, row["quality"], int(row["bytes"]),
                          float(row["bpp"]), float(row["psnr_db"]))
                    for row in rows
                    if (row["image"], row["codec"]) == (picture, codec)
                ]
            )
            for codec in sorted({row["codec"] for row in rows if row["image"] == picture})
        }  # fmt: skip
        for codec, curve in here.items():
            found = difference(measure, here["jpeg-444"], curve)
            if codec != "jpeg-444" and found.values:
                expected = integrated(measure, method, here["jpeg-444"], curve)
                assert found.values[method] == pytest.approx(expected, abs=1e-6)
                n_compared += 1
    assert n_compared >= 20


def integrated(measure: Measure, method: str, reference: Curve, curve: Curve) -> float:
    """Bjontegaard's difference from the definition."""
    functions, ends = [], []
    for one in (reference, curve):
        rates = [float(np.log10(mark.bpp)) for mark in one.marks]
        qualities = [mark.psnr_db for mark in one.marks]
        x, y = (rates, qualities) if measure.over_rate else (qualities, rates)
        functions.append(INTERPOLATORS[method](x, y))
        ends.append((x[0], x[-1]))
    low, high = max(first for first, _ in ends), min(last for _, last in ends)
    knots = sorted({x for f in functions for x in f.x if low < x < high} | {low, high})
    pieces = [
        quad(lambda x: float(functions[1](x) - functions[0](x)), a, b)[0]
        for a, b in pairwise(knots)
    ]
    mean = float(sum(pieces)) / (high - low)
    return mean if measure.over_rate else 100.0 * (10.0**mean - 1.0)


def texts(figure: bytes) -> list[str]:
    """What is written in an SVG file, as text."""
    return [text for node in ET.fromstring(figure).iter() if (text := (node.text or "").strip())]


def test_figures_are_deterministic_text() -> None:
    curves = picture_curves(study_points())["kodim14.png"]
    drawings = []
    for _ in range(2):
        figure = draw_quality(curves, "psnr_db", "bpp", styles_of(curves))
        assert figure is not None
        drawings.append(svg(figure))
    assert drawings[0] == drawings[1]
    assert b"dc:date" not in drawings[0]
    found = texts(drawings[0])
    assert {curve.name for curve in curves} <= set(found)
    assert {"bits per pixel", "PSNR / dB", "0.2", "0.5", "1", "2"} <= set(found)


def test_curves_look_different() -> None:
    points = study_points() + [p for k in range(12) for p in line(f"codec {k}")]
    curves = [curve for found in picture_curves(points).values() for curve in found]
    styles = styles_of(curves)
    assert len(styles) == 11 + 12
    looks = [(s["color"], s["marker"], str(s.get("mfc"))) for s in styles.values()]
    assert len(set(looks)) == len(looks)
    ours = {s["color"] for name, s in styles.items() if name.startswith("numchic")}
    assert ours.isdisjoint(s["color"] for name, s in styles.items() if "numchic" not in name)


def test_nothing_to_be_drawn() -> None:
    timed = [one_curve([replace(p, encode_cpu_s=0.0) for p in line("jpeg")])]
    styles = styles_of(timed)
    assert draw_quality(timed, "ms_ssim_db", "bpp", styles) is None
    assert draw_quality(timed, "psnr_db", "decode_cpu_s", styles) is None
    assert draw_quality(timed, "psnr_db", "encode_cpu_s", styles) is None
    assert draw_savings(timed, "encode_cpu_s", [], "jpeg", styles) is None


def test_names_as_they_are_shown() -> None:
    assert shown("kodim14.png") == "kodim14.png"
    assert shown("a\x1b\udc80\nb") == "a�� b"
    assert len(shown("x" * 500)) <= 60


def test_the_region_with_most_detail() -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[200:360, 400:560] = np.random.default_rng(0).integers(0, 256, (160, 160, 3))
    assert detailed_region(image) == (slice(200, 360), slice(400, 560))
    assert detailed_region(image[:50, :30]) == (slice(0, 50), slice(0, 30))
    assert detailed_region(image[:1, :1]) == (slice(0, 1), slice(0, 1))


def test_crops_are_enlarged_by_whole_factors() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    (point, *_) = line("jpeg")
    found = [
        np.asarray(Image.open(io.BytesIO(data)))
        for data in crops(Sample("a.png", image, [(point, 255 - image)]))
    ]
    np.testing.assert_array_equal(found[0], image.repeat(3, 0).repeat(3, 1))
    np.testing.assert_array_equal(found[1], 255 - found[0])
    with pytest.raises(UsageError, match=r"a\.png, decoded from jpeg, has another size"):
        crops(Sample("a.png", image, [(point, image[1:])]))


class Outline(html.parser.HTMLParser):
    """Elements of a page and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_names_on_the_page(written: Path) -> None:
    outline = Outline((written / "index.html").read_text("utf-8"))
    assert outline.tags.count("script") == 1
    assert HOSTILE in outline.texts
    assert shown(ODD) in outline.texts
    outside = [a for a in outline.addresses if not re.match("data:|#", a)]
    assert outside == ["results.csv", "summary.md"]


def test_the_page_stands_alone(written: Path) -> None:
    outline = Outline((written / "index.html").read_text("utf-8"))
    n_figures = len(list((written / "figures").iterdir()))
    assert sum(a.startswith("data:image/") for a in outline.addresses) == n_figures
    assert n_figures == 2 + 5 + 2 + 2 * 2
    assert "Rate-distortion study: 2 pictures, 13 curves" in outline.texts


def test_hostile_names_in_figures(written: Path) -> None:
    found = texts((written / "figures" / "set-rate-psnr.svg").read_bytes())
    assert {HOSTILE, shown(ODD).strip(), shown("long " * 60).strip()} <= set(found)
    assert all(re.fullmatch(r"[a-z0-9.-]+", p.name) for p in (written / "figures").iterdir())


def test_hostile_names_in_the_summary(written: Path) -> None:
    text = (written / "summary.md").read_text("utf-8")
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    rows = [row for row in text.splitlines() if row.startswith("| \\_\\$")]
    assert rows
    assert all("\\| \\`x\\`" in row for row in rows)


def test_summary_and_page_say_how() -> None:
    points = [p for p in study_points(("a.png",)) if p.codec in ("jpeg", "avif")]
    content = make_content(points, [], ["nothing"], {"machine": "this"}, "avif")
    text = summary(content)
    assert "## BD-rate by PSNR against avif" in text
    assert "- machine: this" in text
    assert "- nothing" in text
    for sentence in content.methods:
        assert sentence.split(" ")[0] in text
    assert "bjontegaard 1." in text
    for wanted in ("mean of the pictures' BD-rates", "BD-rate of the mean curve"):
        assert wanted in text
        assert wanted in Outline(page(content)).texts
    (jpeg,) = {row for row in content.comparisons[0].rows if row[0] == "jpeg"}
    assert re.fullmatch(r"\+\d+\.\d\d %", jpeg[1])


def test_large_and_small_numbers_in_tables() -> None:
    points = [
        replace(p, encode_cpu_s=1234567.8, decode_cpu_s=0.0001234, macs_per_pixel=2300.4)
        for p in line("jpeg")
    ]
    assert cost_table(points).rows == [
        ("jpeg", "", "1", "5", "1234568", "0.000123", "2300"),
    ]
    results = results_table(points)
    (first, *_) = results.rows
    row = dict(zip(results.columns, first, strict=True))
    assert (row["encode_cpu_s"], row["macs_per_pixel"], row["bpp"]) == ("1234568", "2300.4", "0.1")
    assert "ms_ssim" not in row


@pytest.mark.parametrize("show", [page, summary])
def test_one_point(show: Callable[..., str]) -> None:
    content = make_content(line("jpeg")[:1], [], [], {})
    text = show(content)
    assert "1 picture, 1 curve" in text
    assert "BD-rate by" not in text
    assert content.comparisons == []
    assert [drawing.name for drawing in content.curves] == ["set-rate-psnr.svg"]


def test_no_curve_of_all_pictures() -> None:
    content = make_content(line("jpeg", picture="a") + line("webp", picture="b"), [], [], {})
    assert content.curves == content.times == []
    assert "No curve is of all pictures" in page(content)
    assert any("the reference has no points" in n for p in content.pictures if p.table
               for n in p.table.notes)  # fmt: skip


def test_no_points(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no point to be drawn"):
        write_output(tmp_path / "study", [], [], [], {})
    assert not (tmp_path / "study").exists()
