# SPDX-License-Identifier: BSD-3-Clause
"""The command ``numchic``.

Exit status: 0 good, 1 malformed stream, 2 usage, 3 not supported, 4 limit exceeded or memory
exhausted, 5 a file cannot be read or written, 130 interrupted. Data go to standard output,
everything else to standard error.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from numchic._version import __version__
from numchic.api import Source, decode, read_info, read_source
from numchic.images import FORMATS, encode_image, format_of, write_file
from numchic.info import PartInfo, StreamInfo, TrailerInfo
from numchic.progress import Progress
from numchic_bitstream.dump import dump
from numchic_bitstream.errors import (
    LimitError,
    NumchicError,
    StreamError,
    UnsupportedError,
    UsageError,
)
from numchic_bitstream.limits import Limits

_LIMIT_OPTIONS = {
    "memory_bytes": "--max-memory",
    "macs": "--max-macs",
    "pixels": "--max-pixels",
}
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
        option = _LIMIT_OPTIONS.get(error.field or "")
        hint = f"; see {option}" if option else _trailer_hint(error)
        status, message = 4, str(error) + hint
    except NumchicError as error:
        early = isinstance(error, StreamError) and (error.offset or 0) < 8
        hint = "; is this a Cool-chic 5.0 stream?" if early else ""
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


def _limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that set :class:`Limits`, collected into one argument ``limits``."""

    @functools.wraps(command)
    def with_limits(max_pixels: int, max_macs: int, max_memory: int, **arguments: object) -> None:
        command(
            limits=Limits(pixels=max_pixels, macs=max_macs, memory_bytes=max_memory), **arguments
        )

    decorated: Callable[..., None] = with_limits
    for field, option in _LIMIT_OPTIONS.items():
        decorated = click.option(
            option,
            type=click.IntRange(min=1),
            default=getattr(Limits(), field),
            show_default=True,
            help=f"Refuse streams that need more {field.replace('_', ' ')}.",
        )(decorated)
    return decorated


def _open_input(name: str) -> Source:
    if name != "-":
        return Path(name)
    if sys.stdin is None:
        raise UsageError("standard input is closed", "input")
    return sys.stdin.buffer


def run() -> None:
    """Entry point of the process."""
    # Collecting garbage is an eighth of a process that lives for less than a second.
    gc.disable()
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
    """Encode, decode and inspect Cool-chic 5.0 pictures."""


