# SPDX-License-Identifier: BSD-3-Clause
"""One picture to encode, here or in another process, and many of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from numchic.command.pool import text_of
from numchic.picture import Picture
from numchic_bitstream import NumchicError
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
    output : Path
        Where the stream goes.
    checkpoint : Path or None
    key : str
        What the stream will be of, for the table of a batch.
    """

    path: Path
    picture: Picture
    config: TrainConfig
    output: Path
    checkpoint: Path | None = None
    key: str = ""


def run_job(job: Job, progress: Progress | None = None) -> EncodeResult:
    """Encode a picture."""
    return encode(job.picture, job.config, progress=progress, checkpoint=job.checkpoint)


Outcomes = Generator[tuple[Job, EncodeResult | Exception], None, None]


def encode_all(
    paths: Sequence[Path],
    prepare: Callable[[Path], Job | None],
    run: Callable[[Iterable[Job]], Outcomes],
    deliver: Callable[[Job, EncodeResult], None],
) -> None:
    """Encode many pictures; what goes wrong with one is said and does not stop the others.

    Parameters
    ----------
    paths : sequence of Path
    prepare : callable
        Reads a picture; None if there is nothing to do.
    run : callable
        Encodes them.
    deliver : callable
        Writes a stream.

    Raises
    ------
    NumchicError
        At the end, if pictures were not encoded.
    """
    failed: list[Path] = []

    @contextmanager
    def going_on(path: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a damaged file makes Pillow raise
            failed.append(path)
            complain(path, error)

    def prepared() -> Iterator[Job]:
        for path in paths:
            job = None
            with going_on(path):
                job = prepare(path)
            if job is not None:
                yield job

    with closing(run(prepared())) as outcomes:
        for job, outcome in outcomes:
            with going_on(job.path):
                if isinstance(outcome, Exception):
                    raise outcome
                deliver(job, outcome)
    if failed:
        raise NumchicError(f"{len(failed)} of {len(paths)} pictures were not encoded")


def complain(path: Path, error: Exception | str) -> None:
    """Say on standard error what went wrong with one picture."""
    click.echo(f"numchic: {path.name}: {text_of(error)}", err=True)


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
