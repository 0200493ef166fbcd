# SPDX-License-Identifier: BSD-3-Clause
"""One point of a rate-distortion curve: a picture, a codec, a setting, and what came of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numchic.files.images import write_file
from numchic_bitstream import UsageError


@dataclass(frozen=True)
class Point:
    """A row of ``results.csv``; None is an empty field.

    Attributes
    ----------
    picture : str
        Name of its file.
    width, height : int
    curve : str
        Codec with all its settings but the one that moves along the curve.
    codec : str
    setting : str
        What moves along the curve: lambda or a quality.
    bytes : int
        Of the stream: ours without a trailer, others the whole file.
    bpp : float
        Bits per pixel.
    psnr_db : float
        From the mean of the squared errors of all samples of all planes; 100 if nothing is lost.
    preset, effort : str or None
        Of numchic.
    psnr_0_db, psnr_1_db, psnr_2_db : float or None
        Of single planes: R, G, B or Y, U, V.
    ms_ssim : float or None
        Mean of the channels in RGB, of Y alone otherwise; None for too small a picture.
    encode_cpu_s, decode_cpu_s : float or None
        CPU seconds.
    timing : str or None
        "call": within a running process; "process": a whole command.
    macs_per_pixel : float or None
        Multiplications of decoding, of numchic.
    """

    picture: str
    width: int
    height: int
    curve: str
    codec: str
    setting: str
    bytes: int
    bpp: float
    psnr_db: float
    preset: str | None = None
    effort: str | None = None
    psnr_0_db: float | None = None
    psnr_1_db: float | None = None
    psnr_2_db: float | None = None
    ms_ssim: float | None = None
    encode_cpu_s: float | None = None
    decode_cpu_s: float | None = None
    timing: str | None = None
    macs_per_pixel: float | None = None


_ROUNDED = {"bpp": 6, "ms_ssim": 6, "encode_cpu_s": 3, "decode_cpu_s": 4, "macs_per_pixel": 1}
_DIGITS = 4


def write_points(path: Path, points: Sequence[Point]) -> None:
    """Write a table with a row per point, as CSV; an existing file is replaced as a whole."""
    names = [field.name for field in dataclasses.fields(Point)]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(point) for point in points)
    write_file(path, file.getvalue().encode(errors="surrogateescape"))


def _row(point: Point) -> dict[str, object]:
    row = dataclasses.asdict(point)
    return {
        name: round(value, _ROUNDED.get(name, _DIGITS)) if isinstance(value, float) else value
        for name, value in row.items()
    }


def read_points(path: Path, sizes: Mapping[str, tuple[int, int]]) -> tuple[list[Point], list[str]]:
    """Curves of somebody else, from a table with the columns of :class:`Point`.

    ``picture``, ``psnr_db``, and ``bpp`` or ``bytes`` are needed. Curves are told apart by
    ``curve``, else by ``codec``; without both the file's name is that of the only one. Where there
    is no ``setting``, it is the rank of the rate in the curve of its picture. Commas separate
    values, in a ``.tsv`` file tabs; lines before the columns' names that begin with ``#`` are
    remarks.

    Parameters
    ----------
    path : Path
    sizes : mapping
        Width and height of the pictures of the study by their names.

    Returns
    -------
    points : list of Point
        Of pictures of the study.
    others : list of str
        Names of the pictures that are not of the study.

    Raises
    ------
    UsageError
        A column is missing, a value is no number or out of range, or a point comes twice.
    OSError
        The file cannot be read.
    """
    points: list[Point] = []
    others: dict[str, None] = {}
    for line, row in _read_rows(path):
        picture = row["picture"]
        if picture in sizes:
            points.append(_point(row, path, line, sizes[picture]))
        else:
            others[picture] = None
    points = _ranked(points)
    _check_distinct(points, path)
    return points, list(others)


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with the numbers of their lines."""
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    lines = list(io.StringIO(text, newline=""))  # other separators of lines may be part of names
    n_remarks = len(list(itertools.takewhile(lambda line: line.startswith("#"), lines)))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(lines[n_remarks:], delimiter=delimiter, strict=True)
    try:
        _check_columns(set(reader.fieldnames or ()), path)
        for row in reader:
            number = n_remarks + reader.line_num
            if None in [*row, *row.values()]:
                reason = "a row has more or fewer values than there are columns"
                raise UsageError(reason, f"{path.name}, line {number}")
            yield number, row
    except csv.Error as error:
        raise UsageError(f"not a table: {error}", path.name) from error


def _check_columns(columns: set[str], path: Path) -> None:
    missing = {"picture", "psnr_db"} - columns
    if not {"bpp", "bytes"} & columns:
        missing.add("bpp or bytes")
    if missing:
        raise UsageError(
            f"columns are missing: {', '.join(sorted(missing))}", path.name, None,
            ", ".join(sorted(columns)) or "no columns",
        )  # fmt: skip


_RANGES: dict[str, tuple[float, float]] = {
    "bpp": (1e-9, 1e6),
    "bytes": (1, 1e15),
    "psnr_db": (-1e3, 1e3),
    "psnr_0_db": (-1e3, 1e3),
    "psnr_1_db": (-1e3, 1e3),
    "psnr_2_db": (-1e3, 1e3),
    "ms_ssim": (-1, 1),
    "encode_cpu_s": (0, 1e12),
    "decode_cpu_s": (0, 1e12),
    "macs_per_pixel": (0, 1e12),
}


def _point(row: Mapping[str, str], path: Path, line: int, size: tuple[int, int]) -> Point:
    known: dict[str, Any] = {
        name: _number(row[name], name, path, line, limits)
        for name, limits in _RANGES.items()
        if row.get(name)
    }
    width, height = size
    if "psnr_db" not in known or not {"bpp", "bytes"} & known.keys():
        raise UsageError("rate or quality is missing", f"{path.name}, line {line}")
    n_bytes = known.setdefault("bytes", known.get("bpp", 0.0) * width * height / 8)
    known.setdefault("bpp", 8 * n_bytes / (width * height))
    known["bytes"] = round(n_bytes)
    curve = row.get("curve") or row.get("codec") or path.stem
    known |= {name: row.get(name) or None for name in ("preset", "effort", "timing")}
    known |= {"curve": curve, "codec": row.get("codec") or curve}
    return Point(row["picture"], width, height, setting=row.get("setting") or "", **known)


def _number(text: str, name: str, path: Path, line: int, limits: tuple[float, float]) -> float:
    low, high = limits
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        where = f"{path.name}, line {line}, {name}"
        raise UsageError("illegal value", where, None, text[:50], f"{low:g} .. {high:g}")
    return value


def _ranked(points: Sequence[Point]) -> list[Point]:
    """Give the points without a setting the rank of their rate."""
    ranks: Counter[tuple[str, str]] = Counter()
    ranked = []
    for point in sorted(points, key=lambda point: point.bpp):
        if not point.setting:
            ranks[point.curve, point.picture] += 1
            rank = str(ranks[point.curve, point.picture])
            point = dataclasses.replace(point, setting=rank)  # noqa: PLW2901
        ranked.append(point)
    return sorted(ranked, key=lambda point: (point.curve, point.picture, point.bpp))


def _check_distinct(points: Sequence[Point], path: Path) -> None:
    counts = Counter((point.curve, point.picture, point.setting) for point in points)
    for (curve, picture, setting), count in counts.items():
        if count > 1:
            found = f"{curve}, {picture}, {setting}"
            raise UsageError("a point comes twice", path.name, None, found)
