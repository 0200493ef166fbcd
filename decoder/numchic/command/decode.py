# SPDX-License-Identifier: BSD-3-Clause
"""``numchic decode`` of one stream to a file or standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from numchic.api import open as open_stream
from numchic.files.images import VIDEO_FORMATS, encode_image, format_of, y4m_frame, y4m_header
from numchic.files.output import numbered, open_sink, write
from numchic.opened import OpenedStream, Source
from numchic.schedule import Progress
from numchic_bitstream.errors import UsageError
from numchic_bitstream.limits import Limits

_SLASHES = tuple(separator for separator in (os.sep, os.altsep) if separator)


@dataclass(frozen=True)
class Options:
    """What the command line says of all streams."""

    kind: str | None
    frames: int | slice[int | None] | None
    fps: tuple[int, int] | None
    threads: int | None
    check_integrity: bool
    png_level: int
    limits: Limits

    def open(self, name: str) -> OpenedStream:
        """Open a stream; "-" is standard input."""
        return open_stream(
            open_input(name), limits=self.limits, check_integrity=self.check_integrity
        )

    def frames_of(self, stream: OpenedStream) -> int | range:
        """One frame, which becomes a picture, or frames of a video."""
        if self.frames is None and stream.n_frames == 1:
            return 0
        if isinstance(self.frames, int):
            return self.frames
        return range(stream.n_frames)[self.frames or slice(None)]

    def kind_for(self, stream: OpenedStream, rgb: str) -> str:
        """Format of the output if its name does not tell it; ``rgb`` is that of RGB pictures."""
        if self.kind is not None:
            return self.kind
        if stream.data_type == "rgb":
            return rgb
        return "yuv" if isinstance(self.frames_of(stream), int) else "y4m"


class Job(NamedTuple):
    """A stream, and the file or pattern of files that it is decoded to."""

    source: str
    output: str
    kind: str


def open_input(name: str) -> Source:
    """Give what a name on the command line stands for; "-" is standard input."""
    if name != "-":
        return Path(name)
    if sys.stdin is None:
        raise UsageError("standard input is closed", "input")
    return sys.stdin.buffer


def is_folder(name: str) -> bool:
    """Whether an output is a folder: it exists, or its name ends in a slash."""
    return name != "-" and (name.endswith(_SLASHES) or Path(name).is_dir())


def decode_one(source: str, output: str, options: Options, progress: Progress | None) -> None:
    """Decode a stream to a file, or to standard output."""
    if options.kind is None and output != "-":
        options = replace(options, kind=format_of(output))
    with options.open(source) as stream:
        job = Job(source, output, options.kind_for(stream, "ppm"))
        if output != "-":
            check_outputs(outputs_of(stream, job, options), {identity_of(Path(source))})
        decode_job(stream, job, options, progress)


def decode_job(stream: OpenedStream, job: Job, options: Options, progress: Progress | None) -> None:
    """Decode what is wanted of an opened stream."""
    frames, kind = options.frames_of(stream), job.kind
    output = _standard_output() if job.output == "-" else None
    if isinstance(frames, int):
        picture = stream.decode(frames, threads=options.threads, progress=progress)
        if kind == "y4m":
            contents = y4m_header(picture, options.fps) + y4m_frame(picture)
        else:
            contents = encode_image(picture, kind, png_level=options.png_level)
        write(job.output, contents, output)
        return
    wanted = slice(frames.start, frames.stop)
    pictures = stream.frames(wanted, threads=options.threads, progress=progress)
    # Closed at once on an error, so that no thread decodes what nobody will see.
    sink = open_sink(job.output, kind, options.fps, output, options.png_level)
    with closing(pictures), sink as put:
        for display_index, picture in zip(frames, pictures, strict=True):
            put(display_index, picture)


def _standard_output() -> BinaryIO:
    if sys.stdout is None:
        raise UsageError("standard output is closed", "output")
    return sys.stdout.buffer


def outputs_of(stream: OpenedStream, job: Job, options: Options) -> list[Path]:
    """All files that a stream is decoded to."""
    frames = options.frames_of(stream)
    if isinstance(frames, int) or job.kind in VIDEO_FORMATS:
        return [Path(job.output)]
    return [numbered(job.output, display_index) for display_index in frames]


def check_outputs(paths: Sequence[Path], inputs: set[tuple[int, int] | None]) -> None:
    """Raise a UsageError if an output is one of the inputs."""
    for path in paths:
        identity = identity_of(path)
        if identity is not None and identity in inputs:
            raise UsageError("the output would replace an input", "output", None, path)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Tell a regular file from others, by whatever name; None if there is none."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_dev, found.st_ino
