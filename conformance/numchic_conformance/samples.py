# SPDX-License-Identifier: BSD-3-Clause
"""Files with decoded samples, as the stage ``samples``: PNG, PPM, planar YUV, raw RGB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from numchic_bitstream import UsageError
from numchic_conformance.manifest import PictureFormat

_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM = re.compile(_GAP.join((rb"P6", rb"(\d+)", rb"(\d+)", rb"(\d+)")) + rb"\s")


def output_extension(picture: PictureFormat | None) -> str:
    """Kind of file to ask a decoder for."""
    return ".ppm" if picture is None or picture.data_type == "rgb" else ".yuv"


def read_samples(path: Path, picture: PictureFormat) -> NDArray[Any]:
    """Read all samples of all frames.

    Parameters
    ----------
    path : Path
        ``.png`` (8-bit RGB), ``.ppm`` (P6, up to 16 bits), ``.yuv`` (planes Y, U, V) or ``.rgb``
        (interleaved); above 8 bits the latter two have little-endian words. Frames follow each
        other, in PPM files each with its header.
    picture : PictureFormat
        What the file should hold.

    Returns
    -------
    uint8[n] or uint16[n]

    Raises
    ------
    UsageError
        The file holds something else.
    OSError
        The file cannot be read.
    """
    if path.suffix == ".png":
        with Image.open(path) as image:
            shape, samples = image.size, np.asarray(image.convert("RGB")).ravel()
        _require(path, "size", shape, (picture.width, picture.height))
    elif path.suffix == ".ppm":
        samples = _read_ppm(path, picture)
    else:
        data = path.read_bytes()
        kind = np.dtype("u1" if picture.bitdepth == 8 else "<u2")
        n_bytes = picture.frames * picture.frame_samples * kind.itemsize
        _require(path, "bytes", len(data), n_bytes)
        samples = np.frombuffer(data, kind)
    return samples


def _read_ppm(path: Path, picture: PictureFormat) -> NDArray[Any]:
    """Read one picture after the other."""
    data = path.read_bytes()
    maximum = (1 << picture.bitdepth) - 1
    kind = np.dtype("u1" if maximum < 256 else ">u2")
    frames, position = [], 0
    for _ in range(picture.frames):
        head = _PPM.match(data, position)
        if head is None:
            raise UsageError("not a PPM file", path.name)
        found = tuple(map(int, head.groups()))
        _require(path, "header", found, (picture.width, picture.height, maximum))
        position = head.end() + picture.frame_samples * kind.itemsize
        frames.append(data[head.end() : position])
    n_bytes = picture.frame_samples * kind.itemsize
    _require(path, "bytes", len(frames[-1]) + len(data[position:]), n_bytes)
    return np.frombuffer(b"".join(frames), kind).astype(kind.newbyteorder("<"))


def _require(path: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise UsageError(f"unexpected {what}", path.name, None, found, expected)
