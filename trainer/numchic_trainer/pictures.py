# SPDX-License-Identifier: BSD-3-Clause
"""Pictures to encode: whatever Pillow reads, deep PPM and PGM, NPY, and planar ones."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from numchic.files.png import restored, significant_bits
from numchic.picture import Picture, Samples
from numchic_bitstream import Metadata, UsageError
from numchic_trainer import deep
from numchic_trainer.planar import (
    Y4M_MAGIC,
    YuvType,
    check_bitdepth,
    check_samples,
    check_size,
    read_y4m,
    read_yuv,
    yuv_layout,
)

_MAX_BYTES = 1 << 31  # more than the samples of the largest picture
_MAX_NETPBM_HEADER = 1 << 16  # bytes, comments included
_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

_MORE_SUFFIXES = {".mpo", ".npy", ".y4m", ".yuv"}
_NO_PICTURES = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow knows and does not decode."""


def read_picture(
    source: Path | str | BinaryIO,
    *,
    size: tuple[int, int] | None = None,
    data_type: YuvType | None = None,
    bitdepth: int | None = None,
) -> Picture:
    """Read a picture to encode.

    - ``.ppm``, ``.pgm`` (binary): RGB or grey of 8 to 16 bits.
    - ``.npy``: (H, W, 3) or grey (H, W); ``uint8`` has 8 bits, ``uint16`` has 16 or what
      ``bitdepth`` says; RGB, or (H, W, 3) of YUV if ``data_type`` is ``yuv444``.
    - ``.y4m``: one frame, 4:2:0 or 4:4:4, 8 to 16 bits. Frame rate, aspect, siting of chroma and
      extensions become the metadata of the picture.
    - ``.yuv``: one planar frame, above 8 bits in little-endian words. What the arguments do not say
      is taken from a name such as ``park_352x288_420_8b.yuv`` or ``park_352x288_yuv420p10.yuv``:
      width x height, 420 or 444, and the depth before ``b`` or after ``p``; 8 bits and 4:2:0
      otherwise.
    - Everything else through Pillow. PNG and TIFF files of 16 bits have all of them, or as many as
      the chunk sBIT of a PNG file says and its samples hold; other files with more than 8 bits are
      refused. Grey becomes RGB. The orientation that a camera has noted is applied; all pixels must
      be opaque. Of photographs with further pictures in them (MPO) it is the first. Colour profile,
      Exif data and texts of the file become the metadata of the picture.

    In 4:2:0 an odd height or width is halved downwards. A file of a program that halves upwards, of
    which the size tells, loses the last row or column of U and V.

    Parameters
    ----------
    source : Path or binary file
        The contents of a binary file tell its format; it is ``.yuv`` if they do not and ``size`` is
        given.
    size : (int, int), optional
        Height and width of a ``.yuv`` file.
    data_type : {"yuv420", "yuv444"}, optional
        A ``.yuv`` or ``.npy`` file has chroma of this kind.
    bitdepth : int, optional
        A ``.yuv`` or ``.npy`` file has samples of this many bits, 8 .. 16.

    Returns
    -------
    Picture

    Raises
    ------
    UsageError
        The file is no picture, or one that the format cannot hold.
    OSError
        It cannot be read.
    """
    if not isinstance(source, str | Path):
        name = name_of(source)
        return _read(seekable(source, name), name, "", size, data_type, bitdepth)
    path = Path(source)
    with path.open("rb") as file:
        return _read(
            seekable(file, path.name), path.name, path.suffix.lower(), size, data_type, bitdepth
        )


def name_of(file: BinaryIO) -> str:
    """What errors call a binary file."""
    return Path(str(getattr(file, "name", "-"))).name


def seekable(file: BinaryIO, name: str, magic: bytes = b"") -> BinaryIO:
    """A file that can be read from its start, of which ``magic`` has been read before."""
    if file.seekable():
        file.seek(-len(magic), os.SEEK_CUR)
        return file
    contents = magic + file.read(_MAX_BYTES + 1)
    if len(contents) > _MAX_BYTES:
        raise UsageError("too large for a picture", name, None, None, f"{_MAX_BYTES} bytes")
    return io.BytesIO(contents)


def _read(
    file: BinaryIO,
    name: str,
    suffix: str,
    size: tuple[int, int] | None,
    data_type: YuvType | None,
    bitdepth: int | None,
) -> Picture:
    kind = kind_of(file, suffix, size)
    if kind == ".yuv":
        return read_yuv(file, name, yuv_layout(name, size, data_type, bitdepth))
    check_unsaid(kind, size, data_type, bitdepth)
    if kind == ".npy":
        return _read_npy(file, name, data_type, bitdepth)
    readers = {".ppm": _read_netpbm, ".y4m": read_y4m}
    return readers.get(kind, _read_with_pillow)(file, name)


