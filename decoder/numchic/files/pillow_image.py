# SPDX-License-Identifier: BSD-3-Clause
"""Cool-chic pictures as Pillow images; see :func:`numchic.register_pillow`."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image, ImageFile

from numchic.api import decode, read_source
from numchic_bitstream.errors import StreamError, UnsupportedError
from numchic_bitstream.generations import read_any
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata
from numchic_bitstream.v5.stream import Stream
from numchic_bitstream.v5.trailer import read_trailer

FORMAT = "COOLCHIC"
# The video header of every still picture of 5.0 (section 1.2); the format has no other mark.
STILL_PREFIX = bytes.fromhex("0010010000008000")


class CoolChicImageFile(ImageFile.ImageFile):
    """A Cool-chic picture.

    As with Pillow's own formats a malformed stream is an ``UnidentifiedImageError`` when it is
    noticed on opening and an ``OSError`` when on loading. Metadata are in ``info``: "icc_profile",
    "exif" and, as a dictionary, "text".
    """

    format = FORMAT
    format_description = "Cool-chic picture"
    limits: ClassVar[Limits] = Limits()
    _data: bytes | None = None

    def _open(self) -> None:
        assert self.fp is not None
        data = read_source(self.fp, self.limits)
        try:
            stream = read_any(data, self.limits)
            trailer = None
            if isinstance(stream, Stream):
                trailer = read_trailer(data, stream, self.limits)
        except StreamError as error:
            raise SyntaxError(str(error)) from error
        if len(stream.places) > 1:
            raise UnsupportedError("a video", "n_frames", None, len(stream.places), 1)
        if stream.data_type != "rgb" or stream.bitdepth != 8:
            raise UnsupportedError(
                "Pillow has no mode for this picture",
                "frame_data_type",
                None,
                f"{stream.data_type}, {stream.bitdepth} bits",
                "rgb, 8 bits",
            )
        height, width = stream.img_size
        self._size = (width, height)
        self._mode = "RGB"
        self._data = data
        self.tile = []
        if trailer is not None and trailer.metadata is not None:
            self.info.update(_info(trailer.metadata))

    def load(self) -> Any:
        """Decode the picture if that has not been done."""
        if self._data is not None:
            data, self._data = self._data, None
            try:
                samples = decode(data, limits=self.limits).to_rgb()
            except StreamError as error:
                raise OSError(str(error)) from error
            self.im = Image.fromarray(samples).im
        return super().load()

    def close(self) -> None:
        """Close the file and forget what was read from it."""
        self._data = None
        super().close()


def _info(metadata: Metadata) -> dict[str, Any]:
    """Metadata as Pillow's own formats have them."""
    info: dict[str, Any] = {}
    if metadata.icc is not None:
        info["icc_profile"] = metadata.icc
    if metadata.exif is not None:
        info["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.text:
        # Not among the other keys, some of which Pillow would take for what they are not.
        info["text"] = dict(metadata.text)
    return info


def _accept(prefix: bytes) -> bool:
    # Of 4.x only the first byte is always the same; reading looks at the structure.
    return prefix.startswith((STILL_PREFIX, b"\6"))


def register(limits: Limits) -> None:
    """Register the plugin; ``limits`` hold for all pictures opened from now on."""
    CoolChicImageFile.limits = limits
    Image.register_open(FORMAT, CoolChicImageFile, _accept)
    Image.register_extension(FORMAT, ".cool")
    Image.register_mime(FORMAT, "image/x-coolchic")
