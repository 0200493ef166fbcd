# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import is_terminal
from numchic.command.pool import run_in_processes
from numchic.picture import Picture
from numchic_trainer.command.job import (
    Job,
    complain,
    encode_all,
    interruptible,
    run_job,
)
from numchic_trainer.command.names import (
    check_folder,
    check_output,
    check_stream,
    input_of,
    open_checkpoint,
    output_paths,
    write_output,
)
from numchic_trainer.command.remarks import remark
from numchic_trainer.command.table import check_table_name, write_table
from numchic_trainer.command.video import check_picture_settings, encode_video_file, open_frames
from numchic_trainer.config import TrainConfig, beside_others
from numchic_trainer.encoding import EncodeResult, Event, Progress
from numchic_trainer.pictures import read_picture
from numchic_trainer.weights import pixel_weights


def encode_files(
    inputs: Sequence[Path],
    output: str,
    settings: dict[str, Any],
    source: dict[str, Any],
    frames: int | slice | None,
    scheduler: str | None,
    **how: Any,
) -> None:
    """Encode pictures, or one video, to files."""
    picture = None
    if len(inputs) == 1:
        reader = open_frames(inputs[0], frames, source)
        if reader is not None and (frames is not None or len(reader) > 1):
            with reader:
                encode_video_file(inputs[0], reader, output, settings, scheduler=scheduler, **how)
            return
        picture = None if reader is None else reader[0]
    check_picture_settings(settings, frames=frames, scheduler=scheduler)
    _encode_pictures(inputs, output, settings, source, picture, **how)


def _encode_pictures(
    inputs: Sequence[Path],
    output: str,
    settings: dict[str, Any],
    source: dict[str, Any],
    found: Picture | None,
    jobs: int,
    log: Path | None,
    report: Path | None,
    resume: bool,
    restart: bool,
) -> None:
    """Encode pictures, of which a single one may have been read already."""
    config = beside_others(TrainConfig(**settings), min(jobs, len(inputs)))
    if log is not None:
        check_table_name(log)
        check_output(log, inputs)
    if report is not None:
        check_folder(report)
    outputs = dict(zip(inputs, output_paths(inputs, output), strict=True))

    def prepare(path: Path) -> Job:
        check_stream(outputs[path], inputs)
        checkpoint = open_checkpoint(outputs[path], resume, restart)
        picture = found or read_picture(input_of(path), **source)
        remark(path, picture, config)
        return Job(path, picture, config, outputs[path], checkpoint)

    def deliver(job: Job, result: EncodeResult) -> None:
        stem = job.output.stem
        _deliver(job, result, log and log.with_stem(f"{log.stem}-{stem}"), report and report / stem)

    if len(inputs) > 1:
        encode_all(inputs, prepare, lambda work: run_in_processes(run_job, work, jobs), deliver)
        return
    job = prepare(inputs[0])
    with progress_bar() as progress, interruptible(progress) as watched:
        result = run_job(job, watched)
    _deliver(job, result, log, report)


def _deliver(job: Job, result: EncodeResult, log: Path | None, report: Path | None) -> None:
    write_output(job.output, result.stream)
    if log is not None:
        write_table(log, result.log)
    if report is not None:
        from numchic_trainer.report import write_report

        chosen = job.config.weights
        weights = None if chosen is None else pixel_weights(chosen, job.picture)
        write_report(report, job.picture, result.stream, result.log, weights)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    _tell(job.path, result)


def _tell(path: Path, result: EncodeResult) -> None:
    """Say on standard error what came out."""
    seconds = sum(result.cpu_seconds.values())
    size = f"{len(result.stream)} bytes"
    if result.trailer_bytes:
        size += f" ({len(result.stream) - result.trailer_bytes} without trailer)"
    quality = f"{result.psnr_db:.2f} dB"
    if result.measure != "mse":
        quality += f", {result.measure} {1000 * result.distortion:.3f}e-3"
    click.echo(
        f"{path.name}: {size}, {result.bits_per_pixel:.4f} bits per pixel, "
        f"{quality}, {result.preset} from {result.start}, "
        f"lambda {result.lmbda:.3g}, {seconds:.0f} s",
        err=True,
    )
    if not result.goal_met:
        complain(path, "the target was not reached; this is the nearest attempt")


@contextmanager
def progress_bar(label: str = "training") -> Iterator[Progress | None]:
    """Give a callback that draws loss, rate, PSNR and the time left, if there is a terminal."""
    if not is_terminal():
        yield None
        return
    latest: dict[str, Any] = {}

    def numbers(_: object) -> str | None:
        if "loss" not in latest:  # nothing has been evaluated yet
            return latest.get("phase")
        return "{phase}  loss ({measure}) {loss:.3f}e-3  {bpp:.3f} bpp  {psnr_db:.2f} dB".format(
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