def kind_of(file: BinaryIO, suffix: str, size: tuple[int, int] | None) -> str:
    """Extension of the kind of a file that is at its start; none if Pillow has to know."""
    magic = file.read(16)
    file.seek(0)
    return _kind(magic, suffix or (".yuv" if size is not None else ""))


def check_unsaid(
    kind: str, size: tuple[int, int] | None, data_type: YuvType | None, bitdepth: int | None
) -> None:
    """Raise an error if something is given that a file of another kind than .yuv says itself."""
    for option, value in (("size", size), ("data_type", data_type), ("bitdepth", bitdepth)):
        if value is not None and (kind != ".npy" or option == "size"):
            allowed = "for .yuv files only" if option == "size" else "for .yuv and .npy files only"
            raise UsageError("the file itself says that", option, None, value, allowed)


def is_picture(path: Path) -> bool:
    """Whether a file in a folder has the name of a picture that may be read."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    readable = kind in Image.OPEN and kind not in _NO_PICTURES
    return readable or path.suffix.lower() in _MORE_SUFFIXES


def _kind(magic: bytes, suffix: str) -> str:
    if suffix in (".ppm", ".pgm") or re.match(rb"P[56]\s", magic):
        return ".ppm"
    for start, kind in ((_NPY_MAGIC, ".npy"), (Y4M_MAGIC, ".y4m")):
        if suffix == kind or (suffix != ".yuv" and magic.startswith(start)):
            return kind
    return suffix if suffix == ".yuv" else ""


def _rgb(samples: Samples, bitdepth: int) -> Picture:
    """Make a picture of RGB or of grey with its channels last."""
    three = np.broadcast_to(samples, (*samples.shape[:2], 3))
    red, green, blue = (np.ascontiguousarray(three[..., c]) for c in range(3))
    return Picture((red, green, blue), "rgb", bitdepth)


def _read_npy(
    file: BinaryIO, name: str, data_type: YuvType | None, bitdepth: int | None
) -> Picture:
    try:
        shape, fortran, kind = _NPY_HEADERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError, SyntaxError, tokenize.TokenError) as error:
        raise UsageError(f"malformed NPY file: {error}", name) from error
    if kind.newbyteorder("=") not in (np.uint8, np.uint16):
        raise UsageError("no samples", name, None, kind, "uint8 or uint16")
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
        raise UsageError("no picture", name, None, shape, "(H, W, 3) or (H, W)")
    check_size(name, *shape[:2])
    if data_type == "yuv420" or (data_type == "yuv444" and shape[2:] != (3,)):
        allowed = "yuv444 for (H, W, 3)"
        raise UsageError("an array cannot be that", "data_type", None, data_type, allowed)
    bitdepth = 8 * kind.itemsize if bitdepth is None else bitdepth
    check_bitdepth(bitdepth)
    expected = int(np.prod(shape)) * kind.itemsize
    contents = file.read(expected + 1)
    if len(contents) != expected:
        raise UsageError("wrong size of the file", name, None, None, f"{expected} bytes of samples")
    stored = np.frombuffer(contents, kind).reshape(shape, order="F" if fortran else "C")
    check_samples(name, stored, bitdepth)
    samples: Samples = stored.astype(np.uint8 if bitdepth == 8 else np.uint16)
    picture = _rgb(samples.reshape(*shape[:2], -1), bitdepth)
    return dataclasses.replace(picture, data_type=data_type or "rgb")


def convert_image(image: Image.Image, name: str) -> Picture:
    """Picture of a Pillow image, with all its bits if it has not been loaded yet.

    Parameters
    ----------
    image : PIL.Image.Image
    name : str
        What errors call it.

    Raises
    ------
    UsageError
        It is one that the format cannot hold, or it cannot be loaded.
    OSError
        Its file cannot be read.
    """
    file = image.fp if isinstance(image, ImageFile.ImageFile) and image.tile else None
    with _complaints(name):
        return _convert(file or io.BytesIO(), image, name)


def _read_with_pillow(file: BinaryIO, name: str) -> Picture:
    with _complaints(name), Image.open(file) as image:
        return _convert(file, image, name)


def _convert(file: Any, image: Image.Image, name: str) -> Picture:
    _check_opened(image, name)
    upright, samples = deep.load(file, image, name)
    if samples is None:
        picture = _shallow(upright, name)
    else:
        significant = significant_bits(file) if image.format == "PNG" else None
        picture = _deep(samples, upright, name, significant)
    return dataclasses.replace(picture, metadata=_metadata(image, upright))


@contextmanager
def _complaints(name: str) -> Iterator[None]:
    """Turn what Pillow says about a picture into a UsageError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise UsageError("not a picture that Pillow knows", name) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UsageError(f"the picture is too large: {error}", name) from error
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # of Pillow's decoders, which raise RuntimeError, TypeError, ...
        if isinstance(error, OSError) and error.errno is not None:  # the file system
            raise
        raise UsageError(_damage(error), name) from error


