# SPDX-License-Identifier: BSD-3-Clause
"""Frames of videos to encode, read when they are asked for (video-training, section 2).

What cannot be encoded is refused when a video is opened: every frame that was asked for is read
once, which takes no time beside an encode.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self, TypeVar, cast

import numpy as np
from PIL import Image

from numchic.files.output import has_number, numbered, numbers_of
from numchic.picture import Picture
from numchic_bitstream import Metadata, UsageError
from numchic_bitstream.arguments import as_integer
from numchic_trainer.pictures import check_unsaid, kind_of, name_of, read_picture, seekable
from numchic_trainer.planar import (
    Y4M_MAGIC,
    Layout,
    YuvType,
    next_y4m_frame,
    read_frame,
    read_y4m_header,
    yuv_layout,
)
from numchic_trainer.source import Source, to_picture
from numchic_trainer.video.structure import MAX_FRAMES

_T = TypeVar("_T")


class FrameReader(ABC):
    """Frames of a video, read when they are asked for, in any order and again and again.

    It is a context manager; leaving the block removes temporary files. Copies in other processes of
    the machine, made by pickling, read the same files.

    Attributes
    ----------
    metadata : Metadata or None
        What is known beside the samples: frame rate and description of samples (docs/trailer.md,
        3.4), or what the first picture says.
    """

    def __init__(self, metadata: Metadata | None) -> None:
        self.metadata = metadata

    @property
    def n_frames(self) -> int:
        """Number of frames, 1 .. 4095."""
        return len(self)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Picture: ...

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027
        """Remove what has been kept in temporary files; frames cannot be read any more."""


def open_video(
    source: Path | str | BinaryIO,
    *,
    frames: slice | None = None,
    size: tuple[int, int] | None = None,
    data_type: YuvType | None = None,
    bitdepth: int | None = None,
) -> FrameReader:
    """Open a video to encode.

    - ``.y4m``: 4:2:0 or 4:4:4, 8 to 16 bits. Frame rate, aspect, siting of chroma samples and
      extensions become metadata. Frames of two fields stay what they are.
    - ``.yuv``: planar frames; see :func:`numchic_trainer.read_picture` for what its name tells.
    - a name with a place for a number, ``frame-%04d.png``: pictures of any kind that
      :func:`numchic_trainer.read_picture` reads. They are counted from the lowest number that is
      there; none may be missing. Metadata are those of the first picture.
    - every other picture is a video of one frame.

    Parameters
    ----------
    source : Path, str or binary file
        Of a binary file, such as standard input, and of a pipe, Y4M is kept in a temporary file up
        to the last frame that is asked for; everything else there is one picture.
    frames : slice, optional
        Frames in a row, from 0; all by default.
    size, data_type, bitdepth
        What a ``.yuv`` file does not say itself.

    Raises
    ------
    UsageError
        It is no video that the format can hold, it ends within a frame, a picture is missing, or it
        has no such frames.
    OSError
        It cannot be read.
    """
    asked = _asked(frames)
    unsaid = _Unsaid(size, data_type, bitdepth)
    if not isinstance(source, str | os.PathLike):
        return _open_stream(source, unsaid, asked)
    path = Path(source)
    read = partial(read_picture, **unsaid._asdict())
    if _is_pattern(path):
        return _checked(_PictureFrames(_numbered(path, asked), read))
    if not path.is_file():
        with path.open("rb") as file:
            return _open_stream(file, unsaid, asked)
    planar = _scan(path, unsaid, asked.limit)
    if planar is None:
        return _checked(_PictureFrames(asked.of([path]), read))
    wanted = planar._replace(places=asked.of(planar.places))
    return _checked(_PlanarFrames(path, path.name, wanted))


def is_video(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    data_type: YuvType | None = None,
    bitdepth: int | None = None,
) -> bool:
    """Whether a file has several frames or none, or a name stands for numbered pictures.

    Of what is not a file, such as a pipe, that is not known before it is read: :func:`open_video`
    tells, for which pictures are videos of one frame.

    Raises
    ------
    UsageError
        A ``.yuv`` or ``.y4m`` file does not say how its frames lie.
    OSError
        The file cannot be read.
    """
    if _is_pattern(path):
        return True
    planar = _scan(path, _Unsaid(size, data_type, bitdepth), 2) if path.is_file() else None
    return planar is not None and len(planar.places) != 1


def to_frames(
    source: FrameReader | BinaryIO | Source | Iterable[Source], bitdepth: int = 8
) -> FrameReader:
    """Frames of what users have.

    Parameters
    ----------
    source : FrameReader, path, binary file, pictures, or uint8 or uint16 of shape (N, H, W, 3)
        Pictures are what :func:`numchic_trainer.encode` takes. A sequence of them is kept as it is;
        any other iterable is gone through once and kept in a temporary file.
    bitdepth : int
        Arrays have samples of this many bits, 8 .. 16.

    Raises
    ------
    UsageError, OSError
        See :func:`open_video`.
    """
    if isinstance(source, FrameReader):
        return source
    if isinstance(source, str | os.PathLike):
        return open_video(Path(source))
    if hasattr(source, "read"):
        return open_video(cast("BinaryIO", source))
    read = partial(to_picture, bitdepth=bitdepth)
    if isinstance(source, Picture | Image.Image) or getattr(source, "ndim", 4) != 4:
        return _checked(_PictureFrames([source], read))
    if isinstance(source, Sequence | np.ndarray):
        return _checked(_PictureFrames(list(source), read))
    if not isinstance(source, Iterable):
        allowed = "a path, pictures, an array of shape (N, H, W, 3)"
        raise UsageError("not a video", "frames", None, type(source).__name__, allowed)
    return _kept(map(read, source))


class _Unsaid(NamedTuple):
    """What a bare file does not say itself."""

    size: tuple[int, int] | None
    data_type: YuvType | None
    bitdepth: int | None


class _Asked(NamedTuple):
    """Frames in a row that are asked for; up to the last one if there is no ``stop``."""

    first: int
    stop: int | None

    @property
    def limit(self) -> int:
        """How many frames of a file are enough to see what there is to say of it."""
        return self.first + MAX_FRAMES + 1 if self.stop is None else self.stop

    def of(self, frames: Sequence[_T]) -> Sequence[_T]:
        """Those of all frames."""
        stop = len(frames) if self.stop is None else self.stop
        if not frames:
            raise UsageError("there are no frames", "frames")
        if not self.first < stop <= len(frames):
            found = f"{self.first}:{stop}"
            raise UsageError("no such frames", "frames", None, found, f"within 0:{len(frames)}")
        return frames[self.first : stop]

    def through(self, frames: Iterable[Picture]) -> Iterator[Picture]:
        """Pass them on, and take no frame after the last of them."""
        n_frames = 0
        for n_frames, picture in enumerate(frames, 1):
            if n_frames > self.first:
                yield picture
            if n_frames == self.stop:
                return
        self.of(range(n_frames))


def _asked(frames: slice | None) -> _Asked:
    frames = slice(None) if frames is None else frames
    if not isinstance(frames, slice) or frames.step not in (None, 1):
        raise UsageError("frames in a row are needed", "frames", None, frames, "A:B")
    first = 0 if frames.start is None else as_integer(frames.start, "frames", 0)
    stop = None if frames.stop is None else as_integer(frames.stop, "frames", first + 1)
    return _Asked(first, stop)


class _Planar(NamedTuple):
    """Where and how frames lie in a file."""

    layout: Layout
    rounded_up: bool
    places: Sequence[int]
    metadata: Metadata | None


class _PlanarFrames(FrameReader):
    """Frames of one file, which is opened for each of them."""

    def __init__(self, path: Path, name: str, planar: _Planar) -> None:
        super().__init__(planar.metadata)
        self._path = path
        self._name = name
        self._planar = planar

    def __len__(self) -> int:
        return len(self._planar.places)

    def __getitem__(self, index: int) -> Picture:
        layout, rounded_up, places, metadata = self._planar
        place = places[index]
        with self._path.open("rb") as file:
            file.seek(place)
            return read_frame(file, self._name, layout, rounded_up=rounded_up, metadata=metadata)


class _KeptFrames(_PlanarFrames):
    """Frames in a temporary file, which goes with the reader; copies of the reader leave it."""

    def __init__(self, path: Path, name: str, planar: _Planar) -> None:
        super().__init__(path, name, planar)
        self._remove = weakref.finalize(self, path.unlink, missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return _PlanarFrames, (self._path, self._name, self._planar)

    def close(self) -> None:
        self._remove()


class _PictureFrames(FrameReader):
    """Pictures one by one."""

    def __init__(self, sources: Sequence[Any], read: Callable[[Any], Picture]) -> None:
        self._sources = sources
        self._read = read
        super().__init__(self[0].metadata if sources else None)

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Picture:
        return self._read(self._sources[index])


def _is_pattern(path: Path) -> bool:
    return has_number(path.name) and not path.exists()


def _numbered(pattern: Path, asked: _Asked) -> list[Path]:
    """Files of numbered pictures."""
    numbers = numbers_of(str(pattern))
    if not numbers:
        raise UsageError("there are no such pictures", "frames", None, pattern)
    there = frozenset(numbers)
    wanted = asked.of(range(numbers[0], numbers[-1] + 1))
    missing = next((number for number in wanted if number not in there), None)
    if missing is not None:
        first, last = (numbered(str(pattern), wanted[i]).name for i in (0, -1))
        raise UsageError(
            "a picture is missing", numbered(str(pattern), missing).name, None, None,
            f"all from {first} to {last}",
        )  # fmt: skip
    return [numbered(str(pattern), number) for number in wanted]


def _scan(path: Path, unsaid: _Unsaid, limit: int) -> _Planar | None:
    """Find up to ``limit`` frames of a Y4M file, or all of a bare one; None for other files.

    The last one may be cut off.
    """
    with path.open("rb") as file:
        kind = kind_of(file, path.suffix.lower(), unsaid.size)
        if kind == ".yuv":
            return _scan_yuv(file, yuv_layout(path.name, *unsaid))
        if kind == ".y4m":
            check_unsaid(kind, *unsaid)
            return _scan_y4m(file, path.name, limit)
    return None


def _scan_yuv(file: BinaryIO, layout: Layout) -> _Planar:
    up, down = (layout.n_bytes(rounded_up=rounded_up) for rounded_up in (True, False))
    n_bytes = file.seek(0, os.SEEK_END)
    rounded_up = n_bytes % up == 0 or n_bytes % down != 0
    return _Planar(layout, rounded_up, range(0, n_bytes, up if rounded_up else down), None)


def _scan_y4m(file: BinaryIO, name: str, limit: int) -> _Planar:
    layout, metadata = read_y4m_header(file, name)
    places: list[int] = []
    while len(places) < limit and next_y4m_frame(file, name):
        places.append(file.tell())
        file.seek(layout.n_bytes(rounded_up=True), os.SEEK_CUR)
    return _Planar(layout, True, places, metadata)


def _open_stream(file: BinaryIO, unsaid: _Unsaid, asked: _Asked) -> FrameReader:
    name = name_of(file)
    magic = file.read(len(Y4M_MAGIC))
    if magic == Y4M_MAGIC:
        check_unsaid(".y4m", *unsaid)
        return _kept(asked.through(_y4m_pictures(file, name, magic)))
    picture = read_picture(seekable(file, name, magic), **unsaid._asdict())
    return _checked(_PictureFrames(asked.of([picture]), to_picture))


def _y4m_pictures(file: BinaryIO, name: str, magic: bytes) -> Iterator[Picture]:
    layout, metadata = read_y4m_header(file, name, magic)
    while next_y4m_frame(file, name):
        yield read_frame(file, name, layout, rounded_up=True, metadata=metadata)


def _kept(pictures: Iterable[Picture]) -> FrameReader:
    """Keep pictures that come one after the other in a temporary file."""
    alike = _alike(pictures)
    first = next(alike)
    layout = _layout_of(first)
    n_bytes = layout.n_bytes(rounded_up=False)
    handle, name = tempfile.mkstemp(prefix="numchic-", suffix=".frames")
    try:
        with os.fdopen(handle, "wb") as file:
            for picture in chain([first], alike):
                for plane in picture.planes:
                    file.write(plane.astype(layout.sample).tobytes())
            end = file.tell()
    except BaseException:
        Path(name).unlink()
        raise
    planar = _Planar(layout, False, range(0, end, n_bytes), first.metadata)
    return _KeptFrames(Path(name), "frames", planar)


def _checked(reader: FrameReader) -> FrameReader:
    _check_number(len(reader))  # at once, since reading them all may take minutes
    for _ in _alike(reader):
        pass
    return reader


def _alike(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Pass frames on; raise an error if they are no video that the format can hold."""
    first = None
    for index, picture in enumerate(pictures):
        _check_number(index + 1)
        if first is None:
            first = picture
        else:
            _check_follows(first, picture, index)
        yield picture
    if first is None:
        raise UsageError("there are no frames", "frames")


def _check_number(n_frames: int) -> None:
    if n_frames > MAX_FRAMES:
        raise UsageError(
            "too many frames: choose some", "frames", None, f"more than {MAX_FRAMES}",
            f"1 .. {MAX_FRAMES}",
        )  # fmt: skip


def _check_follows(first: Picture, picture: Picture, index: int) -> None:
    if first.data_type == "yuv420" and (first.height % 2 or first.width % 2):
        raise UsageError(
            "a 4:2:0 video has an even height and width", "frames", None,
            f"{first.width}x{first.height}", "one frame of this size",
        )  # fmt: skip
    field = f"frames[{index}]"
    found, allowed = _layout_of(picture), _layout_of(first)
    if found != allowed:
        raise UsageError("a frame differs from the first", field, None, found, allowed)
    if _icc(picture) != _icc(first):
        raise UsageError("a frame has another colour profile than the first", field)


def _layout_of(picture: Picture) -> Layout:
    return Layout(picture.height, picture.width, picture.data_type, picture.bitdepth)


def _icc(picture: Picture) -> bytes | None:
    return picture.metadata.icc if picture.metadata is not None else None
