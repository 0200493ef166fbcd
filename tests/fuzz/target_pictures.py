# SPDX-License-Identifier: BSD-3-Clause
"""Targets that decode pictures."""

from __future__ import annotations

import io
import zlib

from PIL import Image, UnidentifiedImageError

import numchic
from fuzz.outcome import LIMITS, error_outcome, require
from numchic.files.images import encode_image
from numchic.files.pillow_image import FORMAT, CoolChicImageFile
from numchic_bitstream import LimitError, NumchicError, StreamError, UnsupportedError


def decode(data: bytes) -> str:
    """Decode the first picture; one in sixteen twice, the second time with two threads."""
    try:
        picture = numchic.decode(data, frame=0, limits=LIMITS, threads=1)
    except NumchicError as error:
        return error_outcome(error, len(data))
    _require_sound(picture)
    if zlib.crc32(data) % 16 == 0:
        again = numchic.decode(data, frame=0, limits=LIMITS, threads=2)
        require(again.to_bytes() == picture.to_bytes(), "another picture the second time")
    if picture.metadata is not None and picture.data_type == "rgb":
        encode_image(picture, "png")
    return f"picture, {picture.data_type}, {picture.bitdepth}"


def video(data: bytes) -> str:
    """Decode all frames; one in eight twice, the second time with two threads or one by one."""
    pictures: list[numchic.Picture] = []
    outcome = ""
    try:
        pictures.extend(numchic.decode_frames(data, limits=LIMITS, threads=1))
    except NumchicError as error:
        outcome = error_outcome(error, len(data))
    for picture in pictures:
        _require_sound(picture)
    samples = [picture.to_bytes() for picture in pictures]
    if outcome:
        return f"{min(len(pictures), 2)} pictures, then {outcome}"
    number = zlib.crc32(data)
    if number % 16 == 0:
        again = numchic.decode_frames(data, limits=LIMITS, threads=2)
        require([p.to_bytes() for p in again] == samples, "other pictures the second time")
    elif number % 16 == 1:
        frame = number // 16 % len(samples)
        alone = numchic.decode(data, frame=frame, limits=LIMITS, threads=1)
        require(alone.to_bytes() == samples[frame], "a frame on its own is another picture")
    return f"{min(len(pictures), 4)} pictures, {pictures[0].data_type}, {pictures[0].bitdepth}"


def _require_sound(picture: numchic.Picture) -> None:
    height, width = picture.height, picture.width
    chroma = (height // 2, width // 2) if picture.data_type == "yuv420" else (height, width)
    shapes = [plane.shape for plane in picture.planes]
    require(shapes == [(height, width), chroma, chroma], f"planes of {shapes}")
    highest = max(int(plane.max()) for plane in picture.planes)
    require(highest < 1 << picture.bitdepth, f"sample {highest}")


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
    except UnidentifiedImageError as error:
        return "not ours" if error.__cause__ is None else _ours(error, len(data))
    try:
        image.load()
    except (LimitError, UnsupportedError) as error:
        return error_outcome(error, len(data))
    except OSError as error:
        return _ours(error, len(data))
    require(image.copy().tobytes() == image.tobytes(), "a copy differs")
    require(image.info.keys() <= {"icc_profile", "exif", "text"}, "unknown metadata")
    return f"image, {image.mode}"


def _ours(error: OSError, n_bytes: int) -> str:
    require(isinstance(error.__cause__, StreamError), f"not from us: {error!r}")
    return f"{type(error).__name__}: {error_outcome(error.__cause__, n_bytes)}"  # type: ignore[arg-type]
