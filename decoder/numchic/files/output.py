# SPDX-License-Identifier: BSD-3-Clause
"""Where decoded frames go: one file, numbered files, or standard output."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from numchic.files.images import (
    VIDEO_FORMATS,
    encode_image,
    open_file,
    write_file,
    y4m_frame,
    y4m_header,
)
from numchic.picture import Picture
from numchic_bitstream.errors import UsageError

_NUMBER = re.compile(r"%(?:0[1-9])?d")


FrameSink = Callable[[int, Picture], None]
"""Takes the display index of a frame and the frame."""


def has_number(name: str) -> bool:
    """Whether the name of a file has a place for numbers, such as ``%04d``."""
    return _NUMBER.search(Path(name).name) is not None


def numbered(name: str, display_index: int) -> Path:
    """Name of the file of one frame.

    Examples
    --------
    >>> numbered("out.png", 7).name, numbered("frame_%03d.png", 7).name
    ('out-0007.png', 'frame_007.png')
    """
    path = Path(name)
    if not has_number(name):
        return path.with_name(f"{path.stem}-{display_index:04d}{path.suffix}")
    return path.with_name(_NUMBER.sub(lambda found: found[0] % display_index, path.name))


def numbers_of(name: str) -> list[int]:
    """Numbers of the files that are there under such a name, ascending.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    path = Path(name)
    any_number = r"(\d{1,9})".join(map(re.escape, _NUMBER.split(path.name)))
    names = (entry.name for entry in path.parent.iterdir())
    matches = (re.fullmatch(any_number, found, re.ASCII) for found in names)
    numbers = {int(match[1]) for match in matches if match is not None}
    return sorted(number for number in numbers if numbered(name, number).is_file())


def write(name: str, contents: bytes, output: BinaryIO | None) -> None:
    """Write a whole file, or to ``output`` instead."""
    if output is None:
        write_file(Path(name), contents)
    else:
        output.write(contents)
        output.flush()


@contextmanager
def open_sink(
    name: str, kind: str, rate: tuple[int, int] | None, output: BinaryIO | None, png_level: int
) -> Iterator[FrameSink]:
    """Open the output of a video.

    Parameters
    ----------
    name : str
        Name of a file. If its format holds one picture, a number such as ``%04d`` in the name, or
        else before the extension, becomes the display index.
    kind : str
        One of :data:`numchic.files.images.FORMATS`.
    rate : (int, int) or None
        Frames per second, for Y4M; see :func:`numchic.files.images.y4m_header`.
    output : binary file or None
        File to write to instead of the named ones.
    png_level : int
        See :func:`numchic.files.images.encode_image`.

    Yields
    ------
    FrameSink
        A file with several frames appears when the block ends without an exception, numbered files
        one by one.
    """
    if output is not None:
        yield _Appending(output, kind, rate, png_level)
    elif kind in VIDEO_FORMATS:
        if has_number(name):
            raise UsageError(f"a .{kind} file holds all frames", "output", None, name, "no number")
        with open_file(Path(name)) as file:
            yield _Appending(file, kind, rate, png_level)
    else:
        yield lambda display_index, picture: write_file(
            numbered(name, display_index), encode_image(picture, kind, png_level=png_level)
        )


class _Appending:
    """Writes frames into one file."""

    def __init__(
        self, file: BinaryIO, kind: str, rate: tuple[int, int] | None, png_level: int
    ) -> None:
        self._file = file
        self._kind = kind
        self._rate = rate
        self._png_level = png_level
        self._n_frames = 0

    def __call__(self, _: int, picture: Picture) -> None:
        if self._kind != "y4m":
            self._file.write(encode_image(picture, self._kind, png_level=self._png_level))
        else:
            if self._n_frames == 0:
                self._file.write(y4m_header(picture, self._rate))
            self._file.write(y4m_frame(picture))
        self._file.flush()
        self._n_frames += 1
