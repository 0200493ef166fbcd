# SPDX-License-Identifier: BSD-3-Clause
"""Generations 4.0 to 4.2 as :class:`numchic.generation.Generation` asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from numchic.generation import Extras
from numchic.info import TrailerInfo
from numchic.v4 import work
from numchic.v4.info import describe_frames, describe_header
from numchic.v4.memory import frame_memory
from numchic.v4.warmup import warmup_streams
from numchic.video import FrameDecoder
from numchic_bitstream.limits import Limits
from numchic_bitstream.v4.stream import Stream

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


def describe_trailer(_stream: Stream, _data: bytes, _limits: Limits) -> TrailerInfo | None:
    """Describe nothing: streams of 4.x have no trailer."""
    return None


def read_extras(_stream: Stream, _data: bytes, _limits: Limits, _check: bool) -> Extras:
    """Read nothing."""
    return Extras()


def frame_work(stream: Stream) -> Iterator[int]:
    """Estimate the work of each frame."""
    return (work.frame_work(frame.header) for frame in stream.frames)


def frame_decoder(stream: Stream) -> FrameDecoder:
    """Give the function that decodes one frame of a stream; imports the kernels."""
    from numchic.v4.frame import decode_frame

    return partial(decode_frame, stream)
