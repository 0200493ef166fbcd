# SPDX-License-Identifier: BSD-3-Clause
"""The decoded picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.errors import UsageError
from numchic_bitstream.metadata import Metadata
from numchic_bitstream.structure import FrameDataType

_PIECE_ROWS = 64

Samples = NDArray[np.uint8 | np.uint16]


def empty_planes(
    img_size: tuple[int, int], data_type: FrameDataType, bitdepth: int
) -> tuple[Samples, Samples, Samples]:
    """Three arrays for the samples of a frame; in ``yuv420`` the last two are half as large."""
    height, width = img_size
    chroma = (height // 2, width // 2) if data_type == "yuv420" else img_size
    dtype = np.uint8 if bitdepth == 8 else np.uint16
    return np.empty(img_size, dtype), np.empty(chroma, dtype), np.empty(chroma, dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """One decoded frame.

    Attributes
    ----------
    planes : tuple of three uint8[h, w] or uint16[h, w]
        R, G, B or Y, U, V, read-only; ``uint8`` for 8 bits. In ``yuv420`` U and V have
        floor(H / 2) x floor(W / 2) samples.
    data_type : {"rgb", "yuv420", "yuv444"}
        Which colour matrix and range YUV samples use is not part of the stream.
    bitdepth : int
        8 .. 16; samples lie in 0 .. 2**bitdepth - 1.
    metadata : Metadata or None
        Colour profile, Exif data and texts, if there are any.
    """

    planes: tuple[Samples, Samples, Samples]
    data_type: FrameDataType
    bitdepth: int
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        red, green, blue = (plane.view() for plane in self.planes)
        for view in (red, green, blue):
            view.flags.writeable = False
        object.__setattr__(self, "planes", (red, green, blue))

    def __reduce__(self) -> tuple[Any, ...]:
        return Picture, (self.planes, self.data_type, self.bitdepth, self.metadata)

    def __repr__(self) -> str:
        size = f"{self.width}x{self.height}"
        return f"<{type(self).__name__} {size}, {self.data_type}, {self.bitdepth} bits>"

    def _repr_png_(self) -> bytes | None:
        """PNG of the 8 highest bits, for notebooks; None for YUV, whose colours are not known."""
        if self.data_type != "rgb":
            return None
        from numchic.files.images import encode_image

        shift = self.bitdepth - 8
        red, green, blue = ((plane >> shift).astype(np.uint8) for plane in self.planes)
        return encode_image(Picture((red, green, blue), "rgb", 8, self.metadata), "png")

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.planes[0].shape[1])

    def to_rgb(self) -> Samples:
        """Return the samples of an RGB picture, shape (H, W, 3).

        Raises
        ------
        UsageError
            The picture is YUV: the stream does not say how to convert it.
        """
        if self.data_type != "rgb":
            raise UsageError(
                "the stream does not say how to convert YUV to RGB", "data_type", None,
                self.data_type, "rgb",
            )  # fmt: skip
        return np.stack(self.planes, axis=-1)

    def to_bytes(self) -> bytes:
        """Raw samples: interleaved rows for RGB, one plane after the other for YUV.

        Above 8 bits a sample takes two bytes, little-endian.
        """
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield what :meth:`to_bytes` returns, some rows at a time."""
        kind = self.planes[0].dtype.newbyteorder("<")
        rgb = self.data_type == "rgb"
        for planes in [self.planes] if rgb else [[plane] for plane in self.planes]:
            for y in range(0, planes[0].shape[0], _PIECE_ROWS):
                rows = np.stack([plane[y : y + _PIECE_ROWS] for plane in planes], axis=-1)
                yield rows.astype(kind, copy=False).tobytes()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Samples as an array of shape (H, W, 3), for pictures without subsampling."""
        if self.data_type == "yuv420":
            raise UsageError("the planes of a yuv420 picture differ in size; use .planes")
        if copy is False:
            raise ValueError("the planes are separate arrays: a copy is needed")
        return np.stack(self.planes, axis=-1).astype(dtype or self.planes[0].dtype, copy=False)
