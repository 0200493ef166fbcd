# SPDX-License-Identifier: BSD-3-Clause
"""Generation 5.0 as :class:`numchic.generation.Generation` asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from numchic.generation import Extras
from numchic.v5 import work
from numchic.v5.info import describe_frames, describe_header, describe_trailer
from numchic.v5.integrity import IntegrityCheck
from numchic.v5.memory import frame_memory
from numchic.video import FrameDecoder
from numchic_bitstream.errors import NumchicError
from numchic_bitstream.limits import Limits
from numchic_bitstream.v5.stream import Stream
from numchic_bitstream.v5.trailer import read_trailer

__all__ = [
    "describe_frames",
    "describe_header",
    "describe_trailer",
    "frame_decoder",
    "frame_memory",
    "frame_work",
    "read_extras",
    "warmup_streams",
]


def read_extras(stream: Stream, data: bytes, limits: Limits, check: bool) -> Extras:
    """Read the trailer; what is wrong with it is an error only if ``check`` is true.

    Raises
    ------
    IntegrityError, CorruptError, UnsupportedError, LimitError
        See :func:`numchic_bitstream.read_trailer`.
    """
    try:
        trailer = read_trailer(data, stream, limits, check_stream=check)
    except NumchicError:
        if check:
            raise
        return Extras()
    if trailer is None:
        return Extras()
    return Extras(trailer.metadata, partial(IntegrityCheck, trailer=trailer) if check else None)


def frame_work(stream: Stream) -> Iterator[int]:
    """Estimate the work of each frame."""
    return (work.frame_work(frame) for frame in stream.frames)


def frame_decoder(stream: Stream) -> FrameDecoder:
    """Give the function that decodes one frame of a stream; imports the kernels."""
    from numchic.v5.frame import decode_frame

    return partial(decode_frame, stream)


def warmup_streams() -> tuple[bytes, ...]:
    """Give tiny streams whose decoding needs every kernel; making them compiles the encoder's."""
    from numchic.v5.warmup import tiny_header, tiny_video

    return (tiny_video(tiny_header()),)
