# SPDX-License-Identifier: BSD-3-Clause
"""What can be encoded: pictures, files, Pillow images, arrays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from numchic.picture import Picture, Samples
from numchic_bitstream import UsageError
from numchic_trainer.pictures import convert_image, read_picture
from numchic_trainer.planar import check_size
from numchic_trainer.settings import Setting, number, shown

Source = Picture | os.PathLike[str] | str | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""What :func:`numchic_trainer.encode` takes."""

_BITDEPTH = Setting(number(int, 8, 16), "Bits of a sample.")


def to_picture(image: Source, bitdepth: int = 8) -> Picture:
    """Picture of what users have.

    Parameters
    ----------
    image : Picture, path, Pillow image, or uint8 or uint16 of shape (H, W, 3)
    bitdepth : int
        An array has samples of this many bits, 8 .. 16.

    Raises
    ------
    UsageError
        It is something else, or a picture that the format cannot hold.
    OSError
        The file cannot be read.
    """
    bitdepth = _BITDEPTH.check("bitdepth", bitdepth)
    if isinstance(image, str | os.PathLike):
        return read_picture(Path(image))
    if isinstance(image, Image.Image):
        return convert_image(image, "image")
    if isinstance(image, np.ndarray):
        image = _picture_of_array(image, bitdepth)
    if not isinstance(image, Picture):
        raise UsageError(
            "not a picture", "image", None, type(image).__name__,
            "a Picture, a path, a Pillow image, an array",
        )  # fmt: skip
    _check_planes(image)
    return image


def _picture_of_array(image: NDArray[np.uint8] | NDArray[np.uint16], bitdepth: int) -> Picture:
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(
            "not an RGB picture", "image", None, f"{image.dtype} of shape {image.shape}",
            "uint8 or uint16 of shape (H, W, 3)",
        )  # fmt: skip
    _check_largest(image, bitdepth)
    kind = np.uint8 if bitdepth == 8 else np.uint16
    planes: list[Samples] = [image[..., c].astype(kind) for c in range(3)]
    return Picture((planes[0], planes[1], planes[2]), "rgb", bitdepth)


def _check_largest(samples: Samples, bitdepth: int) -> None:
    largest, maximum = int(samples.max(initial=0)), (1 << bitdepth) - 1
    if largest > maximum:
        raise UsageError("a sample is too large", "image", None, largest, f"0 .. {maximum}")


def _check_planes(picture: Picture) -> None:
    """Refuse planes that do not fit together, or have a size that the format does not."""
    form = (picture.data_type, picture.bitdepth)
    if picture.data_type not in ("rgb", "yuv420", "yuv444") or picture.bitdepth not in range(8, 17):
        raise UsageError("not a picture", "image", None, shown(form), "data type and bit depth")
    height, width = picture.planes[0].shape
    check_size("image", height, width)
    part = 2 if picture.data_type == "yuv420" else 1
    shapes = [(height, width)] + [(height // part, width // part)] * 2
    kind = np.uint8 if picture.bitdepth == 8 else np.uint16
    for plane, shape in zip(picture.planes, shapes, strict=True):
        if plane.shape != shape or plane.dtype != kind:
            raise UsageError(
                "not a plane of such a picture", "image", None,
                f"{plane.dtype} of shape {plane.shape}", f"{np.dtype(kind)} of shape {shape}",
            )  # fmt: skip
        _check_largest(plane, picture.bitdepth)
