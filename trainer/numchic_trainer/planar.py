# SPDX-License-Identifier: BSD-3-Clause
"""Planar YUV pictures to encode: bare (coolchic-5, 12.5), and as Y4M.

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

from numchic.picture import Picture
from numchic_bitstream import UsageError

_NAME_SIZE = re.compile(r"(?<!\d)(\d+)x(\d+)(?!\d)")
_NAME_TYPE = re.compile(r"(?<!\d)(420|444)(?!\d)")
_NAME_DEPTH = re.compile(r"(?<!\d)(\d+)b(?:it)?(?![a-z])|p(10|12|14|16)(?:le)?(?!\d)")
_Y4M_COLOUR = re.compile(r"(420|444)(?:jpeg|mpeg2|paldv|p(\d\d?))?")
_MAX_Y4M_LINE = 4096  # bytes

MAX_SIDE = 16383  # what the header can express

YuvType = Literal["yuv420", "yuv444"]


class Layout(NamedTuple):
    """What a bare YUV file does not say itself."""

    height: int
    width: int
    data_type: YuvType
    bitdepth: int

    def shapes(self, *, rounded_up: bool) -> list[tuple[int, int]]:
        """Shapes of Y, U and V."""
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
            "videos are not encoded yet" if video else "wrong size of the file", name, None,
            f"{found} bytes", f"{expected} bytes for one frame of {layout}",
        )  # fmt: skip
    file.seek(0)
    return _picture(file.read(), name, layout, rounded_up=sizes[found])


def read_y4m(file: BinaryIO, name: str) -> Picture:
    """Read the only frame of a Y4M file."""
    layout = _y4m_layout(_line(file, name, b"YUV4MPEG2"), name)
    _line(file, name, b"FRAME")
    expected = layout.n_bytes(rounded_up=True)
    contents = file.read(expected)
    if len(contents) < expected:
        found = f"{len(contents)} bytes"
        raise UsageError("the file is too short", name, None, found, f"{expected} for {layout}")
    if file.read(1):
        raise UsageError("videos are not encoded yet", name, None, "a second frame", "one frame")
    return _picture(contents, name, layout, rounded_up=True)


def _line(file: BinaryIO, name: str, start: bytes) -> list[str]:
    """Parameters of a header that starts with the given word."""
    line = file.readline(_MAX_Y4M_LINE)
    word, *parameters = line[:-1].split(b" ")
    if word != start or not line.endswith(b"\n"):
        raise UsageError("malformed Y4M file", name, None, ascii(line[:20]), start.decode())
    return [parameter.decode("latin-1") for parameter in parameters]


def _y4m_layout(parameters: list[str], name: str) -> Layout:
    values = {parameter[:1]: parameter[1:] for parameter in reversed(parameters)}
    old = [p.removeprefix("XYSCSS=").lower() for p in parameters if p.startswith("XYSCSS=")]
    colour = values.get("C", (old or ["420jpeg"])[0])
    match = _Y4M_COLOUR.fullmatch(colour)
    bitdepth = int(match[2] or 8) if match is not None else 0
    if match is None or not 8 <= bitdepth <= 16:
        allowed = "420, 420jpeg, 420mpeg2, 420paldv, 444; 420pN and 444pN with N up to 16"
        raise UsageError("unknown kind of samples", name, None, ascii(colour), allowed)
    sides = [values.get(side, "") for side in "HW"]
    if not all(re.fullmatch(r"[0-9]{1,9}", side) for side in sides):
        found = ascii(" ".join(parameters))
        raise UsageError("the Y4M file does not tell its size", name, None, found, "W and H")
    height, width = map(int, sides)
    check_size(name, height, width)
    return Layout(height, width, "yuv420" if match[1] == "420" else "yuv444", bitdepth)


def _picture(contents: bytes, name: str, layout: Layout, *, rounded_up: bool) -> Picture:
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
    return Picture((planes[0], planes[1], planes[2]), layout.data_type, layout.bitdepth)
