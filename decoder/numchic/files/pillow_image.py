# SPDX-License-Identifier: BSD-3-Clause
"""Cool-chic pictures as Pillow images; see :func:`numchic.register_pillow`."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image, ImageFile

from numchic.api import open as open_stream
from numchic.opened import OpenedStream
from numchic_bitstream.errors import StreamError, UnsupportedError
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata

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
    _stream: OpenedStream | None = None

    def _open(self) -> None:
        assert self.fp is not None
        try:
            stream = open_stream(self.fp, limits=self.limits)
        except StreamError as error:
            raise SyntaxError(str(error)) from error
        if stream.n_frames > 1:
            raise UnsupportedError("a video", "n_frames", None, stream.n_frames, 1)
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
        self._stream = stream
        self.tile = []
        if stream.metadata is not None:
            self.info.update(_info(stream.metadata))

    def load(self) -> Any:
        """Decode the picture if that has not been done."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                samples = stream.decode().to_rgb()
            except StreamError as error:
                raise OSError(str(error)) from error
            self.im = Image.fromarray(samples).im
        return super().load()

    def close(self) -> None:
        """Close the file and forget what was read from it."""
        self._stream = None
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
