# SPDX-License-Identifier: BSD-3-Clause
"""Cool-chic pictures and videos as Pillow images; see :func:`numchic.register_pillow`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from PIL import Image, ImageFile, UnidentifiedImageError

from numchic.api import open as open_stream
from numchic.files.pillow_save import save
from numchic.opened import OpenedStream, read_source
from numchic.picture import Picture
from numchic_bitstream.errors import LimitError, NumchicError, StreamError, UnsupportedError
from numchic_bitstream.generations import detect_generation
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata

FORMAT = "COOLCHIC"


class PillowLimitError(LimitError, Image.DecompressionBombError):
    """A limit is exceeded, in the words of numchic and of Pillow."""


class PillowUnsupportedError(UnsupportedError, UnidentifiedImageError):
    """The plugin does not do that, in the words of numchic and of Pillow."""


class CoolChicImageFile(ImageFile.ImageFile):
    """A Cool-chic picture or video with RGB samples of 8 bits.

    Frames of a video are decoded when their pixels are asked for, and only the present one is kept;
    going on to the next frame decodes nothing twice. Metadata are in ``info``: "icc_profile",
    "exif" and, as a dictionary, "text".
    """

    format = FORMAT
    format_description = "Cool-chic picture"
    limits: ClassVar[Limits] = Limits()
    _stream: OpenedStream | None = None
    _damage: NumchicError | None = None  # noticed on opening, to be told on loading
    _frame = 0
    _loaded: int | None = None  # the frame whose pixels are there
    _following: Generator[Picture, None, None] | None = None  # the frames after it

    def _open(self) -> None:
        assert self.fp is not None
        head = self.fp.read(8)
        self.fp.seek(0)
        certain = _begins_like_5(head)
        try:
            with _pillow_errors(UnidentifiedImageError):
                data = read_source(self.fp, self.limits)
                certain = certain or detect_generation(data, self.limits) != "5.0"
                self._stream = stream = self._open_stream(data)
                _check_mode(stream)
        except (NumchicError, UnidentifiedImageError) as error:
            if certain:
                raise
            raise SyntaxError(str(error)) from error  # for Pillow: try other formats
        height, width = stream.img_size
        self._size = (width, height)
        self._mode = "RGB"
        self.tile = []
        if stream.metadata is not None:
            self.info.update(_info(stream.metadata))

    def _open_stream(self, data: bytes) -> OpenedStream:
        """Open what has readable headers, even if its trailer says that it is damaged."""
        try:
            return open_stream(data, limits=self.limits)
        except NumchicError as error:
            stream = open_stream(data, limits=self.limits, check_integrity=False)
            self._damage = error
            return stream

    @property
    def n_frames(self) -> int:
        """Number of frames; 1 for a still picture."""
        return 1 if self._stream is None else self._stream.n_frames

    @property
    def is_animated(self) -> bool:
        """Whether there are several frames."""
        return self.n_frames > 1

    def seek(self, frame: int) -> None:
        """Go to a frame of a video, in display order."""
        if self._seek_check(frame):
            self._frame = frame

    def tell(self) -> int:
        """Give the number of the present frame."""
        return self._frame

    def verify(self) -> None:
        """Raise an error if the stream is not what its trailer says."""
        self._tell_damage()
        super().verify()

    def load(self) -> Any:
        """Decode the present frame if that has not been done."""
        if self._stream is not None and self._loaded != self._frame:
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                self._tell_damage()
            with _pillow_errors(OSError):
                samples = self._decode(self._stream).to_rgb()
            self.im = Image.fromarray(samples).im
            self._loaded = self._frame
            self.readonly = 0
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None  # all of it has been read
            if not self.is_animated:
                self._stream = None
        return super().load()

    def _decode(self, stream: OpenedStream) -> Picture:
        following, self._following = self._following, None
        if following is None or self._frame - 1 != self._loaded:
            # With several threads frames would be decoded ahead, though nobody may ask for them.
            threads = 1 if stream.n_frames > 1 else None
            following = stream.frames(slice(self._frame, None), threads=threads)
        picture = next(following)
        self._following = following
        return picture

    def _tell_damage(self) -> None:
        with _pillow_errors(OSError):
            if self._damage is not None:
                raise self._damage

    def close(self) -> None:
        """Close the file and forget what was read from it."""
        self._stream = self._following = None
        super().close()


@contextmanager
def _pillow_errors(malformed: type[OSError]) -> Iterator[None]:
    """Raise what users of Pillow expect."""
    try:
        yield
    except StreamError as error:
        raise malformed(f"damaged Cool-chic stream: {error}") from error
    except LimitError as error:
        raise PillowLimitError(*error.args) from error
    except UnsupportedError as error:
        raise PillowUnsupportedError(*error.args) from error


def _check_mode(stream: OpenedStream) -> None:
    if stream.data_type != "rgb" or stream.bitdepth != 8:
        raise UnsupportedError(
            "Pillow has no mode for this picture; use numchic.decode",
            "frame_data_type",
            None,
            f"{stream.data_type}, {stream.bitdepth} bits",
            "rgb, 8 bits",
        )


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
    # Of 4.x only the first byte is always the same; opening looks at the structure.
    return prefix[:1] == b"\6" or _begins_like_5(prefix)


def _begins_like_5(prefix: bytes) -> bool:
    """Whether the numbers of frames and the size of the video header of 5.0 (2.1) fit together."""
    head = int.from_bytes(prefix[:8].ljust(8, b"\0")) >> 12
    n_frames, n_intras, n_p_frames = head >> 40, head >> 28 & 4095, head >> 16 & 4095
    n_positions = n_intras + n_p_frames
    n_bytes_header = (52 + 12 * n_positions + 7) // 8
    return 1 <= n_intras <= n_positions <= n_frames and head & 0xFFFF == n_bytes_header


def register(limits: Limits) -> None:
    """Register the plugin; ``limits`` hold for all pictures opened from now on."""
    CoolChicImageFile.limits = limits
    Image.register_open(FORMAT, CoolChicImageFile, _accept)
    Image.register_save(FORMAT, save)
    Image.register_extension(FORMAT, ".cool")
    Image.register_mime(FORMAT, "image/x-coolchic")
