# SPDX-License-Identifier: BSD-3-Clause
"""Planar YUV pictures and frames of videos to encode: bare (coolchic-5, 12.5), and as Y4M.

With an odd height or width a 4:2:0 picture of a stream has floor(H / 2) x floor(W / 2) samples of U
and of V. Programs for video round up: of their files the last row or column of U and V is left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numchic.files.y4m import colour_format, metadata_of_parameters
from numchic.picture import Picture
from numchic_bitstream import Metadata, UsageError
from numchic_bitstream.structure import FrameDataType

_NAME_SIZE = re.compile(r"(?<!\d)(\d+)x(\d+)(?!\d)")
_NAME_TYPE = re.compile(r"(?<!\d)(420|444)(?!\d)")
_NAME_DEPTH = re.compile(r"(?<!\d)(\d+)b(?:it)?(?![a-z])|p(10|12|14|16)(?:le)?(?!\d)")
_MAX_Y4M_LINE = 4096  # bytes

Y4M_MAGIC = b"YUV4MPEG2 "
MAX_SIDE = 16383  # what the header can express

YuvType = Literal["yuv420", "yuv444"]


class Layout(NamedTuple):
    """What bare samples do not say themselves; RGB has three planes as well."""

    height: int
    width: int
    data_type: FrameDataType
    bitdepth: int

    def shapes(self, *, rounded_up: bool) -> list[tuple[int, int]]:
        """Shapes of the planes."""
        chroma = (self.height, self.width)
        if self.data_type == "yuv420":
            chroma = ((self.height + rounded_up) // 2, (self.width + rounded_up) // 2)
        return [(self.height, self.width), chroma, chroma]

    @property
    def sample(self) -> np.dtype[np.uint8 | np.uint16]:
        """Type of a sample."""
        return np.dtype("<u1" if self.bitdepth == 8 else "<u2")

    def n_bytes(self, *, rounded_up: bool) -> int:
        """Size of one frame."""
        shapes = self.shapes(rounded_up=rounded_up)
        return sum(height * width for height, width in shapes) * self.sample.itemsize

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, {self.data_type}, {self.bitdepth} bits"


def check_size(name: str, height: int, width: int) -> None:
    """Raise an error if a stream cannot have this size."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UsageError(
            "the format has no such size", name, None, f"{width}x{height}",
            f"1 .. {MAX_SIDE} either way",
        )  # fmt: skip


def check_samples(name: str, samples: NDArray[np.generic], bitdepth: int) -> None:
    """Raise an error if a sample has more bits."""
    largest = int(samples.max()) if samples.size else 0
    if largest >> bitdepth:
        allowed = f"0 .. {(1 << bitdepth) - 1}"
        raise UsageError("a sample is too large", name, None, largest, allowed)


def check_bitdepth(bitdepth: int) -> None:
    """Raise an error if a stream cannot have this depth."""
    if not 8 <= bitdepth <= 16:
        raise UsageError("no such depth", "bitdepth", None, bitdepth, "8 .. 16")


def yuv_layout(
    name: str,
    size: tuple[int, int] | None,
    data_type: YuvType | None,
    bitdepth: int | None,
) -> Layout:
    """Arguments, completed from the file name."""
    stem = Path(name).stem.lower()
    if size is None:
        match = _NAME_SIZE.search(stem)
        if match is None:
            raise UsageError("the size is not known", name, None, None, "such as 352x288")
        size = (int(match[2]), int(match[1]))
        stem = stem.replace(match[0], " ")  # its digits mean nothing else
    if data_type is None:
        match = _NAME_TYPE.search(stem)
        data_type = "yuv444" if match is not None and match[1] == "444" else "yuv420"
    if bitdepth is None:
        match = _NAME_DEPTH.search(stem)
        bitdepth = 8 if match is None else int(match[1] or match[2])
    check_bitdepth(bitdepth)
    check_size(name, *size)
    return Layout(size[0], size[1], data_type, bitdepth)


def read_yuv(file: BinaryIO, name: str, layout: Layout) -> Picture:
    """Read the only frame of a bare file, whose size tells how U and V have been rounded."""
    sizes = {layout.n_bytes(rounded_up=rounded_up): rounded_up for rounded_up in (True, False)}
    found = file.seek(0, os.SEEK_END)
    if found not in sizes:
        video = found and any(size and found % size == 0 for size in sizes)
        expected = " or ".join(map(str, sizes))
        raise UsageError(
            "this is a video, not a picture" if video else "wrong size of the file", name, None,
            f"{found} bytes", f"{expected} bytes for one frame of {layout}",
        )  # fmt: skip
    file.seek(0)
    return read_frame(file, name, layout, rounded_up=sizes[found])


