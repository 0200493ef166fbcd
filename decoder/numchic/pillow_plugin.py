# SPDX-License-Identifier: BSD-3-Clause
"""Opt-in plugin with which Pillow opens Cool-chic pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numchic.api import decode, read_source
from numchic_bitstream.errors import UnsupportedError
from numchic_bitstream.limits import Limits
from numchic_bitstream.stream import read_stream

if TYPE_CHECKING:
    pass

FORMAT = "COOLCHIC"
# The video header of every still picture (section 1.2); the format has no other mark.
STILL_PREFIX = bytes.fromhex("0010010000008000")


def register_pillow(*, limits: Limits | None = None) -> None:
    """Make ``PIL.Image.open`` read Cool-chic 5.0 stills with 8-bit RGB samples.

    Opening reads size and mode from the headers; the picture is decoded when its pixels are first
    needed. Pillow's own limit on the number of pixels applies as for any other format. Pictures
    that Pillow has no mode for (YUV, whose conversion the stream does not define, and more than 8
    bits) raise :class:`UnsupportedError`; use :func:`numchic.decode` for them.

    Parameters
    ----------
    limits : Limits, optional
        Limits for all pictures opened this way.

    Examples
    --------
    >>> numchic.register_pillow()                       # doctest: +SKIP
    >>> Image.open("picture.cool").resize((64, 64))     # doctest: +SKIP
    """
    from PIL import Image, ImageFile

    class CoolChicImageFile(ImageFile.ImageFile):
        """A Cool-chic picture; see :func:`register_pillow`."""

        format = FORMAT
        format_description = "Cool-chic 5.0 picture"

        def _open(self) -> None:
            file = self.fp
            if file is None:
                raise SyntaxError("no file")
            self._data: bytes | None = read_source(file, limits or Limits())
            stream = read_stream(self._data, limits)
            header = stream.frames[0].header
            if header.frame_data_type != "rgb" or header.bitdepth != 8:
                raise UnsupportedError(
                    "Pillow has no mode for this picture",
                    "frame_data_type",
                    None,
                    f"{header.frame_data_type}, {header.bitdepth} bits",
                    "rgb, 8 bits",
                )
            height, width = stream.img_size
            self._size = (width, height)
            self._mode = "RGB"
            self.tile = []

        def load(self) -> Any:
            if self._data is not None:
                samples = decode(self._data, limits=limits).to_rgb()
                self.im = Image.fromarray(samples).im
                self._data = None
                if self.fp is not None and self._exclusive_fp:
                    self.fp.close()
                self.fp = None
            return super().load()

    Image.register_open(FORMAT, CoolChicImageFile, _accept)
    Image.register_extension(FORMAT, ".cool")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(STILL_PREFIX)