@main.command("decode")
@click.argument("input_name", metavar="IN")
@click.argument("output_name", metavar="OUT")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Instead of OUT's extension.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Default: one per processor, at most 4."
)
@click.option(
    "--ignore-integrity", is_flag=True, help="Decode even if the trailer says that IN is damaged."
)
@_limit_options
def decode_command(
    input_name: str,
    output_name: str,
    kind: str | None,
    threads: int | None,
    ignore_integrity: bool,
    limits: Limits,
) -> None:
    """Decode the stream IN to the image file OUT.

    OUT ends in .png (8-bit RGB), .ppm (RGB of any depth), .yuv (planes of a YUV picture) or .npy.
    "-" is standard input or output; for the latter the format is PPM or YUV unless --format says
    otherwise. PNG files get colour profile, Exif data and texts of IN.
    """
    with exit_status():
        if kind is None and output_name != "-":
            kind = format_of(output_name)
        data = read_source(_open_input(input_name), limits)
        with _progress_bar() as progress:
            picture = decode(
                data,
                limits=limits,
                threads=threads,
                progress=progress,
                check_integrity=not ignore_integrity,
            )
        if kind is None:
            kind = "ppm" if picture.data_type == "rgb" else "yuv"
        contents = encode_image(picture, kind)
        if output_name != "-":
            write_file(Path(output_name), contents)
        elif sys.stdout is None:
            raise UsageError("standard output is closed", "output")
        else:
            sys.stdout.buffer.write(contents)
            sys.stdout.buffer.flush()


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
            if not bars and time.monotonic() - start > _PATIENCE:
                bar = click.progressbar(length=1000, label="decoding", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            position = int(500 * sum(shares.values()))  # of two stages that overlap
            for bar in bars:
                bar.update(max(0, position - bar.pos))

        yield update


@main.command("info")
@click.argument("input_name", metavar="IN")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@_limit_options
def info_command(input_name: str, as_json: bool, limits: Limits) -> None:
    """Describe the stream IN without decoding it."""
    with exit_status():
        info = read_info(_open_input(input_name), limits=limits)
        if as_json:
            click.echo(json.dumps(info.to_dict(), indent=2))
        else:
            click.echo("\n".join(_describe(info)))


def _describe(info: StreamInfo) -> Iterator[str]:
    frames = "still picture" if info.n_frames == 1 else f"video of {info.n_frames} frames"
    yield f"Cool-chic 5.0 {frames}, {info.width}x{info.height}, {info.data_type}, " + (
        f"{info.bitdepth} bits per sample"
    )
    yield f"  size       {info.n_bytes} bytes, {info.bits_per_pixel:.4f} bits per pixel"
    if info.trailer is not None:
        yield from _describe_trailer(info.trailer)
    elif info.trailing_bytes:
        yield f"  trailing   {info.trailing_bytes} bytes"
    yield f"  cost       {info.macs_per_pixel:.1f} multiply-accumulates per pixel"
    yield f"  memory     about {info.memory_bytes / 1e6:.1f} MB"
    for frame in info.frames:
        for part in frame.parts:
            yield f"frame {frame.display_index} ({frame.frame_type}), {part.role}"
            yield from _describe_part(part, info.width * info.height)


def _describe_trailer(trailer: TrailerInfo) -> Iterator[str]:
    yield f"  trailer    {trailer.n_bytes} bytes, {trailer.problem or 'fits the stream'}"
    if trailer.version is not None:
        yield f"  digests    stream {trailer.stream_crc}, latents {trailer.latents_crc}, " + (
            f"samples {trailer.samples or 'not recorded'}"
        )
    if trailer.blocks:
        yield "  metadata   " + ", ".join(f"{name} {size} bytes" for name, size in trailer.blocks)


def _describe_part(part: PartInfo, n_pixels: int) -> Iterator[str]:
    header = part.header
    yield f"  bytes      header {part.header_bytes}, networks {part.nn_bytes}, " + (
        f"latents {part.latent_bytes}"
    )
    yield (
        f"  latents    {header.latent_resolution[0]}..{header.latent_resolution[1]}"
        + (
            f", hyperlatents {header.hyperlatent_resolution[0]}..{header.hyperlatent_resolution[1]}"
            if header.hyperlatent_resolution
            else ""
        )
        + f", {len(part.grids)} grids"
        + (", common randomness" if header.flag_common_randomness else "")
    )
    yield f"  ARM        {header.spatial_context_arm} contexts, " + (
        f"{header.n_hidden_layers_arm} hidden layers, stabiliser "
        f"{'yes' if header.linear_stabiliser_arm else 'no'}"
    )
    if header.ifce_resolution:
        yield f"  IFCE       {header.output_feature_ifce} features, grids " + (
            f"{header.ifce_resolution[0]}..{header.ifce_resolution[1]}"
        )
    yield f"  upsampling {header.ups_k_size} taps, pre-concatenation " + (
        f"{header.ups_preconcat_k_size}, final {header.final_upsampling_type}"
    )
    yield f"  synthesis  {' '.join(map(str, header.syn_layer))}, stabiliser " + (
        f"{'yes' if header.linear_stabiliser_synth else 'no'}"
    )
    for module, macs in part.macs.items():
        yield f"  {module:10s} {part.n_parameters[module]:6d} parameters in " + (
            f"{part.nn_bits[module]:6d} bits, {macs / n_pixels:8.1f} MAC per pixel"
        )


@main.command("dump")
@click.argument("input_name", metavar="IN")
@_limit_options
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
