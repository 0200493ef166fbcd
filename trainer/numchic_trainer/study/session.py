# SPDX-License-Identifier: BSD-3-Clause
"""What a study wants measured, and what has been."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numchic.command.pool import run_in_processes, text_of
from numchic.picture import Picture
from numchic_trainer.command.cluster import run_on_cluster
from numchic_trainer.command.job import interruptible
from numchic_trainer.figures import to_rgb
from numchic_trainer.study.codec import Codec
from numchic_trainer.study.crops import Sample
from numchic_trainer.study.equal import at_equal_size, ours_first
from numchic_trainer.study.measure import Measured, Task, key_of, measure, unheeded
from numchic_trainer.study.point import Point
from numchic_trainer.study.records import Records
from numchic_trainer.study.sources import Source

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


class Session:
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
        self._failures: dict[str, str] = {}
        self._unshown: list[str] = []
        self.found: dict[str, Point] = {}
        self.machines: dict[str, None] = {}

    def points(self) -> list[Point]:
        """Points in the order of pictures, codecs and settings."""
        keys = (key_of(source.digest, codec, setting) for source, codec, setting in self._wanted)
        return [self.found[key] for key in keys if key in self.found]

    @property
    def n_failed(self) -> int:
        """Points that could not be measured."""
        return len(self._failures)

    def remarks(self) -> list[str]:
        """Sentences about what failed, those of one cause together."""
        places: dict[tuple[str, str], list[str]] = {}
        for source, codec, setting in self._wanted:
            error = self._failures.get(_called(source.name, codec, setting))
            if error is not None:
                places.setdefault((codec.curve, error), []).append(f"{source.name} at {setting}")
        sentences = []
        for (curve, error), where in places.items():
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            sentences.append(f"{curve} has no point for {where[0]}{more}: {error}.")
        return sentences + self._unshown

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
            read: Callable[[], Picture]
            before = None
            for source, codec, setting in self._wanted:
                if source is not before:  # points of one picture come together: it is read once
                    read, before = functools.cache(source.read), source
                key = key_of(source.digest, codec, setting)
                record = self._records.find(key)
                if record is None:
                    try:
                        picture = read()
                    except Exception as error:  # whatever a damaged file makes Pillow raise
                        tell(*self._fail(source.name, codec, setting, error))
                        continue
                    # On another machine the folder may not exist.
                    kept = None if scheduler else self._records.checkpoint(key)
                    yield Task(source.name, picture, codec, setting, key, kept)
                else:
                    # The name may be another one than when it was measured.
                    self.found[key] = dataclasses.replace(record.point, picture=source.name)
                    self.machines[record.machine] = None
                    tell(_called(source.name, codec, setting))

        with closing(_outcomes(missing(), jobs, scheduler)) as outcomes:
            for task, outcome in outcomes:
                if isinstance(outcome, Exception):
                    tell(*self._fail(task.name, task.codec, task.setting, outcome))
                    continue
                self._records.add(task, outcome)
                self.found[task.key] = outcome.point
                self.machines[outcome.machine] = None
                tell(_called(task.name, task.codec, task.setting))

    def _fail(self, name: str, codec: Codec, setting: str, error: Exception) -> tuple[str, str]:
        """Note a failure, and return what there is to tell of it."""
        point, text = _called(name, codec, setting), text_of(error)
        self._failures[point] = text
        return point, text

    def sample(self, source: Source) -> Sample | None:
        """Decode streams of a picture that have about the same size; None if there are none."""
        try:
            picture = source.read()
        except Exception as error:  # as above
            self._unshown.append(f"{source.name} is not shown: {text_of(error)}.")
            return None

        def measured(codec: Codec, setting: str) -> Measured | None:
            key = key_of(source.digest, codec, setting)
            found = self._records.find(key)
            if found is None and setting not in codec.settings:
                task = Task(source.name, picture, codec, setting, key, None)
                try:
                    found = measure(task)
                except Exception:  # of codecs of others
                    return None
                self._records.add(task, found)
            return found

        chosen = at_equal_size(ours_first(self._codecs), measured)
        if not chosen:
            return None
        decoded = []
        for codec, found in chosen:
            try:
                image = _shown(codec.decode(found.stream, unheeded)[0])
            except Exception as error:  # its program may be none of this machine
                where = f"{source.name} is not shown as {codec.curve} gives it"
                self._unshown.append(f"{where}: {text_of(error)}.")
            else:
                decoded.append((dataclasses.replace(found.point, picture=source.name), image))
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
        with interruptible(_NOBODY) as heed:
            outcome: Measured | Exception
            try:
                outcome = measure(task, heed)
            except Exception as error:  # of codecs of others
                outcome = error
            yield task, outcome
            heed(None)  # what was not heeded until now, the point being kept
