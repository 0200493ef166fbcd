# SPDX-License-Identifier: BSD-3-Clause
"""The command ``numchic``.

Exit status: 0 good, 1 malformed stream, 2 usage, 3 not supported, 4 limit exceeded or memory
exhausted, 5 a file cannot be read or written, 130 interrupted. Data go to standard output,
everything else to standard error.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, BinaryIO

import click

from numchic._version import __version__
from numchic.api import Source, decode, decode_frames, read_info, read_source
from numchic.command.describe import describe
from numchic.command.options import LIMIT_OPTIONS, FrameRange, Rate, limit_options
from numchic.files.images import FORMATS, encode_image, format_of, y4m_frame, y4m_header
from numchic.files.output import open_sink, write
from numchic.progress import Progress
from numchic_bitstream.dump import dump
from numchic_bitstream.errors import (
    LimitError,
    NumchicError,
    StreamError,
    UnsupportedError,
    UsageError,
)
from numchic_bitstream.generations import read_any
from numchic_bitstream.limits import Limits

_ENTRY_POINTS = "numchic.commands"
_PATIENCE = 0.7  # seconds before a progress bar appears


@contextmanager
def exit_status() -> Iterator[None]:
    """Turn errors into a line on standard error and an exit status."""
    try:
        yield
    except UsageError as error:
        status, message = 2, str(error)
    except UnsupportedError as error:
        status, message = 3, str(error) + _trailer_hint(error)
    except LimitError as error:
        option = LIMIT_OPTIONS.get(error.field or "")
        hint = f"; see {option}" if option else _trailer_hint(error)
        status, message = 4, str(error) + hint
    except NumchicError as error:
        early = isinstance(error, StreamError) and (error.offset or 0) < 8
        hint = "; is this a Cool-chic stream?" if early else ""
        status, message = 1, str(error) + (hint or _trailer_hint(error))
    except ModuleNotFoundError as error:
        status, message = 2, str(error)
    except MemoryError:
        status, message = 4, "out of memory"
    except KeyboardInterrupt:
        status, message = 130, "interrupted"
    except BrokenPipeError:
        # Nobody reads on: no message, and none from the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(5)
    except OSError as error:
        status, message = 5, str(error)
    else:
        return
    click.echo(f"numchic: {message}", err=True)
    sys.exit(status)


def _trailer_hint(error: NumchicError) -> str:
    """What can be done if nothing but the trailer is in the way."""
    if error.field == "metadata_bytes" or (error.field or "").startswith("trailer"):
        return "; numchic decode --ignore-integrity does not look at the trailer"
    return ""


def _open_input(name: str) -> Source:
    if name != "-":
        return Path(name)
    if sys.stdin is None:
        raise UsageError("standard input is closed", "input")
    return sys.stdin.buffer


def run() -> None:
    """Entry point of the process."""
    # Collecting garbage is an eighth of a process that lives for less than a second, and takes
    # seconds at the end of one that has loaded torch.
    gc.disable()
    atexit.register(gc.freeze)
    main()


class _Commands(click.Group):
    """Commands of this module, and those that other packages add as entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        added = {point.name for point in entry_points(group=_ENTRY_POINTS)}
        return sorted(added.union(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for point in entry_points(group=_ENTRY_POINTS, name=cmd_name):
            command: click.Command = point.load()
            return command
        return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="numchic")
def main() -> None:
    """Encode, decode and inspect Cool-chic pictures and videos."""


@main.command("decode")
@click.argument("input_name", metavar="IN")
@click.argument("output_name", metavar="OUT")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Instead of OUT's extension.")
@click.option("--frames", type=FrameRange(), help="Only frame N, or frames A to B - 1, from 0.")
@click.option(
    "--fps", type=Rate(), default="25", show_default=True, help="Frames per second, for Y4M."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Default: one per processor, at most 4."
)
@click.option(
    "--ignore-integrity", is_flag=True, help="Decode even if the trailer says that IN is damaged."
)
@limit_options
def decode_command(
    input_name: str,
    output_name: str,
    kind: str | None,
    frames: int | slice[int | None] | None,
    fps: tuple[int, int],
    threads: int | None,
    ignore_integrity: bool,
    limits: Limits,
) -> None:
    """Decode the stream IN to the file OUT.

    OUT ends in .png (8-bit RGB), .ppm (RGB of any depth), .yuv (planes of a YUV picture or video),
    .y4m (the same with a header) or .npy. The frames of a video in any other format than .yuv and
    .y4m go into numbered files: out.png stands for out-%04d.png. "-" is standard input or output;
    for the latter the format is PPM, YUV, or Y4M for a video, unless --format says otherwise. PNG
    files get colour profile, Exif data and texts of IN.
    """
    with exit_status():
        if kind is None and output_name != "-":
            kind = format_of(output_name)
        data = read_source(_open_input(input_name), limits)
        stream = read_any(data, limits)
        n_frames = len(stream.places)
        if frames is None and n_frames == 1:
            frames = 0
        if kind is None:
            video = "yuv" if isinstance(frames, int) else "y4m"
            kind = "ppm" if stream.data_type == "rgb" else video
        output = _standard_output() if output_name == "-" else None
        options: dict[str, Any] = {
            "limits": limits,
            "threads": threads,
            "check_integrity": not ignore_integrity,
        }
        with _progress_bar() as progress:
            if isinstance(frames, int):
                picture = decode(data, frame=frames, progress=progress, **options)
                if kind == "y4m":
                    contents = y4m_header(picture, fps) + y4m_frame(picture)
                else:
                    contents = encode_image(picture, kind)
                write(output_name, contents, output)
                return
            pictures = decode_frames(data, frames=frames, progress=progress, **options)
            shown = range(n_frames)[frames or slice(None)]
            # Closed at once on an error, so that no thread decodes what nobody will see.
            with closing(pictures), open_sink(output_name, kind, fps, output) as put:
                for display_index, picture in zip(shown, pictures, strict=True):
                    put(display_index, picture)


def _standard_output() -> BinaryIO:
    if sys.stdout is None:
        raise UsageError("standard output is closed", "output")
    return sys.stdout.buffer


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
            if stage == "frames":
                length, position = total, done
            if not bars and time.monotonic() - start > _PATIENCE:
                bar = click.progressbar(
                    length=length, label="decoding", show_pos=stage == "frames", file=sys.stderr
                )
                bars.append(stack.enter_context(bar))
            for bar in bars:
                bar.update(max(0, position - bar.pos))

        yield update


@main.command("info")
@click.argument("input_name", metavar="IN")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@limit_options
def info_command(input_name: str, as_json: bool, limits: Limits) -> None:
    """Describe the stream IN without decoding it."""
    with exit_status():
        info = read_info(_open_input(input_name), limits=limits)
        if as_json:
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
        for line in dump(read_source(_open_input(input_name), limits), limits):
            click.echo(line)


@main.command("warmup")
def warmup_command() -> None:
    """Compile all kernels and keep them for later runs."""
    from numchic.warmup import warm_up

    warm_up()
