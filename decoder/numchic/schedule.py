# SPDX-License-Identifier: BSD-3-Clause
"""Threads that share out the jobs of a decoding, and how callers follow and stop it.

There is one way to do several things at a time: jobs, in the order in which they were added, go to
whoever is free, the calling thread included, which adds them and helps when it has nothing else to
do. No result depends on the number of threads, nor does the error that a damaged stream gives.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np

from numchic_bitstream.errors import NumchicError

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the work done and the total work of that stage.

Stages are "latents", counted in samples, and "rendering", counted in rows; they overlap. Where
several frames are decoded there is one stage, "frames". While something takes long the same numbers
are reported again. An exception that the callback raises stops the work and reaches the caller.
"""

BAND_ROWS = 64
"""Rows that the stages after the latents work on at a time."""

_PATIENCE = 0.1  # seconds between two reports while other threads work

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 - nothing is wrong
    """Ends work in another thread that nobody needs any more."""


class Meter:
    """Counts the work of all threads and reports it from one of them.

    Parameters
    ----------
    progress : callable, optional
    totals : dict, optional
        Stages and their total work; needed for reports.

    Attributes
    ----------
    reporter : int
        The thread from which ``progress`` is called.
    stopped : bool
        Whether it has raised an exception.
    """

    def __init__(
        self, progress: Progress | None = None, totals: dict[str, int] | None = None
    ) -> None:
        self._progress = progress
        self._totals = totals or {}
        self._done: Counter[str] = Counter()
        self.reporter = threading.get_ident()
        self._lock = threading.Lock()
        self.stopped = False

    def advance(self, stage: str, amount: int) -> None:
        """Count work that is done; it is reported at once only in the thread of the caller."""
        with self._lock:
            self._done[stage] += amount
        self.report(stage)

    def report(self, *stages: str) -> None:
        """Report some stages, or all."""
        if self._progress is None or threading.get_ident() != self.reporter:
            return
        try:
            for stage in stages or self._totals:
                self._progress(stage, self._done[stage], self._totals[stage])
        except BaseException:
            self.stopped = True
            raise


def frame_meter(
    progress: Progress | None, parts: Iterable[tuple[int, int]], predicted_rows: int
) -> Meter:
    """Meter for a frame: samples and rows of each of its decoders, and rows that are predicted."""
    latents, rendering = (sum(numbers) for numbers in zip(*parts, strict=True))
    return Meter(progress, {"latents": latents, "rendering": rendering + predicted_rows})


class Job(Generic[T]):
    """Work that is done once, when the jobs it comes after are done."""

    def __init__(self, work: Callable[[], T], after: Sequence[Job[Any]]) -> None:
        self._work: Callable[[], T] | None = work
        self._after = after
        self._result: T
        self.error: BaseException | None = None
        self.done = False

    @property
    def ready(self) -> bool:
        """Whether it can be done now."""
        return all(job.done for job in self._after)

    def run(self) -> None:
        """Do the work, and keep its result or what it raises."""
        work, self._work = self._work, None
        assert work is not None
        try:
            for job in self._after:
                job.result()
            # A hostile stream may overflow float32; that is an error when samples are rounded.
            with np.errstate(over="ignore", invalid="ignore"):
                self._result = work()
        except BaseException as error:
            self.error = error
        self._after = ()
        self.done = True

    def forget(self) -> None:
        """Let go of what the job refers to, which may refer to the job."""
        self._work, self._after, self.error = None, (), None

    def result(self) -> T:
        """Result of a job that is done."""
        if self.error is not None:
            raise self.error
        return self._result


