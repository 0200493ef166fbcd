# SPDX-License-Identifier: BSD-3-Clause
"""``numchic decode`` of several streams to a folder, here or in other processes."""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from numchic.command.decode import (
    Job,
    Options,
    check_outputs,
    decode_job,
    identity_of,
    is_folder,
    outputs_of,
)
from numchic.command.pool import FAILURES, Heed, run_in_processes
from numchic_bitstream.errors import UsageError


def decode_many(
    sources: Sequence[str], output: str, options: Options, n_jobs: int
) -> Generator[tuple[str, Exception | None], None, None]:
    """Decode streams to a folder.

    Yields
    ------
    (str, exception or None)
        Every stream, and why it could not be decoded.

    Raises
    ------
    UsageError
        Two streams would be written to the same file, or one to a stream. This is noticed before
        anything is decoded.
    """
    if not is_folder(output):
        allowed = "an existing folder, or a name that ends in a slash"
        raise UsageError("several streams are decoded to a folder", "output", None, output, allowed)
    if "-" in sources:
        raise UsageError("standard input has no name to call a file in a folder by", "input")
    gc.enable()  # many pictures: more than a short life
    jobs, failures = _plan(sources, Path(output), options)
    yield from failures
    Path(output).mkdir(parents=True, exist_ok=True)
    if n_jobs == 1:
        for job in jobs:
            yield job.source, _failure(job, options)
        return
    options = replace(options, threads=options.threads or 1)
    work = partial(_work, options=options)
    with closing(run_in_processes(work, jobs, min(n_jobs, len(jobs)))) as results:
        for job, error in results:
            yield job.source, error


def _plan(
    sources: Sequence[str], folder: Path, options: Options
) -> tuple[list[Job], list[tuple[str, Exception]]]:
    """What to decode to what, and the streams that cannot be opened."""
    jobs: list[Job] = []
    failures: list[tuple[str, Exception]] = []
    taken: dict[Path, str] = {}
    inputs = {identity_of(Path(source)) for source in sources}
    for source in sources:
        try:
            with options.open(source) as stream:
                kind = options.kind_for(stream, "png")
                job = Job(source, str(folder / f"{Path(source).stem}.{kind}"), kind)
                outputs = outputs_of(stream, job, options)
        except FAILURES as error:
            failures.append((source, error))
            continue
        check_outputs(outputs, inputs)
        for path in outputs:
            if path in taken:
                found = f"{taken[path]} and {source}"
                raise UsageError(
                    f"two streams would be decoded to {path}", "input", None, found, "other names"
                )
            taken[path] = source
        jobs.append(job)
    return jobs, failures


def _failure(job: Job, options: Options) -> Exception | None:
    try:
        _work(job, None, options)
    except FAILURES as error:
        return error
    return None


def _work(job: Job, heed: Heed | None, options: Options) -> None:
    with options.open(job.source) as stream:
        decode_job(stream, job, options, heed)
