# SPDX-License-Identifier: BSD-3-Clause
"""Public functions: open a stream; decode a picture or a video, describe a stream in one call."""

from __future__ import annotations

from collections.abc import Generator

from numchic.info import StreamInfo
from numchic.opened import OpenedStream, Source
from numchic.picture import Picture
from numchic.schedule import Progress
from numchic_bitstream.limits import Limits


def open(  # noqa: A001 - as numchic.open, like PIL.Image.open
    source: Source, *, limits: Limits | None = None, check_integrity: bool = True
) -> OpenedStream:
    """Open a stream: read it, check its headers, and hold it to limits.

    Parameters
    ----------
    source, limits, check_integrity
        See :func:`decode`.

    Returns
    -------
    OpenedStream
        It has ``info``, ``metadata``, ``decode(index)`` and ``frames()``, and is a context manager.

    Raises
    ------
    StreamError, UnsupportedError, LimitError, UsageError, OSError
        See :func:`decode`; what only decoding notices is not raised here.

    Examples
    --------
    >>> with numchic.open("video.cool") as video:     # doctest: +SKIP
    ...     print(video.info.macs_per_pixel)
    ...     middle = video.decode(video.n_frames // 2)
    """
    return OpenedStream(source, limits, check_integrity)


def decode(
    source: Source,
    *,
    frame: int | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    check_integrity: bool = True,
) -> Picture:
    """Decode a still picture, or one frame of a video.

    Parameters
    ----------
    source : bytes, path or binary file
        A Cool-chic stream.
    frame : int, optional
        Display index of a frame, from 0. What it is predicted from is decoded as well, but nothing
        else. A stream of several frames needs it.
    limits : Limits, optional
        What the stream may cost; checked before anything is allocated.
    threads : int, optional
        Number of threads, by default that of the processors this process may use, but at most 4.
        The result does not depend on it.
    progress : callable, optional
        Called with the name of the stage ("latents" in samples, "rendering" in rows; they overlap),
        the work done and the total work of the stage; where several frames are decoded the stage is
        "frames". An exception it raises stops the decoding.
    check_integrity : bool
        Whether a stream that has or announces a trailer has to be what the trailer says: before
        anything is decoded, and latents and samples afterwards if all frames are decoded. Otherwise
        the trailer only gives the metadata, if it can be read. Streams without a trailer are
        decoded either way.

    Returns
    -------
    Picture
        It carries the metadata of the trailer.

    Raises
    ------
    StreamError
        The stream is malformed: :class:`TruncatedError` or :class:`CorruptError`; or it is not what
        its trailer says, or the trailer is damaged: :class:`IntegrityError`.
    UnsupportedError
        The stream, or the version of its trailer, is not known.
    LimitError
        The stream exceeds the limits.
    UsageError
        An argument makes no sense, or a frame of a video has to be chosen.
    OSError
        The source cannot be read.

    Notes
    -----
    Latents are exact. Samples are those of this project's documented float32 arithmetic, the same
    everywhere. Those of 4.x are equal to the official decoder's. Those of 5.0 rarely differ from
    them: by one level in stills; in a long video differences are carried on and may grow to two.
    """
    with open(source, limits=limits, check_integrity=check_integrity) as stream:
        return stream.decode(frame, threads=threads, progress=progress)


def decode_frames(
    source: Source,
    *,
    frames: slice | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    check_integrity: bool = True,
) -> Generator[Picture, None, None]:
    """Decode the frames of a video in display order, each as soon as it is final.

    Memory does not grow with the length of the video: of the frames decoded so far only those are
    kept that others will be predicted from. With several threads some frames are decoded ahead.

    Parameters
    ----------
    source, limits, threads, check_integrity
        See :func:`decode`. Latents and samples are compared with the trailer before the last
        frame is given, if all frames are decoded.
    frames : slice, optional
        Display indices of the frames wanted, from 0, such as ``slice(10, 20)``; with a positive
        step. Frames that these are predicted from are decoded as well, but not given.
    progress : callable, optional
        Called with "frames", the number of frames decoded and of those to decode, while a frame is
        waited for; where only one is decoded, as for :func:`decode`. An exception it raises stops
        the decoding.

    Returns
    -------
    generator of Picture
        Headers have been read and limits checked when this function returns; decoding starts with
        the first frame asked for, and ends when the generator is closed.

    Raises
    ------
    StreamError, UnsupportedError, LimitError, UsageError, OSError
        See :func:`decode`. Payloads are read when their frame is decoded.

    Examples
    --------
    >>> for picture in numchic.decode_frames("video.cool"):     # doctest: +SKIP
    ...     show(picture.planes)
    """
    with open(source, limits=limits, check_integrity=check_integrity) as stream:
        return stream.frames(frames, threads=threads, progress=progress)


def read_info(source: Source, *, limits: Limits | None = None) -> StreamInfo:
    """Describe a stream without decoding its latents.

    A trailer that is damaged or does not fit the stream is described too.

    Parameters
    ----------
    source : bytes, path or binary file
    limits : Limits, optional

    Returns
    -------
    StreamInfo

    Raises
    ------
    StreamError, LimitError, OSError
        See :func:`decode`.
    """
    with open(source, limits=limits, check_integrity=False) as stream:
        return stream.info
