# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of 16 bits, of which Pillow would keep 8.

Of a colour sample of 16 bits Pillow's decoders of PNG and TIFF keep the higher byte, which the byte
order in the *raw mode* of an opened file tells. Decoded again with the other order, it is the lower
one. Filters, compression, interlacing, check sums and limits remain those of Pillow. What is deeper
than 8 bits in other formats is refused.
"""

from __future__ import annotations

import re
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from numchic_bitstream import UsageError

_SWAPPED = {"B": "L", "L": "B", "N": "L" if sys.byteorder == "big" else "B"}
_SCALES = {"1": 255, "L;2": 85, "L;4": 17}
_SHALLOW = ("L", "LA", "RGB", "RGBA", "YCbCr")
_TIFF_BITS = 258
_HEAD = 1 << 16  # bytes, within which a file says how deep it is


def load(
    file: BinaryIO, image: Image.Image, name: str
) -> tuple[Image.Image, NDArray[np.uint16] | None]:
    """Load an opened picture.

    Parameters
    ----------
    file : binary file
        What ``image`` has been opened from.
    image : Image
        Not loaded yet.
    name : str
        Errors call the file so.

    Returns
    -------
    upright : Image
        Turned as the camera has noted. Its samples are those of the picture if it has no more than
        8 bits.
    samples : uint16[H, W, C] or None
        All 16 bits: grey or RGB, with alpha if there is one.

    Raises
    ------
    UsageError
        The picture has more bits than can be read.
    """
    raw = _raw_mode(image)
    if image.mode.startswith("I;16"):
        upright = ImageOps.exif_transpose(image)
        return upright, np.asarray(upright).astype(np.uint16)[..., np.newaxis]
    if raw == "LA;16B":
        _set_raw_mode(image, "RGBA")  # as many bytes
        upright = ImageOps.exif_transpose(image)
        return upright, np.asarray(upright).view(">u2").astype(np.uint16)
    if re.fullmatch(r"RGB[AX]?;16[BLN]", raw) and image.format in ("PNG", "TIFF"):
        upright = ImageOps.exif_transpose(image)
        file.seek(0)
        with Image.open(file, formats=[image.format]) as again:
            _set_raw_mode(again, raw[:-1] + _SWAPPED[raw[-1]])
            low = np.asarray(ImageOps.exif_transpose(again))
        return upright, np.asarray(upright).astype(np.uint16) << 8 | low
    n_bits = _n_bits(file, image)
    if n_bits > 8 and image.mode in _SHALLOW:
        raise UsageError(
            "the picture has more bits than can be read of such a file", name, None,
            f"{n_bits} bits", "8 bits; a PNG or PPM file can hold 16",
        )  # fmt: skip
    _scale_transparency(image, raw)
    return ImageOps.exif_transpose(image), None


def _raw_mode(image: Image.Image) -> str:
    """How samples lie in the file, if its decoder has been told so."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else None
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _set_raw_mode(image: Any, raw: str) -> None:
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile in image.tile
    ]


def _n_bits(file: BinaryIO, image: Any) -> int:
    """Bits of a sample in formats of which Pillow keeps 8."""
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_TIFF_BITS, (8,))))
    if image.format == "PPM":
        maximum = image.tile[0][3][-1] if isinstance(image.tile[0][3], tuple) else 255
        return int(maximum).bit_length()
    place = file.tell()
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(place)
    if image.format == "SGI":
        return 8 * head[3]
    if image.format == "JPEG2000":
        size = head.find(b"\xff\x4f\xff\x51")  # the first markers of the code stream
        components = head[size + 42 : size + 42 + 3 * len(image.getbands()) : 3]
        return max(1 + (component & 127) for component in components)
    if image.format == "AVIF":
        configuration = head.find(b"av1C")
        return 10 if head[configuration + 6] & 64 else 8
    return 8


def _scale_transparency(image: Image.Image, raw: str) -> None:
    """Put the transparent colour of a grey PNG of 1 to 4 bits to the scale of its samples."""
    if "transparency" in image.info and raw in _SCALES:
        # Some versions of Pillow have done so for one bit.
        image.info["transparency"] = min(255, _SCALES[raw] * image.info["transparency"])
