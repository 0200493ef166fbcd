# SPDX-License-Identifier: BSD-3-Clause
"""The command ``numchic``.

Exit status: 0 good, 1 malformed stream, 2 usage, 3 not supported, 4 limit exceeded or memory
exhausted, 5 a file cannot be read or written, 130 interrupted. Data go to standard output,
everything else to standard error.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import click

from numchic._version import __version__
from numchic.api import read_info
from numchic.command.decode import Options, decode_one, is_folder, open_input
from numchic.command.describe import describe
from numchic.command.options import LIMIT_OPTIONS, FrameRange, Rate, limit_options
from numchic.files.images import FORMATS
from numchic.files.png import PNG_LEVEL
from numchic.opened import read_source
from numchic.schedule import Progress
from numchic_bitstream import kernels
from numchic_bitstream.dump import dump
from numchic_bitstream.errors import (
    LimitError,
    NumchicError,
    StreamError,
    UnsupportedError,
    UsageError,
)
from numchic_bitstream.limits import Limits

_ENTRY_POINTS = "numchic.commands"
_PATIENCE = 0.7  # seconds before a progress bar appears
_STATUSES = {  # the first that fits
    (UsageError, ModuleNotFoundError): 2,
    (UnsupportedError,): 3,
    (LimitError, MemoryError): 4,
    (NumchicError,): 1,
    (KeyboardInterrupt,): 130,
    (OSError,): 5,
}


@contextmanager
def exit_status() -> Iterator[None]:
    """Turn errors into a line on standard error and an exit status."""
    try:
        yield
    except BrokenPipeError:
        # Nobody reads on: no message, and none from the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(5)
    except tuple(kind for kinds in _STATUSES for kind in kinds) as error:
        status, message = _status_and_message(error)
        click.echo(f"numchic: {message}", err=True)
        sys.exit(status)


def _status_and_message(error: BaseException) -> tuple[int, str]:
    """Exit status of an error, and what to say of it."""
    status = next(status for kinds, status in _STATUSES.items() if isinstance(error, kinds))
    if isinstance(error, KeyboardInterrupt):
        return status, "interrupted"
    if isinstance(error, MemoryError):
        return status, f"out of memory{': ' if str(error) else ''}{error}"
    return status, f"{error}{_hint(error)}"


def _hint(error: BaseException) -> str:
    """What can be done about it."""
    if not isinstance(error, NumchicError) or isinstance(error, UsageError):
        return ""
    field, hint = error.field or "", ""
    if isinstance(error, LimitError) and field in LIMIT_OPTIONS:
        hint = f"; see {LIMIT_OPTIONS[field]}"
    if isinstance(error, StreamError) and (error.offset or 0) < 8:
        return "; is this a Cool-chic stream?"
    if field == "metadata_bytes" or field.startswith("trailer"):
        hint += "; numchic decode --ignore-integrity does not look at the trailer"
    return hint


def run() -> None:
    """Entry point of the process."""
    # Collecting garbage is an eighth of a process that lives for less than a second, and takes
    # seconds at the end of one that has loaded torch.
    gc.disable()
    atexit.register(gc.freeze)
    main()


class _Commands(click.Group):
    """Commands of this module, and those that other packages add as entry points."""

    # What finds entry points is slow to import, and commands of this module do not need it.

    def list_commands(self, ctx: click.Context) -> list[str]:
        from importlib.metadata import entry_points

        added = {point.name for point in entry_points(group=_ENTRY_POINTS)}
        return sorted(added.union(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from importlib.metadata import entry_points

        for point in entry_points(group=_ENTRY_POINTS, name=cmd_name):
            command: click.Command = point.load()
            return command
        return None


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        with exit_status():
            click.echo(f"numchic {__version__}\nkernels: {kernels.describe()}")
            if reason := kernels.why_not_native():
                click.echo(f"no native kernels: {reason}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version, and how kernels are run.",
)  # fmt: skip
def main() -> None:
    """Encode, decode and inspect Cool-chic pictures and videos."""


@main.command("decode")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("output", metavar="OUT")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="The format of the output. By default the name of OUT tells it.",
)
@click.option(
    "--frames",
    type=FrameRange(),
    help="Decode frame N as a picture, or only frames A to B - 1 of a video, counted from 0.",
)
@click.option(
    "--fps",
    type=Rate(),
    help="The frames per second that a Y4M file tells its player. The default is what the trailer "
    "of the stream says, or else 25.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="The number of threads for one stream. The default is one per processor, but at most 4, "
    "and 1 if there are several jobs.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The number of streams that are decoded to a folder at the same time.",
)
@click.option(
    "--ignore-integrity",
    is_flag=True,
    help="Decode a stream even if its trailer says that it is damaged.",
)
@click.option(
    "--png-level",
    type=click.IntRange(0, 9),
    default=PNG_LEVEL,
    show_default=True,
    help="How hard PNG files are compressed: 0 is not at all, 9 takes far longer than decoding.",
)
@limit_options
def decode_command(
    inputs: tuple[str, ...],
    output: str,
    kind: str | None,
    frames: int | slice[int | None] | None,
    fps: tuple[int, int] | None,
    threads: int | None,
    jobs: int,
    ignore_integrity: bool,
    png_level: int,
    limits: Limits,
) -> None:
    """Decode the stream IN to the file OUT, or several streams to the folder OUT.

    The name of the file OUT ends in .png (RGB pictures, with 16 bits if they have more than 8),
    .ppm (RGB pictures of any depth), .tif (RGB pictures of 8 or 16 bits), .yuv (the planes of a YUV
    picture or video), .y4m (the same with a header) or .npy (an array). A .yuv or .y4m file holds a
    whole video. In the other formats every frame is a file with a number: out.png stands for
    out-0000.png, out-0001.png and so on, and out-%02d.png for out-00.png. A PNG file gets the
    colour profile, Exif data and texts of the stream.

    The name "-" stands for standard input or standard output. What is written there is PPM if it is
    RGB, otherwise Y4M for a video and YUV for a picture, unless --format says something else.

    OUT is a folder if it exists as one or if its name ends in a slash. It gets a file for every
    stream, with the name of the stream: PNG for RGB, YUV for a YUV picture, Y4M for a YUV video. If
    a stream cannot be decoded, the others are, and the exit status is the highest of all.
    """
    with exit_status():
        options = Options(kind, frames, fps, threads, not ignore_integrity, png_level, limits)
        if len(inputs) > 1 or is_folder(output):
            _decode_to_folder(inputs, output, options, jobs)
        else:
            with _progress_bar() as progress:
                decode_one(inputs[0], output, options, progress)


def _decode_to_folder(inputs: tuple[str, ...], output: str, options: Options, jobs: int) -> None:
    from numchic.command.folder import decode_many

    failed: list[tuple[str, Exception]] = []
    try:
        with (
            _progress_bar() as progress,
            closing(decode_many(inputs, output, options, jobs)) as results,
        ):
            for n_done, (name, error) in enumerate(results, 1):
                if error is not None:
                    failed.append((name, error))
                if progress is not None:
                    progress("streams", n_done, len(inputs))
    finally:  # not in the middle of the bar
        statuses = [0]
        for name, error in failed:
            status, message = _status_and_message(error)
            statuses.append(status)
            click.echo(f"numchic: {name}: {message}", err=True)
    sys.exit(max(statuses))


def is_terminal() -> bool:
    """Whether there is somebody to draw progress for."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    """Give a callback that draws a bar on a terminal once the work takes long."""
    if not is_terminal():
        yield None
        return
    start = time.monotonic()
    shares: dict[str, float] = {}
    with ExitStack() as stack:
        bars: list[Any] = []

        def update(stage: str, done: int, total: int) -> None:
            shares[stage] = done / total
            # Of a single picture there are two stages, which overlap.
            length, position = 1000, int(500 * sum(shares.values()))
            counted = stage in ("frames", "streams")
            if counted:
                length, position = total, done
            if not bars and time.monotonic() - start > _PATIENCE:
                bar = click.progressbar(
                    length=length, label="decoding", show_pos=counted, file=sys.stderr
                )
                bars.append(stack.enter_context(bar))
            for bar in bars:
                bar.update(max(0, position - bar.pos))

        yield update


@main.command("info")
@click.argument("input_name", metavar="IN")
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
@limit_options
def info_command(input_name: str, as_json: bool, limits: Limits) -> None:
    """Describe the stream IN without decoding it."""
    with exit_status():
        info = read_info(open_input(input_name), limits=limits)
        if as_json:
            import json

            click.echo(json.dumps(info.to_dict(), indent=2))
        else:
            click.echo("\n".join(describe(info)))


@main.command("dump")
@click.argument("input_name", metavar="IN")
@limit_options
def dump_command(input_name: str, limits: Limits) -> None:
    """List every field of headers and trailer of IN: byte:bit, number of bits, name, value.

    A malformed stream is listed up to its first bad header or field of the trailer.
    """
    with exit_status():
        for line in dump(read_source(open_input(input_name), limits), limits):
            click.echo(line)


@main.command("warmup")
def warmup_command() -> None:
    """Compile all kernels and keep them for later runs.

    A package that was installed with compiled kernels has nothing to do.
    """
    with exit_status():
        if kernels.is_native():
            click.echo(f"kernels: {kernels.describe()}: there is nothing to compile")
            return
        from numchic.warmup import warm_up

        warm_up()
