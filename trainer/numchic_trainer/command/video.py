# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode`` of a video."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import is_terminal
from numchic_bitstream import UsageError
from numchic_trainer.command.job import complain
from numchic_trainer.command.names import (
    STANDARD,
    check_folder,
    check_output,
    check_stream,
    discard,
    input_of,
    open_checkpoint,
    output_paths,
    write_output,
)
from numchic_trainer.command.remarks import remark
from numchic_trainer.command.table import Row, check_table_name, write_table
from numchic_trainer.config import TrainConfig
from numchic_trainer.video.config import VideoConfig
from numchic_trainer.video.encoding import VideoEvent, VideoResult, encode_video
from numchic_trainer.video.frame import FrameReport
from numchic_trainer.video.frames import FrameReader, is_video, open_video
from numchic_trainer.video.result import VideoProgress

_REDRAWN = 0.1  # seconds between two looks of the bar

_VIDEO_SETTINGS = {field.name for field in dataclasses.fields(VideoConfig)} - {
    field.name for field in dataclasses.fields(TrainConfig)
}


def open_frames(
    path: Path, frames: int | slice | None, source: dict[str, Any]
) -> FrameReader | None:
    """Open what a name stands for, if that is a video or may be one; None for a picture.

    What is no file, such as standard input, is read: then a picture is a video of one frame.
    """
    if path != STANDARD and path.is_file() and frames is None and not is_video(path, **source):
        return None
    wanted = slice(frames, frames + 1) if isinstance(frames, int) else frames
    return open_video(input_of(path), frames=wanted, **source)


def check_picture_settings(settings: dict[str, Any], **others: object) -> None:
    """Refuse for pictures what only videos have; it is None if it is not given."""
    given = [name for name, value in others.items() if value is not None]
    names = sorted(_VIDEO_SETTINGS & settings.keys()) + given
    if names:
        raise UsageError("this is for a video", names[0], None, "a picture")


def encode_video_file(
    path: Path,
    reader: FrameReader,
    output: str,
    settings: dict[str, Any],
    scheduler: str | None,
    jobs: int,
    log: Path | None,
    report: Path | None,
    resume: bool,
    restart: bool,
) -> None:
    """Encode a video to a file."""
    config = VideoConfig(**settings)
    inputs = [path]
    if log is not None:
        check_table_name(log)
        check_output(log, inputs)
    if report is not None:
        check_folder(report)
    (out,) = output_paths(inputs, output)
    check_stream(out, inputs)
    remark(path, reader[0], config)
    checkpoint = open_checkpoint(out, resume, restart)
    with progress_bar(reader.n_frames) as progress:
        result = encode_video(
            reader,
            config,
            progress=progress,
            checkpoint=checkpoint,
            jobs=jobs,
            scheduler=scheduler,
        )
    write_output(out, result.stream)
    if log is not None:
        write_table(log, [row_of(frame) for frame in result.frames])
    if report is not None:
        from numchic_trainer.video.report import write_video_report

        write_video_report(report, reader, result)
    if checkpoint is not None and checkpoint.exists():
        discard(checkpoint)
    _tell(path, result)


def row_of(report: FrameReport) -> Row:
    """Row of the log: what is known of a frame."""
    row: dict[str, Any] = {}
    for name, value in dataclasses.asdict(report).items():
        if name.endswith("psnr"):
            planes = value or ("", "", "")
            row |= {f"{name}_{plane}": found for plane, found in zip("123", planes, strict=True)}
        else:
            row[name] = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return {name: "" if value is None else value for name, value in row.items()}


def _tell(path: Path, result: VideoResult) -> None:
    """Say on standard error what came out."""
    size = f"{len(result.stream)} bytes"
    if result.trailer_bytes:
        size += f" ({len(result.stream) - result.trailer_bytes} without trailer)"
    n_frames = len(result.frames)
    frames = "1 frame" if n_frames == 1 else f"{n_frames} frames"
    planes = " ".join(f"{found:.2f}" for found in result.plane_psnr_db)
    click.echo(
        f"{path.name}: {frames}, {size}, {result.bits_per_pixel:.4f} bits per "
        f"pixel, {result.psnr_db:.2f} dB (planes {planes}), lambda {result.lmbda:.3g}, "
        f"{result.cpu_seconds:.0f} s",
        err=True,
    )
    if not result.goal_met:
        complain(path, "the target was not reached; this is the nearest attempt")


@contextmanager
def progress_bar(n_frames: int) -> Iterator[VideoProgress | None]:
    """Give a callback that draws which frame is encoded, if there is a terminal."""
    if not is_terminal():
        yield None
        return
    latest: list[VideoEvent] = []

    def words(_: object) -> str | None:
        if not latest:
            return None
        event = latest[-1]
        attempt = f"attempt {event.attempt}, " if event.attempt > 1 else ""
        return f"{attempt}frame {event.frame}: {event.phase}"

    with click.progressbar(
        length=n_frames, label="frames", show_pos=True, file=sys.stderr, item_show_func=words
    ) as bar:
        drawn = 0.0

        def update(event: VideoEvent) -> None:
            nonlocal drawn
            latest[:] = [event]
            if event.report is not None or time.monotonic() - drawn > _REDRAWN:
                drawn = time.monotonic()
                bar.update(event.n_done - bar.pos, None)

        yield update
