# SPDX-License-Identifier: BSD-3-Clause
"""Pictures to encode: whatever Pillow reads, deep PPM and PGM, planar YUV (coolchic-5, 12.5)."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from numchic.picture import Picture, Samples
from numchic_bitstream import Metadata, UsageError

_MAX_SIDE = 16383  # what the header can express
_MAX_NETPBM_HEADER = 1 << 16  # bytes, comments included
_NAME_SIZE = re.compile(r"(?<!\d)(\d+)x(\d+)(?!\d)")
_NAME_TYPE = re.compile(r"(?<!\d)(420|444)(?!\d)")
_NAME_DEPTH = re.compile(r"(?<!\d)(\d+)b(?:it)?(?![a-z])|p(10|12|14|16)(?:le)?(?!\d)")

_MORE_SUFFIXES = {".mpo", ".yuv"}
_NO_PICTURES = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow knows and does not decode."""

YuvType = Literal["yuv420", "yuv444"]


class _Yuv(NamedTuple):
    height: int
    width: int
    data_type: YuvType
    bitdepth: int


def read_picture(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    data_type: YuvType | None = None,
    bitdepth: int | None = None,
) -> Picture:
    """Read a picture to encode.

    - ``.ppm``, ``.pgm`` (binary): RGB or grey of 8 to 16 bits.
    - ``.yuv``: one planar frame, above 8 bits in little-endian words. What the arguments do not say
      is taken from a name such as ``park_352x288_420_8b.yuv`` or ``park_352x288_yuv420p10.yuv``:
      width x height, 420 or 444, and the depth before ``b`` or after ``p``; 8 bits and 4:2:0
      otherwise.
    - Everything else through Pillow, as RGB of 8 bits or, if it is 16-bit grey, of 16 bits. The
      orientation that a camera has noted is applied; an alpha channel must be opaque. Colour
      profile, Exif data and texts of the file become the metadata of the picture.

    Parameters
    ----------
    path : Path
    size : (int, int), optional
        Height and width of a ``.yuv`` file.
    data_type : {"yuv420", "yuv444"}, optional
        Of a ``.yuv`` file.
    bitdepth : int, optional
        Of a ``.yuv`` file, 8 .. 16.

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
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".yuv":
        return _read_yuv(path, _yuv_format(path, size, data_type, bitdepth))
    for name, value in (("size", size), ("data_type", data_type), ("bitdepth", bitdepth)):
        if value is not None:
            raise UsageError("the file itself says that", name, None, value, "for .yuv files only")
    return _read_netpbm(path) if kind in (".ppm", ".pgm") else _read_with_pillow(path)


def is_picture(path: Path) -> bool:
    """Whether a file in a folder has the name of a picture that may be read."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    readable = kind in Image.OPEN and kind not in _NO_PICTURES
    return readable or path.suffix.lower() in _MORE_SUFFIXES


def _check_size(path: Path, height: int, width: int) -> None:
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise UsageError(
            "the format has no such size", path.name, None, f"{width}x{height}",
            f"1 .. {_MAX_SIDE} either way",
        )  # fmt: skip


def _rgb(samples: NDArray[np.uint8 | np.uint16], bitdepth: int) -> Picture:
    red, green, blue = (np.ascontiguousarray(samples[..., c]) for c in range(3))
    return Picture((red, green, blue), "rgb", bitdepth)


def _read_with_pillow(path: Path) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _check_size(path, image.height, image.width)
                if getattr(image, "n_frames", 1) > 1:
                    raise UsageError(
                        "a still picture is needed", path.name, None, "an animation", "one frame"
                    )
                upright = ImageOps.exif_transpose(image)
                metadata = _metadata(image, upright)
                return dataclasses.replace(_from_pillow(path, upright), metadata=metadata)
    except UnidentifiedImageError as error:
        raise UsageError("not a picture that Pillow knows", path.name) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UsageError(f"the picture is too large: {error}", path.name) from error
    except (SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the picture is damaged: {error}", path.name) from error
    except OSError as error:
        if error.errno is not None:  # the file system
            raise
        raise UsageError(f"the picture is damaged: {error}", path.name) from error


def _from_pillow(path: Path, image: Image.Image) -> Picture:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16)
        return Picture((grey, grey, grey), "rgb", 16)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise UsageError(
                "Cool-chic has no transparency: flatten the picture first", path.name, None,
                f"mode {image.mode}", "opaque pixels",
            )  # fmt: skip
        image = rgba
    elif image.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        raise UsageError(
            "convert the picture to RGB first", path.name, None, f"mode {image.mode}",
            "grey, palette, RGB, or 16-bit grey",
        )  # fmt: skip
    return _rgb(np.asarray(image.convert("RGB")), 8)


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


