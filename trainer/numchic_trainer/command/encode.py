# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from numchic.files.images import write_file
from numchic.picture import Picture
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.command.job import Job, run_job, run_jobs
from numchic_trainer.command.remarks import remark
from numchic_trainer.command.table import check_table_name, write_table
from numchic_trainer.config import TrainConfig
from numchic_trainer.encoding import EncodeResult, Event, Progress
from numchic_trainer.pictures import read_picture

SUFFIX = ".cool"
CHECKPOINT_SUFFIX = ".training"


def encode_files(
    inputs: Sequence[Path],
    output: Path,
    settings: dict[str, Any],
    source: dict[str, Any],
    jobs: int,
    log: Path | None,
    report: Path | None,
    resume: bool,
    restart: bool,
) -> None:
    """Encode pictures to files."""
    config = TrainConfig.of_effort(**settings)
    if log is not None:
        check_table_name(log)
    if len(inputs) == 1 and not output.is_dir():
        check_parent(output)
        checkpoint = open_checkpoint(output, resume, restart)
        picture = read_picture(inputs[0], **source)
        remark(inputs[0], picture, config)
        with progress_bar() as progress:
            result = run_job(Job(inputs[0], picture, config, checkpoint), progress)
        _deliver(result, picture, output, log, report)
        checkpoint.unlink(missing_ok=True)
        _tell(inputs[0], result)
        return
    _encode_many(inputs, output, config, source, jobs, log, report, resume, restart)


def _encode_many(
    inputs: Sequence[Path],
    folder: Path,
    config: TrainConfig,
    source: dict[str, Any],
    n_jobs: int,
    log: Path | None,
    report: Path | None,
    resume: bool,
    restart: bool,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [path.stem for path in inputs]
    if len(set(names)) < len(names):
        raise UsageError("two pictures would be written to the same stream", "inputs")
    failed: list[Path] = []

    def prepared() -> Iterator[Job]:
        for path in inputs:
            try:
                checkpoint = open_checkpoint(folder / (path.stem + SUFFIX), resume, restart)
                picture = read_picture(path, **source)
                remark(path, picture, config)
                yield Job(path, picture, config, checkpoint)
            except (NumchicError, OSError) as error:
                failed.append(path)
                complain(path, error)

    def done(job: Job, result: EncodeResult | Exception) -> None:
        if isinstance(result, Exception):
            failed.append(job.path)
            complain(job.path, result)
            return
        stem = job.path.stem
        _deliver(
            result,
            job.picture,
            folder / (stem + SUFFIX),
            log and log.with_stem(f"{log.stem}-{stem}"),
            report and report / stem,
        )
        assert job.checkpoint is not None
        job.checkpoint.unlink(missing_ok=True)
        _tell(job.path, result)

    # A fresh interpreter per process: torch does not survive a fork.
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as executor:
        run_jobs(prepared(), executor, n_jobs, done)
    if failed:
        raise NumchicError(f"{len(failed)} of {len(inputs)} pictures were not encoded")


def check_parent(output: Path) -> None:
    """Fail before the training rather than after it."""
    if not output.resolve().parent.is_dir():
        raise FileNotFoundError(f"no such folder: {output.parent}")


def open_checkpoint(output: Path, resume: bool, restart: bool) -> Path:
    """File beside the output for an interrupted training; it must be wanted if it is there."""
    path = output.with_name(output.name + CHECKPOINT_SUFFIX)
    if restart:
        path.unlink(missing_ok=True)
    elif path.exists() and not resume:
        raise UsageError(
            "an interrupted training is there: --resume goes on with it, --restart throws it away",
            "output", None, path.name,
        )  # fmt: skip
    return path


def _deliver(
    result: EncodeResult, picture: Picture, output: Path, log: Path | None, report: Path | None
) -> None:
    write_file(output, result.stream)
    if log is not None:
        write_table(log, result.log)
    if report is not None:
        from numchic_trainer.report import write_report

        write_report(report, picture, result.stream, result.log)


def _tell(path: Path, result: EncodeResult) -> None:
    """Say on standard error what came out."""
    seconds = sum(result.cpu_seconds.values())
    size = f"{len(result.stream)} bytes"
    if result.trailer_bytes:
        size += f" ({len(result.stream) - result.trailer_bytes} without trailer)"
    click.echo(
        f"{path.name}: {size}, {result.bits_per_pixel:.4f} bits per pixel, "
        f"{result.psnr_db:.2f} dB, {result.preset} from {result.start}, "
        f"lambda {result.lmbda:.3g}, {seconds:.0f} s",
        err=True,
    )
    if not result.goal_met:
        complain(path, "the target was not reached; this is the nearest attempt")


def complain(path: Path, error: object) -> None:
    """Say on standard error what went wrong with one picture."""
    click.echo(f"numchic: {path.name}: {error}", err=True)


@contextmanager
def progress_bar(label: str = "training") -> Iterator[Progress | None]:
    """Give a callback that draws loss, rate, PSNR and the time left, if there is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    latest: dict[str, Any] = {}

    def numbers(_: object) -> str | None:
        if "loss" not in latest:  # nothing has been evaluated yet
            return latest.get("phase")
        return "{phase}  loss {loss:.3f}e-3  {bpp:.3f} bpp  {psnr_db:.2f} dB".format(
            **latest | {"loss": 1000 * latest["loss"]}
        )

    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=numbers) as bar:
        drawn = 0.0

        def update(event: Event) -> None:
            nonlocal drawn
            latest.update(event.row or {}, phase=event.phase)
            bar.length = event.n_iterations
            if event.row is not None or time.monotonic() - drawn > 0.1:
                drawn = time.monotonic()
                bar.update(event.iteration - bar.pos, None)

        yield update