class Schedule:
    """Jobs and the threads that do them.

    It is a context: when the block is left the other threads have ended. Of the jobs that have
    failed by then the first one, in the order in which they were added, gives its error.

    Parameters
    ----------
    threads : int
        Number of threads that compute at the same time, the calling one included. Without others a
        job is done when it is added.
    meter : Meter
        Reports now and then, so that the caller can stop the work.
    """

    def __init__(self, threads: int, meter: Meter) -> None:
        self.threads = threads
        self._meter = meter
        # Not the condition but its lock is taken: an interruption cannot get in between.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: list[Job[Any]] = []
        self._added: list[Job[Any]] = []
        self._others: list[threading.Thread] = []
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            must_stop = self._must_stop(error)
            del error  # which may be raised again, and would refer to itself
            if not must_stop:
                self.finish()
        finally:
            self._over = True
            with self._lock:
                self._waiting.clear()
                self._changed.notify_all()
            for thread in self._others:
                # One of them may be here, to collect a generator as garbage.
                if thread is not threading.current_thread():
                    thread.join()
            # Arrays of whoever added them would wait for the garbage collector.
            for job in self._added:
                job.forget()
            self._added.clear()

    def add(self, work: Callable[[], T], after: Sequence[Job[Any]] = ()) -> Job[T]:
        """Add a job.

        Parameters
        ----------
        work : callable
        after : sequence of Job
            Jobs that have to be done before; if one of them fails this one fails as it did.
        """
        self._meter.reporter = threading.get_ident()
        job = Job(work, after)
        with self._lock:
            self._added.append(job)
            self._waiting.append(job)
            self._changed.notify_all()
        if len(self._others) < min(self.threads - 1, len(self._added)):
            thread = threading.Thread(target=self._work, name="numchic", daemon=True)
            # Where the system has no thread left, the calling one does the work.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._others.append(thread)
        if self.threads == 1:
            self.help(job)
        return job

    def wait(self, job: Job[T]) -> T:
        """Wait until a job is done that was added before, and give its result."""
        with self._lock:
            while not job.done:
                self._changed.wait(_PATIENCE)
                self._release(self.pause)
        return job.result()

    def help(self, job: Job[T]) -> T:
        """Do jobs in the calling thread until a certain one is done, and give its result."""
        self._meter.reporter = threading.get_ident()
        with self._lock:
            while not job.done:
                self._do_next()
        return job.result()

    def finish(self) -> None:
        """Do jobs in the calling thread until all are done.

        Raises
        ------
        NumchicError
            The first job that failed raised it.
        """
        with self._lock:
            while not all(job.done for job in self._added):
                self._do_next()
            failed = [job for job in self._added if job.error is not None]
        for job in failed:
            job.result()
        if self._others:
            self._meter.report()  # what they have done since

    def pause(self) -> None:
        """Give the caller a chance to stop long work; called in it now and then.

        Raises
        ------
        Cancelled
            In another thread, when the work is not needed any more.
        """
        if self._over:
            raise Cancelled
        self._meter.report()

    def _work(self) -> None:
        """Do jobs in another thread, until the end."""
        with self._lock:
            while not self._over:
                self._do_next()

    def _do_next(self) -> None:
        """Do the first job that is ready; without one, wait for a change."""
        job = next((job for job in self._waiting if job.ready), None)
        if job is None:
            self._changed.wait(_PATIENCE)
            if threading.get_ident() == self._meter.reporter:
                self._release(self.pause)
            return
        self._waiting.remove(job)
        self._release(job.run)
        if self._over:
            return
        if job.error is None:
            self._added.remove(job)
        else:
            self._drop_after(job)
        self._changed.notify_all()
        if threading.get_ident() == self._meter.reporter and self._must_stop(job.error):
            job.result()

    def _drop_after(self, failed: Job[Any]) -> None:
        """Forget the jobs that come after one that has failed, and nobody has begun."""
        for job in self._added[self._added.index(failed) + 1 :]:
            if job in self._waiting:
                self._waiting.remove(job)
                job.error, job.done = failed.error, True

    def _must_stop(self, error: BaseException | None) -> bool:
        """Whether an error is none of the stream: it must reach the caller at once."""
        if error is None:
            return False
        return not isinstance(error, NumchicError) or self._meter.stopped

    def _release(self, work: Callable[[], None]) -> None:
        """Do something without holding the lock."""
        try:
            self._lock.release()
            work()
        finally:
            self._lock.acquire()


class Bands:
    """Bands of rows, each rendered by a job as soon as what it needs is there.

    Parameters
    ----------
    schedule : Schedule
    height : int
        Rows to render.
    reach : int
        Rows of the finest latent that a row needs above and below itself.
    render : callable
        Renders some rows: first, number.
    after : sequence of Job
        What all bands need.
    """

    def __init__(
        self,
        schedule: Schedule,
        height: int,
        reach: int,
        render: Callable[[int, int], None],
        after: Sequence[Job[Any]],
    ) -> None:
        self._schedule = schedule
        self._height = height
        self._reach = reach
        self._render = render
        self._after = after
        self.jobs: list[Job[None]] = []

    def advance(self, rows: int) -> None:
        """Add the bands that need no more than the first ``rows`` rows of the finest latent."""
        while (first := len(self.jobs) * BAND_ROWS) < self._height:
            stop = min(first + BAND_ROWS, self._height)
            if min(stop + self._reach, self._height) > rows:
                return
            work = partial(self._render, first, stop - first)
            self.jobs.append(self._schedule.add(work, self._after))