def read_y4m(file: BinaryIO, name: str) -> Picture:
    """Read the only frame of a Y4M file."""
    layout, metadata = read_y4m_header(file, name)
    if not next_y4m_frame(file, name):
        raise UsageError("there are no frames", name)
    picture = read_frame(file, name, layout, rounded_up=True, metadata=metadata)
    if file.read(1):
        found = "a second frame"
        raise UsageError("this is a video, not a picture", name, None, found, "one frame")
    return picture


def read_y4m_header(
    file: BinaryIO, name: str, magic: bytes = b""
) -> tuple[Layout, Metadata | None]:
    """Read the header of a Y4M file.

    Parameters
    ----------
    file : binary file
    name : str
        What errors call it.
    magic : bytes
        What has been read of the file before.

    Returns
    -------
    Layout, Metadata or None
        How samples lie in every frame, with U and V rounded up, and what is kept of the rest.
    """
    parameters = _parameters(magic + file.readline(_MAX_Y4M_LINE), name, b"YUV4MPEG2")
    return _y4m_layout(parameters, name)


def next_y4m_frame(file: BinaryIO, name: str) -> bool:
    """Go to the samples of the next frame of a Y4M file; false at its end."""
    line = file.readline(_MAX_Y4M_LINE)
    if line:
        _parameters(line, name, b"FRAME")
    return bool(line)


def read_frame(
    file: BinaryIO,
    name: str,
    layout: Layout,
    *,
    rounded_up: bool,
    metadata: Metadata | None = None,
) -> Picture:
    """Read the samples of a frame from where the file is.

    Parameters
    ----------
    file : binary file
    name : str
        What errors call it.
    layout : Layout
    rounded_up : bool
        Whether halves of odd sizes are; what is too much is left out.
    metadata : Metadata, optional
        Those of the picture.

    Raises
    ------
    UsageError
        The file ends within the frame, or a sample is too large.
    """
    expected = layout.n_bytes(rounded_up=rounded_up)
    contents = file.read(expected)
    if len(contents) < expected:
        found = f"{len(contents)} bytes"
        raise UsageError(
            "the file ends within a frame", name, None, found, f"{expected} bytes for {layout}"
        )
    samples = np.frombuffer(contents, layout.sample)
    check_samples(name, samples, layout.bitdepth)
    planes = []
    start = 0
    kept = layout.shapes(rounded_up=False)
    for (height, width), (rows, columns) in zip(
        layout.shapes(rounded_up=rounded_up), kept, strict=True
    ):
        part = samples[start : start + height * width].reshape(height, width)
        planes.append(part[:rows, :columns].astype(layout.sample.newbyteorder("=")))
        start += part.size
    return Picture((planes[0], planes[1], planes[2]), layout.data_type, layout.bitdepth, metadata)


def _parameters(line: bytes, name: str, start: bytes) -> list[str]:
    """Parameters of a line that starts with the given word."""
    word, *parameters = line.removesuffix(b"\n").split(b" ")
    if word != start:
        raise UsageError("malformed Y4M file", name, None, ascii(line[:20]), start.decode())
    if not line.endswith(b"\n"):
        raise UsageError(
            "malformed Y4M file: a line does not end", name, None, f"{len(line)} bytes",
            f"up to {_MAX_Y4M_LINE}",
        )  # fmt: skip
    return [parameter.decode("latin-1") for parameter in parameters]


def _y4m_layout(parameters: list[str], name: str) -> tuple[Layout, Metadata | None]:
    values = {parameter[:1]: parameter[1:] for parameter in reversed(parameters)}
    if values.get("I") == "m":
        allowed = "progressive, or the same two fields in every frame"
        raise UsageError("frames are interlaced in different ways", name, None, "Im", allowed)
    old = [p.removeprefix("XYSCSS=").lower() for p in parameters if p.startswith("XYSCSS=")]
    colour = values.get("C", (old or ["420jpeg"])[0])
    form = colour_format(colour)
    if form is None:
        grey = colour.startswith("mono")
        allowed = "420, 420jpeg, 420mpeg2, 420paldv, 444; 420pN and 444pN with N up to 16"
        raise UsageError(
            "grey samples alone are no kind of samples of the format: convert them to 4:2:0"
            if grey else "unknown kind of samples", name, None, ascii(colour), allowed,
        )  # fmt: skip
    sides = [values.get(side, "") for side in "HW"]
    if not all(re.fullmatch(r"[0-9]{1,9}", side) for side in sides):
        found = ascii(" ".join(parameters))
        raise UsageError("the Y4M file does not tell its size", name, None, found, "W and H")
    height, width = map(int, sides)
    check_size(name, height, width)
    return Layout(height, width, *form), metadata_of_parameters(parameters)
