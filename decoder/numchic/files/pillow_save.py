# SPDX-License-Identifier: BSD-3-Clause
"""Saving of Pillow images as Cool-chic streams, by the trainer if it is installed."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import IO, Any

import numpy as np
from PIL import Image

from numchic.picture import Picture
from numchic_bitstream.metadata import Metadata

_ENTRY_POINTS = "numchic.encoders"


def save(image: Image.Image, file: IO[bytes], _: str | bytes) -> None:
    """Encode an image with the options that were given to ``Image.save``.

    ``icc_profile`` and ``exif`` are as for Pillow's own formats, and by default those of the image.
    All other options are settings of the encoder.

    Raises
    ------
    UsageError
        There is no such setting, or a value is illegal.
    ModuleNotFoundError
        The trainer is not installed.
    OSError
        The format cannot hold the pixels of the image.
    """
    settings = dict(image.encoderinfo)
    picture = _picture(image, _metadata(image, settings))
    file.write(_encoder()(picture, settings))


def _encoder() -> Any:
    for point in entry_points(group=_ENTRY_POINTS, name="still"):
        return point.load()
    raise ModuleNotFoundError("there is no encoder: pip install 'numchic[trainer]'")


def _picture(image: Image.Image, metadata: Metadata | None) -> Picture:
    if image.mode not in ("1", "L", "RGB") or image.has_transparency_data:
        transparency = " with transparency" if image.has_transparency_data else ""
        raise OSError(
            f"cannot write mode {image.mode}{transparency} as Cool-chic: convert it to RGB"
        )
    red, green, blue = np.moveaxis(np.array(image.convert("RGB")), 2, 0)
    return Picture((red, green, blue), "rgb", 8, metadata)


def _metadata(image: Image.Image, settings: dict[str, Any]) -> Metadata | None:
    """Take the metadata out of the options, or out of the image."""
    icc = settings.pop("icc_profile", _rgb_profile(image)) or None
    exif = settings.pop("exif", image.info.get("exif")) or None
    if not settings.setdefault("metadata", settings.get("trailer", True)):
        return None
    if isinstance(exif, Image.Exif):
        exif = exif.tobytes()
    if exif is not None:
        exif = exif.removeprefix(b"Exif\0\0")
    text = image.info.get("text", getattr(image, "text", None))
    texts = text.items() if isinstance(text, dict) else ()
    return Metadata(icc, exif, tuple((key, str(value)) for key, value in texts))


def _rgb_profile(image: Image.Image) -> bytes | None:
    """Colour profile; one of another colour space says nothing of samples that are made RGB."""
    icc: bytes | None = image.info.get("icc_profile")
    return icc if icc is not None and icc[16:20] == b"RGB " else None
