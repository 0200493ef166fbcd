# SPDX-License-Identifier: BSD-3-Clause
"""Image files: PNG, PPM, planar YUV, Y4M, NPY (coolchic-5, section 12.5)."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numchic.picture import Picture
from numchic_bitstream.errors import UsageError
from numchic_bitstream.metadata import Metadata

FORMATS = ("png", "ppm", "yuv", "y4m", "npy")
VIDEO_FORMATS = ("yuv", "y4m")
"""Those whose files may hold several frames."""


def encode_image(picture: Picture, kind: str) -> bytes:
    """Contents of an image file.

    Parameters
    ----------
    picture : Picture
    kind : {"png", "ppm", "yuv", "y4m", "npy"}
        ``png`` holds 8-bit RGB; ``ppm`` RGB of any depth; ``yuv`` the three planes of a YUV picture
        without a header, above 8 bits in little-endian words; ``y4m`` the same with a header that
        programs for video understand; ``npy`` an array (H, W, 3) of any picture without
        subsampling. Only ``png`` carries metadata: the colour profile, Exif data,
        and texts whose key PNG can hold.

    Raises
    ------
    UsageError
        The format cannot hold the picture.
    """
    file = io.BytesIO()
    _WRITERS[kind](picture, file)
    return file.getvalue()


def _require(condition: bool, kind: str, picture: Picture, allowed: str) -> None:
    if not condition:
        raise UsageError(
            f"a .{kind} file cannot hold this picture",
            "data_type",
            None,
            f"{picture.data_type}, {picture.bitdepth} bits",
            allowed,
        )


def _write_png(picture: Picture, file: BinaryIO) -> None:
    from PIL import Image

    fits = picture.data_type == "rgb" and picture.bitdepth == 8
    _require(fits, "png", picture, "rgb, 8 bits")
    # Level 3 takes a third of the time of the default level 6 for files 2 % larger.
    image = Image.fromarray(picture.to_rgb())
    image.save(file, "PNG", compress_level=3, **_png_metadata(picture.metadata or Metadata()))


def _png_metadata(metadata: Metadata) -> dict[str, Any]:
    """Options of Pillow's writer."""
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    for key, value in metadata.text:
        # A PNG keyword has 1 to 79 printable characters of Latin-1.
        if len(key) < 80 and key.isprintable() and key == key.strip() and max(key) <= "\xff":
            texts.add_itxt(key, value)
    return {"icc_profile": metadata.icc, "exif": metadata.exif, "pnginfo": texts}


def _write_ppm(picture: Picture, file: BinaryIO) -> None:
    _require(picture.data_type == "rgb", "ppm", picture, "rgb")
    maximum = (1 << picture.bitdepth) - 1
    file.write(b"P6\n%d %d\n%d\n" % (picture.width, picture.height, maximum))
    samples = picture.to_rgb()
    file.write(samples.astype(samples.dtype.newbyteorder(">")).tobytes())


def _write_yuv(picture: Picture, file: BinaryIO) -> None:
    _require(picture.data_type != "rgb", "yuv", picture, "yuv420, yuv444")
    file.write(picture.to_bytes())


def _write_y4m(picture: Picture, file: BinaryIO) -> None:
    file.write(y4m_header(picture) + y4m_frame(picture))


def y4m_header(picture: Picture, rate: tuple[int, int] = (25, 1)) -> bytes:
    """Start of a Y4M file (YUV4MPEG2), after which every frame follows as :func:`y4m_frame`.

    Parameters
    ----------
    picture : Picture
        Any frame of the video.
    rate : (int, int)
        Frames per second, as a fraction; Cool-chic streams do not tell it.

    Raises
    ------
    UsageError
        The format cannot hold the picture: it is RGB, or 4:2:0 with an odd size, for which Y4M
        has a chroma sample more.
    """
    _require(picture.data_type != "rgb", "y4m", picture, "yuv420, yuv444")
    odd = picture.height % 2 or picture.width % 2
    _require(not (odd and picture.data_type == "yuv420"), "y4m", picture, "even sizes in yuv420")
    colour = "420" if picture.data_type == "yuv420" else "444"
    if picture.bitdepth > 8:
        colour += f"p{picture.bitdepth}"
    elif colour == "420":
        colour += "jpeg"  # chroma samples lie between those of luma
    size = f"W{picture.width} H{picture.height}"
    return f"YUV4MPEG2 {size} F{rate[0]}:{rate[1]} Ip A1:1 C{colour}\n".encode()


def y4m_frame(picture: Picture) -> bytes:
    """One frame of a Y4M file."""
    return b"FRAME\n" + picture.to_bytes()


def _write_npy(picture: Picture, file: BinaryIO) -> None:
    _require(picture.data_type != "yuv420", "npy", picture, "rgb, yuv444")
    np.save(file, np.asarray(picture))


_WRITERS = dict(
    zip(FORMATS, (_write_png, _write_ppm, _write_yuv, _write_y4m, _write_npy), strict=True)
)


def format_of(name: str) -> str:
    """Image format that a file name asks for.

    Raises
    ------
    UsageError
        The extension is not known.
    """
    extension = Path(name).suffix.lower().removeprefix(".")
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
        with path.open(
            "wb"
        ) as file:  # not resolved: pipes have no other name than that of the link
            yield file
        return
    asked, path = path, path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".numchic-")
    except OSError as error:  # which knows only the temporary name
        raise OSError(error.errno, error.strerror, str(asked)) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(_mode_of(path))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # the folder may have vanished
        raise


def _mode_of(path: Path) -> int:
    """Access rights of a file, or those it would get when newly made."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
