# SPDX-License-Identifier: BSD-3-Clause
"""Targets that decode pictures."""

from __future__ import annotations

import io
import zlib

from PIL import Image, UnidentifiedImageError

import numchic
from fuzz.outcome import LIMITS, FindingError, error_outcome, require
from numchic.images import encode_image
from numchic.pillow_image import FORMAT, STILL_PREFIX, CoolChicImageFile
from numchic_bitstream import LimitError, NumchicError, StreamError, UnsupportedError


def decode(data: bytes) -> str:
    """Decode a picture; one in sixteen twice, the second time with two threads."""
    try:
        picture = numchic.decode(data, limits=LIMITS, threads=1)
    except NumchicError as error:
        return error_outcome(error, len(data))
    height, width = picture.height, picture.width
    chroma = (height // 2, width // 2) if picture.data_type == "yuv420" else (height, width)
    shapes = [plane.shape for plane in picture.planes]
    require(shapes == [(height, width), chroma, chroma], f"planes of {shapes}")
    highest = max(int(plane.max()) for plane in picture.planes)
    require(highest < 1 << picture.bitdepth, f"sample {highest}")
    if zlib.crc32(data) % 16 == 0:
        again = numchic.decode(data, limits=LIMITS, threads=2)
        require(again.to_bytes() == picture.to_bytes(), "another picture the second time")
    if picture.metadata is not None and (picture.data_type, picture.bitdepth) == ("rgb", 8):
        encode_image(picture, "png")
    return f"picture, {picture.data_type}, {picture.bitdepth}"


def pillow(data: bytes) -> str:
    """Open, load and copy a picture with Pillow."""
    if FORMAT not in Image.OPEN:
        numchic.register_pillow()
    CoolChicImageFile.limits = LIMITS
    file = io.BytesIO(data)
    try:
        image = Image.open(file, formats=(FORMAT,))
    except (LimitError, UnsupportedError) as error:
        return error_outcome(error, len(data))
    except UnidentifiedImageError:
        return _unidentified(data)
    try:
        image.load()
    except (LimitError, UnsupportedError) as error:
        return error_outcome(error, len(data))
    except OSError as error:
        require(isinstance(error.__cause__, StreamError), f"not from us: {error!r}")
        return f"OSError: {error_outcome(error.__cause__, len(data))}"  # type: ignore[arg-type]
    require(image.copy().tobytes() == image.tobytes(), "a copy differs")
    require(image.info.keys() <= {"icc_profile", "exif", "text"}, "unknown metadata")
    return f"image, {image.mode}"


def _unidentified(data: bytes) -> str:
    """Look behind Pillow's back: it says the same for any exception while opening."""
    if not data.startswith(STILL_PREFIX):
        return "not ours"
    try:
        CoolChicImageFile(io.BytesIO(data))
    except SyntaxError as error:
        require(isinstance(error.__cause__, StreamError), f"not from us: {error.__cause__!r}")
        return f"SyntaxError: {error_outcome(error.__cause__, len(data))}"  # type: ignore[arg-type]
    raise FindingError("Pillow cannot open it but the plugin can")