def _damage(error: Exception) -> str:
    if "MAX_TEXT" in str(error):  # the names of Pillow's limits
        return "the file's texts or colour profile are larger than Pillow reads: remove them"
    return f"the picture is damaged: {error}"


def _check_opened(image: Image.Image, name: str) -> None:
    check_size(name, image.height, image.width)
    allowed = Image.MAX_IMAGE_PIXELS
    # To Pillow that is a warning, and what becomes of warnings is up to the process.
    if allowed is not None and image.height * image.width > allowed:
        raise Image.DecompressionBombError(f"more than {allowed} pixels")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise UsageError("a still picture is needed", name, None, "an animation", "one frame")


def _check_opaque(name: str, opaque: object, image: Image.Image) -> None:
    if not opaque:
        raise UsageError(
            "Cool-chic has no transparency: flatten the picture first", name, None,
            f"mode {image.mode}", "opaque pixels",
        )  # fmt: skip


def _shallow(image: Image.Image, name: str) -> Picture:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        _check_opaque(name, image.getchannel("A").getextrema() == (255, 255), image)
    elif image.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        raise UsageError(
            "convert the picture to RGB first", name, None, f"mode {image.mode}",
            "grey, palette or RGB",
        )  # fmt: skip
    return _rgb(np.asarray(image.convert("RGB")), 8)


def _deep(
    samples: NDArray[np.uint16], image: Image.Image, name: str, significant: int | None
) -> Picture:
    n_channels = samples.shape[2]
    colours, alpha = np.split(samples, [(n_channels - 1) | 1], axis=2)
    _check_opaque(name, (alpha == 65535).all(), image)
    transparent = image.info.get("transparency")
    if transparent is not None:
        _check_opaque(name, (colours != transparent).any(axis=2).all(), image)
    if significant is not None and 8 <= significant < 16:
        true = restored(colours, significant)
        if true is not None:
            return _rgb(true.astype(np.uint8) if significant == 8 else true, significant)
    return _rgb(colours, 16)


def _metadata(image: Image.Image, upright: Image.Image) -> Metadata | None:
    """What the file says beside the samples, of which the orientation has been applied.

    A profile that is not one of RGB says nothing of the samples that have been made of them.
    """
    icc = upright.info.get("icc_profile")
    if icc is not None and icc[16:20] != b"RGB ":
        icc = None
    exif = upright.info.get("exif", b"").removeprefix(b"Exif\0\0")
    texts = {key: upright.info.get(key) for key in getattr(image, "text", {})}
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        texts["Comment"] = _decode(comment)
    metadata = Metadata(
        icc,
        exif if exif.startswith((b"II*\0", b"MM\0*")) else None,
        tuple(
            (key, str(value))
            for key, value in texts.items()
            if isinstance(value, str) and key and "\0" not in key + value
        ),
    )
    return None if metadata == Metadata() else metadata


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _read_netpbm(file: BinaryIO, name: str) -> Picture:
    """Binary PPM and PGM; Pillow would reduce 16 bits to 8."""
    data = file.read(_MAX_NETPBM_HEADER)
    numbers, start = _netpbm_header(name, data)
    width, height, maximum = numbers
    check_size(name, height, width)
    bitdepth = maximum.bit_length()
    if not 8 <= bitdepth <= 16 or maximum + 1 != 1 << bitdepth:
        raise UsageError("no whole number of bits", name, None, maximum, "255 .. 65535")
    n_channels = 3 if data[:2] == b"P6" else 1
    kind = np.dtype(np.uint8 if bitdepth == 8 else ">u2")
    size = height * width * n_channels * kind.itemsize
    file.seek(start)
    contents = file.read(size)
    if len(contents) < size:
        raise UsageError("the file is too short", name, None, len(contents), f"{size} bytes")
    samples = np.frombuffer(contents, kind).reshape(height, width, n_channels)
    check_samples(name, samples, bitdepth)
    return _rgb(samples.astype(kind.newbyteorder("=")), bitdepth)


def _netpbm_header(name: str, data: bytes) -> tuple[list[int], int]:
    """Width, height and maximum, and where the samples start."""
    token = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
    match = re.match(rb"P[56]" + token * 3 + rb"\s", data)
    if match is None:
        raise UsageError("not a binary PPM or PGM file", name, None, data[:2], "P5 or P6")
    return [int(group) for group in match.groups()], match.end()
