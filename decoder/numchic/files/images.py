# SPDX-License-Identifier: BSD-3-Clause
"""Image files: PNG, PPM, TIFF, planar YUV, Y4M, NPY (coolchic-5, section 12.5)."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from numchic.files.png import PNG_LEVEL, write_png
from numchic.files.tiff import write_tiff
from numchic.files.y4m import header
from numchic.picture import Picture
from numchic_bitstream.arguments import as_integer
from numchic_bitstream.errors import UsageError
from numchic_bitstream.metadata import Metadata

VIDEO_FORMATS = ("yuv", "y4m")
"""Formats whose files may hold several frames."""


def encode_image(picture: Picture, kind: str, *, png_level: int = PNG_LEVEL) -> bytes:
    """Contents of an image file.

    Parameters
    ----------
    picture : Picture
    kind : {"png", "ppm", "tiff", "yuv", "y4m", "npy"}
        ``png`` holds RGB, above 8 bits as samples of 16 whose true depth the chunk sBIT tells (see
        :mod:`numchic.files.png`); ``ppm`` RGB of any depth; ``tiff`` RGB of 8 or 16 bits; ``yuv``
        the three planes of a YUV picture without a header, above 8 bits in little-endian words;
        ``y4m`` the same with a header that programs for video understand; ``npy`` an array
        (H, W, 3) of any picture without subsampling. ``png`` carries the colour profile, Exif data,
        and texts whose key PNG can hold; ``tiff`` the colour profile.
    png_level : int
        How hard PNG is compressed, from 0 (not at all) to 9; samples are the same.

    Raises
    ------
    UsageError
        The format cannot hold the picture, or there is no such level.
    """
    file = io.BytesIO()
    level = as_integer(png_level, "png_level", 0, 9)
    _require(kind, picture)
    if kind == "png":
        _write_png(picture, file, level)
    else:
        _FORMATS[kind].write(picture, file)
    return file.getvalue()


def _require(kind: str, picture: Picture) -> None:
    if not _FORMATS[kind].holds(picture):
        others = ", ".join(f".{other}" for other in FORMATS if _FORMATS[other].holds(picture))
        size = f"{picture.width}x{picture.height}"
        raise UsageError(
            f"a .{kind} file cannot hold this picture; choose another kind of file", "data_type",
            None, f"{picture.data_type}, {picture.bitdepth} bits, {size}", others,
        )  # fmt: skip


def _write_png(picture: Picture, file: BinaryIO, level: int = PNG_LEVEL) -> None:
    planes = picture.planes[:1] if _is_deep_grey(picture) else picture.planes
    file.write(write_png(planes, picture.bitdepth, picture.metadata or Metadata(), level))


def _is_deep_grey(picture: Picture) -> bool:
    """Whether one plane of 16 bits says it all: no colour profile speaks of three."""
    if picture.bitdepth == 8 or (picture.metadata is not None and picture.metadata.icc is not None):
        return False
    red, green, blue = picture.planes
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _write_ppm(picture: Picture, file: BinaryIO) -> None:
    maximum = (1 << picture.bitdepth) - 1
    file.write(b"P6\n%d %d\n%d\n" % (picture.width, picture.height, maximum))
    samples = picture.to_rgb()
    file.write(samples.astype(samples.dtype.newbyteorder(">")).tobytes())


def _write_tiff(picture: Picture, file: BinaryIO) -> None:
    file.write(write_tiff(picture.to_rgb(), (picture.metadata or Metadata()).icc))


def _write_yuv(picture: Picture, file: BinaryIO) -> None:
    file.write(picture.to_bytes())


def _write_y4m(picture: Picture, file: BinaryIO) -> None:
    file.write(y4m_header(picture) + y4m_frame(picture))


def y4m_header(picture: Picture, rate: tuple[int, int] | None = None) -> bytes:
    """Start of a Y4M file (YUV4MPEG2), after which every frame follows as :func:`y4m_frame`.

    Parameters
    ----------
    picture : Picture
        Any frame of the video; its metadata may tell what a header says (docs/trailer.md, 3.4).
    rate : (int, int), optional
        Frames per second, as a fraction. The default is that of the metadata, else 25.

    Raises
    ------
    UsageError
        The format cannot hold the picture: it is RGB, or 4:2:0 with an odd size, for which Y4M
        has a chroma sample more.
    """
    _require("y4m", picture)
    return header(picture, rate)


def y4m_frame(picture: Picture) -> bytes:
    """One frame of a Y4M file."""
    return b"FRAME\n" + picture.to_bytes()


def _write_npy(picture: Picture, file: BinaryIO) -> None:
    np.save(file, np.asarray(picture))


def _is_rgb(picture: Picture) -> bool:
    return picture.data_type == "rgb"


def _fits_y4m(picture: Picture) -> bool:
    odd = picture.height % 2 or picture.width % 2
    return picture.data_type == "yuv444" or (picture.data_type == "yuv420" and not odd)


class _Format(NamedTuple):
    holds: Callable[[Picture], bool]
    write: Callable[[Picture, BinaryIO], None]


_FORMATS = {
    "png": _Format(_is_rgb, _write_png),
    "ppm": _Format(_is_rgb, _write_ppm),
    "tiff": _Format(lambda picture: _is_rgb(picture) and picture.bitdepth in (8, 16), _write_tiff),
    "yuv": _Format(lambda picture: not _is_rgb(picture), _write_yuv),
    "y4m": _Format(_fits_y4m, _write_y4m),
    "npy": _Format(lambda picture: picture.data_type != "yuv420", _write_npy),
}
FORMATS = tuple(_FORMATS)
"""Kinds of image files, which are also their extensions."""


def format_of(name: str) -> str:
    """Image format that a file name asks for.

    Raises
    ------
    UsageError
        The extension is not known.
    """
    extension = Path(name).suffix.lower().removeprefix(".")
    extension = "tiff" if extension == "tif" else extension
    if extension not in FORMATS:
        allowed = ", ".join(f".{kind}" for kind in FORMATS)
        raise UsageError("unknown kind of output file", "output", None, name, allowed)
    return extension


def write_file(path: Path, data: bytes) -> None:
    """Write a file completely or not at all; see :func:`open_file`."""
    with open_file(path) as file:
        file.write(data)


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears when the block ends without an exception.

    An existing file survives a failure. Links are followed; what is not a regular file (a pipe, a
    device) is written directly.
    """
    if path.exists() and not path.is_file():
        # Not resolved: pipes have no other name than that of the link.
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    temporary = target.with_name(f".numchic-{os.urandom(8).hex()}")
    # Nobody can read the new file who could not read the old one; without one, the system decides.
    opener = partial(os.open, mode=0o666 if mode is None else mode)
    with _named(path):
        file = open(temporary, "xb", opener=opener)  # noqa: SIM115
    try:
        with file:
            yield file
        with _named(path):
            if mode is not None:
                temporary.chmod(mode)  # whatever the umask has taken away
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)  # the folder may have vanished
        raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file that was asked for, not the temporary one, in errors of the system."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