def _read_netpbm(path: Path) -> Picture:
    """Binary PPM and PGM; Pillow would reduce 16 bits to 8."""
    with path.open("rb") as file:
        data = file.read(_MAX_NETPBM_HEADER)
        numbers, start = _netpbm_header(path, data)
        width, height, maximum = numbers
        _check_size(path, height, width)
        bitdepth = maximum.bit_length()
        if not 8 <= bitdepth <= 16 or maximum + 1 != 1 << bitdepth:
            raise UsageError("no whole number of bits", path.name, None, maximum, "255 .. 65535")
        n_channels = 3 if data[:2] == b"P6" else 1
        kind = np.dtype(np.uint8 if bitdepth == 8 else ">u2")
        size = height * width * n_channels * kind.itemsize
        file.seek(start)
        contents = file.read(size)
    if len(contents) < size:
        raise UsageError("the file is too short", path.name, None, len(contents), f"{size} bytes")
    samples = np.frombuffer(contents, kind).reshape(height, width, n_channels)
    _check_samples(path, samples, bitdepth)
    native = samples.astype(kind.newbyteorder("="))
    return _rgb(np.broadcast_to(native, (height, width, 3)), bitdepth)


def _netpbm_header(path: Path, data: bytes) -> tuple[list[int], int]:
    """Width, height and maximum, and where the samples start."""
    token = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
    match = re.match(rb"P[56]" + token * 3 + rb"\s", data)
    if match is None:
        raise UsageError("not a binary PPM or PGM file", path.name, None, data[:2], "P5 or P6")
    return [int(group) for group in match.groups()], match.end()


def _check_samples(path: Path, samples: NDArray[np.generic], bitdepth: int) -> None:
    largest = int(samples.max()) if samples.size else 0
    if largest >> bitdepth:
        allowed = f"0 .. {(1 << bitdepth) - 1}"
        raise UsageError("a sample is too large", path.name, None, largest, allowed)


def _yuv_format(
    path: Path,
    size: tuple[int, int] | None,
    data_type: YuvType | None,
    bitdepth: int | None,
) -> _Yuv:
    """Arguments, completed from the file name."""
    name = path.stem.lower()
    if size is None:
        match = _NAME_SIZE.search(name)
        if match is None:
            raise UsageError("the size is not known", path.name, None, None, "such as 352x288")
        size = (int(match[2]), int(match[1]))
        name = name.replace(match[0], " ")  # its digits mean nothing else
    if data_type is None:
        match = _NAME_TYPE.search(name)
        data_type = "yuv444" if match is not None and match[1] == "444" else "yuv420"
    if bitdepth is None:
        match = _NAME_DEPTH.search(name)
        bitdepth = 8 if match is None else int(match[1] or match[2])
    if not 8 <= bitdepth <= 16:
        raise UsageError("no such depth", "bitdepth", None, bitdepth, "8 .. 16")
    _check_size(path, *size)
    return _Yuv(size[0], size[1], data_type, bitdepth)


def _read_yuv(path: Path, form: _Yuv) -> Picture:
    chroma = (form.height, form.width)
    if form.data_type == "yuv420":
        chroma = (form.height // 2, form.width // 2)
    shapes = [(form.height, form.width), chroma, chroma]
    kind = np.dtype(np.uint8 if form.bitdepth == 8 else "<u2")
    expected = sum(height * width for height, width in shapes) * kind.itemsize
    found = path.stat().st_size
    if found != expected:
        raise UsageError(
            "wrong size of the file", path.name, None, f"{found} bytes",
            f"{expected} bytes for one {form.width}x{form.height} frame, {form.data_type}, "
            f"{form.bitdepth} bits",
        )  # fmt: skip
    samples = np.fromfile(path, kind)
    _check_samples(path, samples, form.bitdepth)
    planes: list[Samples] = []
    start = 0
    for height, width in shapes:
        part = samples[start : start + height * width].reshape(height, width)
        planes.append(part.astype(kind.newbyteorder("=")))
        start += part.size
    return Picture((planes[0], planes[1], planes[2]), form.data_type, form.bitdepth)
