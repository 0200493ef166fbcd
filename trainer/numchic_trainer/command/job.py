# SPDX-License-Identifier: BSD-3-Clause
"""One picture to encode, here or in another process, and many of them."""

from __future__ import annotations

import concurrent.futures
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from numchic.picture import Picture
from numchic_trainer.config import TrainConfig
from numchic_trainer.encoding import EncodeResult, Progress, encode

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A picture to encode.

    Attributes
    ----------
    path : Path
        Where the picture came from.
    picture : Picture
        Its samples, since another machine may not see the file.
    config : TrainConfig
    checkpoint : Path or None
    """

    path: Path
    picture: Picture
    config: TrainConfig
    checkpoint: Path | None = None


def run_job(job: Job, progress: Progress | None = None) -> EncodeResult:
    """Encode a picture; an interrupt takes effect between two iterations."""
    with interruptible(progress) as watched:
        return encode(job.picture, job.config, progress=watched, checkpoint=job.checkpoint)


@contextmanager
def interruptible(progress: Callable[[T], None] | None) -> Iterator[Callable[[T], None]]:
    """Hold an interrupt back until progress is reported, so that the checkpoint is a good one."""
    interrupted = threading.Event()

    def remember(*_: object) -> None:
        if interrupted.is_set():  # the user insists
            raise KeyboardInterrupt
        interrupted.set()

    def watched(event: T) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        if progress is not None:
            progress(event)

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # signals are not for us
        yield watched
        return
    before = signal.signal(signal.SIGINT, remember)
    try:
        yield watched
    finally:
        signal.signal(signal.SIGINT, before)


def run_jobs(
    jobs: Iterable[Job],
    executor: concurrent.futures.Executor,
    n_at_once: int,
    done: Callable[[Job, EncodeResult | Exception], None],
) -> None:
    """Run jobs elsewhere, a limited number at a time; ``done`` is called as they finish."""
    waiting = iter(jobs)
    running: dict[concurrent.futures.Future[EncodeResult], Job] = {}
    try:
        while True:
            while len(running) < n_at_once and (job := next(waiting, None)) is not None:
                running[executor.submit(run_job, job)] = job
            if not running:
                return
            finished, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in finished:
                job = running.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error  # noqa: TRY301 - an interrupt in another process is one here
                done(job, future.result() if error is None else error)
    except BaseException:
        executor.shutdown(wait=True, cancel_futures=True)
        raise
