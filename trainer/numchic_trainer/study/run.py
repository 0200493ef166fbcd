# SPDX-License-Identifier: BSD-3-Clause
"""A whole study: measure what is not measured yet, then draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.config import beside_others
from numchic_trainer.study.anchors import usual_anchors
from numchic_trainer.study.codec import Codec, Numchic
from numchic_trainer.study.config import StudyConfig
from numchic_trainer.study.facts import facts_of
from numchic_trainer.study.output import write_output
from numchic_trainer.study.point import Point, read_points, write_points
from numchic_trainer.study.records import Records
from numchic_trainer.study.session import Session, StudyEvent
from numchic_trainer.study.sources import Source, find_sources


@dataclass(frozen=True)
class StudyResult:
    """What a study has found.

    Attributes
    ----------
    points : list of Point
        All points, those of tables of others too.
    remarks : list of str
        What was left out and why.
    n_failed : int
        Points that could not be measured, and pictures that could not be read.
    files : list of Path
        What was written to be looked at, ``index.html`` last.
    """

    points: list[Point]
    remarks: list[str]
    n_failed: int
    files: list[Path]


def run_study(
    pictures: Path | str | Sequence[Path | str],
    output: Path | str,
    config: StudyConfig | None = None,
    *,
    anchors: Sequence[Codec] | None = None,
    tables: Sequence[Path | str] = (),
    crops: Sequence[str] | None = None,
    reference: str | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[StudyEvent], None] | None = None,
) -> StudyResult:
    """Encode pictures with many settings and codecs, decode, measure, compare and draw.

    What has been measured is kept in the output folder, one file for every point, and never
    measured again as long as picture, settings and versions are the same; so a study that was
    interrupted, or that wants more settings, goes on.

    Parameters
    ----------
    pictures : path, or sequence of paths
        A folder, or files. What cannot be read is left out, with a remark.
    output : path
        Folder of ``index.html``, ``summary.md``, ``results.csv``, figures and streams.
    config : StudyConfig, optional
    anchors : sequence of Codec, optional
        What is compared; by default :func:`numchic_trainer.study.usual_anchors`.
    tables : sequence of paths, optional
        CSV files with curves of others, see :func:`numchic_trainer.study.read_points`.
    crops : sequence of str, optional
        Names of pictures of which parts are shown side by side at equal size; by default the first.
    reference : str, optional
        Name of the curve that Bjontegaard figures are against; by default the first anchor.
    jobs : int
        So many points are measured at the same time, each in a process of its own if it is not 1.
    scheduler : str, optional
        Address of a Dask cluster that measures.
    progress : callable, optional
        Called with a :class:`StudyEvent` for every point. What it raises ends the study.

    Returns
    -------
    StudyResult

    Raises
    ------
    UsageError
        There is no picture, a name is not that of a curve or picture, or a table is malformed;
        nothing has been measured then.
    NumchicError
        Nothing could be measured, or the scheduler was lost.
    OSError
        A file cannot be read or written.
    """
    if any(isinstance(anchor, str) for anchor in anchors or ()):
        raise UsageError("names become codecs by parse_anchors", "anchors", None, anchors)
    if jobs < 1:
        raise UsageError("illegal argument", "jobs", None, jobs, "1 or more")
    config = StudyConfig() if config is None else config
    output = Path(output)
    listed = Path(pictures) if isinstance(pictures, str | Path) else [Path(p) for p in pictures]
    found = find_sources(listed)
    sources = found.sources
    anchors = usual_anchors() if anchors is None else anchors
    codecs: list[Codec] = [*_ours(config, 2 if scheduler else jobs), *anchors]
    _check_distinct(codec.curve for codec in codecs)
    theirs, more = _read_tables([Path(table) for table in tables], sources, codecs)
    curves = {codec.curve for codec in codecs} | {point.curve for point in theirs}
    _check_name("reference", reference, curves)
    names = [source.name for source in sources]
    crops = names[:1] if crops is None else crops
    for name in crops:
        _check_name("crops", name, set(names))
    study = Session(sources, codecs, Records(output))
    study.run(jobs, scheduler, progress)
    if not study.found:
        raise NumchicError(f"nothing could be measured: {study.remarks()[0]}")
    points = [*study.points(), *theirs]
    samples = [study.sample(source) for source in sources if source.name in crops]
    remarks = [*found.unread, *study.remarks(), *more, *found.remarks]
    if reference not in (None, *(point.curve for point in points)):
        remarks.append(f"Comparisons are not with {reference}, which has no points.")
        reference = None
    write_points(output / "results.csv", points)
    files = write_output(
        output, points, [s for s in samples if s is not None], remarks,
        facts_of(config, codecs, study.machines), reference or _first(anchors, points),
    )  # fmt: skip
    return StudyResult(points, remarks, len(found.unread) + study.n_failed, files)


def _ours(config: StudyConfig, n_jobs: int) -> list[Numchic]:
    return [
        Numchic(name, beside_others(settings, n_jobs), config.lmbda)
        for name, settings in config.curves()
    ]


def _read_tables(
    paths: Sequence[Path], sources: Sequence[Source], codecs: Sequence[Codec]
) -> tuple[list[Point], list[str]]:
    """Points of others, and a sentence for pictures that are none of the study's."""
    sizes = {source.name: (source.width, source.height) for source in sources}
    points: list[Point] = []
    remarks = []
    taken = {codec.curve: "this study" for codec in codecs}
    for path in paths:
        found, others = read_points(path, sizes)
        if others:
            remarks.append(f"{path.name}: no such pictures here: {', '.join(others)}.")
        for curve in sorted({point.curve for point in found}):
            if curve in taken:
                allowed = f"another name than in {taken[curve]}"
                raise UsageError("two curves have one name", path.name, None, curve, allowed)
            taken[curve] = path.name
        points += found
    return points, remarks


def _check_distinct(curves: Iterable[str]) -> None:
    name, count = Counter(curves).most_common(1)[0]
    if count > 1:
        raise UsageError("two codecs have one name", "anchors", None, name)


def _check_name(field: str, name: str | None, known: set[str]) -> None:
    if name is not None and name not in known:
        raise UsageError("there is none of this name", field, None, name, ", ".join(sorted(known)))


def _first(anchors: Sequence[Codec], points: Sequence[Point]) -> str | None:
    """Name of the first anchor that has points."""
    found = {point.curve for point in points}
    return next((anchor.curve for anchor in anchors if anchor.curve in found), None)
