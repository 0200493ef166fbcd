# SPDX-License-Identifier: BSD-3-Clause
"""A whole study: measure what is not measured yet, then draw."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from numchic._version import __version__
from numchic.command.pool import FAILURES, run_in_processes, text_of
from numchic.picture import Picture
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.command.cluster import run_on_cluster
from numchic_trainer.command.job import interruptible
from numchic_trainer.config import TrainConfig, beside_others
from numchic_trainer.figures import to_rgb
from numchic_trainer.study.anchors import usual_anchors
from numchic_trainer.study.codec import Codec, Numchic
from numchic_trainer.study.config import COMMON, StudyConfig
from numchic_trainer.study.crops import Sample
from numchic_trainer.study.equal import at_equal_size, first_of_ours
from numchic_trainer.study.images import KINDS, version_of
from numchic_trainer.study.measure import Measured, Task, key_of, measure
from numchic_trainer.study.output import write_output
from numchic_trainer.study.point import Point, read_points, write_points
from numchic_trainer.study.records import Records
from numchic_trainer.study.sources import Source, find_sources

_NOBODY: Callable[[object], None] | None = None
Outcomes = Generator[tuple[Task, Measured | Exception], None, None]


@dataclass(frozen=True)
class StudyEvent:
    """How far a study is.

    Attributes
    ----------
    n_done, n_points : int
        Points that are measured, failed ones among them, and all that are wanted.
    point : str
        What has been measured just now: picture, curve and setting.
    error : str or None
        Why it could not be measured.
    """

    n_done: int
    n_points: int
    point: str
    error: str | None = None


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
    config = StudyConfig() if config is None else config
    output = Path(output)
    listed = Path(pictures) if isinstance(pictures, str | Path) else [Path(p) for p in pictures]
    found = find_sources(listed)
    sources = found.sources
    anchors = usual_anchors() if anchors is None else anchors
    codecs: list[Codec] = [*_ours(config, 2 if scheduler else jobs), *anchors]
    theirs, more = _read_tables([Path(table) for table in tables], sources, codecs)
    curves = {codec.curve for codec in codecs} | {point.curve for point in theirs}
    _check_name("reference", reference, curves)
    names = [source.name for source in sources]
    crops = names[:1] if crops is None else crops
    for name in crops:
        _check_name("crops", name, set(names))
    study = _Study(sources, codecs, Records(output))
    study.run(jobs, scheduler, progress)
    if not study.found:
        raise NumchicError(f"nothing could be measured: {study.remarks()[0]}")
    points = [*study.points(), *theirs]
    samples = [study.sample(source) for source in sources if source.name in crops]
    remarks = [*found.unread, *study.remarks(), *more, *found.remarks]
    write_points(output / "results.csv", points)
    files = write_output(
        output, points, [s for s in samples if s is not None], remarks, _facts(config, codecs),
        reference or _first(anchors, points),
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


def _check_name(field: str, name: str | None, known: set[str]) -> None:
    if name is not None and name not in known:
        raise UsageError("there is none of this name", field, None, name, ", ".join(sorted(known)))


def _first(anchors: Sequence[Codec], points: Sequence[Point]) -> str | None:
    """Name of the first anchor that has points."""
    found = {point.curve for point in points}
    return next((anchor.curve for anchor in anchors if anchor.curve in found), None)


class _Study:
    """What is to be measured, and what has been."""

    def __init__(
        self, sources: Sequence[Source], codecs: Sequence[Codec], records: Records
    ) -> None:
        self._sources = sources
        self._codecs = codecs
        self._records = records
        self._wanted = [
            (source, codec, setting)
            for source in sources
            for codec in codecs
            for setting in codec.settings
        ]
        self._failures: dict[tuple[str, str], list[str]] = {}
        self.found: dict[str, Measured] = {}

    def points(self) -> list[Point]:
        """Points in the order of pictures, codecs and settings."""
        keys = (key_of(source.digest, codec, setting) for source, codec, setting in self._wanted)
        return [self.found[key].point for key in keys if key in self.found]

    @property
    def n_failed(self) -> int:
        """Points that could not be measured."""
        return sum(map(len, self._failures.values()))

    def remarks(self) -> list[str]:
        """Sentences about what failed, those of one cause together."""
        sentences = []
        for (curve, error), where in self._failures.items():
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            sentences.append(f"{curve} has no point for {where[0]}{more}: {error}.")
        return sentences

    def run(
        self,
        jobs: int,
        scheduler: str | None,
        progress: Callable[[StudyEvent], None] | None,
    ) -> None:
        """Measure what is missing, and keep every point as soon as it is there."""
        n_done = 0

        def tell(point: str, error: str | None = None) -> None:
            nonlocal n_done
            n_done += 1
            if progress is not None:
                progress(StudyEvent(n_done, len(self._wanted), point, error))

        def missing() -> Iterator[Task]:
            for source, codec, setting in self._wanted:
                key = key_of(source.digest, codec, setting)
                record = self._records.find(key)
                if record is None:
                    try:
                        picture = source.read()
                    except FAILURES as error:
                        tell(*self._fail(source.name, codec, setting, error))
                        continue
                    # On another machine the folder may not exist.
                    kept = None if scheduler else self._records.checkpoint(key)
                    yield Task(source.name, picture, codec, setting, key, kept)
                else:
                    # The name may be another one than when it was measured.
                    point = dataclasses.replace(record.point, picture=source.name)
                    self.found[key] = Measured(point, record.stream)
                    tell(_called(source.name, codec, setting))

        with closing(_outcomes(missing(), jobs, scheduler)) as outcomes:
            for task, outcome in outcomes:
                if isinstance(outcome, Exception):
                    tell(*self._fail(task.name, task.codec, task.setting, outcome))
                    continue
                self._records.add(task, outcome)
                self.found[task.key] = outcome
                tell(_called(task.name, task.codec, task.setting))

    def _fail(self, name: str, codec: Codec, setting: str, error: Exception) -> tuple[str, str]:
        """Note a failure, and return what there is to tell of it."""
        text = text_of(error)
        self._failures.setdefault((codec.curve, text), []).append(f"{name} at {setting}")
        return _called(name, codec, setting), text

    def sample(self, source: Source) -> Sample | None:
        """Decode streams of a picture that have about the same size."""
        picture = source.read()

        def measured(codec: Codec, setting: str) -> Measured | None:
            key = key_of(source.digest, codec, setting)
            found = self.found.get(key) or self._records.find(key)
            if found is None and setting not in codec.settings:
                task = Task(source.name, picture, codec, setting, key, None)
                try:
                    found = measure(task)
                except FAILURES:
                    return None
                self._records.add(task, found)
            return found

        chosen = at_equal_size(first_of_ours(self._codecs), measured)
        if not chosen:
            return None
        decoded = [
            (dataclasses.replace(found.point, picture=source.name),
             _shown(codec.decode(found.stream)[0]))
            for codec, found in chosen
        ]  # fmt: skip
        return Sample(source.name, _shown(picture), decoded)


def _shown(picture: Picture) -> NDArray[np.uint8]:
    """Picture as a screen shows it."""
    return (255 * to_rgb(picture).clip(0, 1)).round().astype(np.uint8)


def _called(name: str, codec: Codec, setting: str) -> str:
    return f"{name}, {codec.curve}, {setting}"


def _outcomes(tasks: Iterable[Task], jobs: int, scheduler: str | None) -> Outcomes:
    if scheduler is not None:
        return run_on_cluster(measure, tasks, scheduler, None if jobs == 1 else jobs)
    if jobs > 1:
        return run_in_processes(measure, tasks, jobs)
    return _one_by_one(tasks)


def _one_by_one(tasks: Iterable[Task]) -> Outcomes:
    for task in tasks:
        outcome: Measured | Exception
        try:
            with interruptible(_NOBODY) as heed:
                outcome = measure(task, heed)
        except FAILURES as error:
            outcome = error
        yield task, outcome


def _facts(config: StudyConfig, codecs: Sequence[Codec]) -> dict[str, str]:
    """What a reader should know of how it was measured."""
    default = TrainConfig()
    common = {
        name: getattr(config.common, name)
        for name in sorted(COMMON - {"threads"})
        if getattr(config.common, name) != getattr(default, name)
    }
    facts = {
        "numchic": f"{__version__}: lambda {', '.join(map(str, config.lmbda))}; preset "
        f"{', '.join(config.preset)}; effort {', '.join(config.effort)}"
        + "".join(f"; {name} {value}" for name, value in common.items()),
    }
    for codec in codecs:
        if codec.name in KINDS:
            options = ", ".join(f"{k} {v}" for k, v in KINDS[codec.name].options)
            version = version_of(KINDS[codec.name].format)
            facts[codec.name] = f"{version}: {options}; qualities {', '.join(codec.settings)}"
        elif not isinstance(codec, Numchic):
            facts[codec.name] = codec.identity(", ".join(codec.settings))
    facts["measured with"] = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}, "
        f"Pillow {PIL.__version__}, Matplotlib {matplotlib.__version__} on {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    return facts
