# SPDX-License-Identifier: BSD-3-Clause
"""The decoded picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.errors import UsageError
from numchic_bitstream.headers import FrameDataType

Samples = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, eq=False)
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
    """

    planes: tuple[Samples, Samples, Samples]
    data_type: FrameDataType
    bitdepth: int

    def __post_init__(self) -> None:
        red, green, blue = (plane.view() for plane in self.planes)
        for view in (red, green, blue):
            view.flags.writeable = False
        object.__setattr__(self, "planes", (red, green, blue))

    def __reduce__(self) -> tuple[Any, ...]:
        return Picture, (self.planes, self.data_type, self.bitdepth)

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
        kind = self.planes[0].dtype.newbyteorder("<")
        if self.data_type == "rgb":
            return self.to_rgb().astype(kind).tobytes()
        return b"".join(plane.astype(kind).tobytes() for plane in self.planes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Samples as an array of shape (H, W, 3), for pictures without subsampling."""
        if self.data_type == "yuv420":
            raise UsageError("the planes of a yuv420 picture differ in size; use .planes")
        if copy is False:
            raise ValueError("the planes are separate arrays: a copy is needed")
        return np.stack(self.planes, axis=-1).astype(dtype or self.planes[0].dtype, copy=False)
