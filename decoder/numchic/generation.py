# SPDX-License-Identifier: BSD-3-Clause
"""What every generation of the format gives to the decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from numchic.info import FrameInfo, TrailerInfo
from numchic.video import DecodedFrame, FrameDecoder
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata

Stream_contra = TypeVar("Stream_contra", contravariant=True)
Header_contra = TypeVar("Header_contra", contravariant=True)


class IntegrityCheck(Protocol):
    """Compares what is decoded with what was recorded when the stream was written."""

    def add(self, place: int, frame: DecodedFrame) -> None:
        """Take the next frame in display order; the last one brings the comparison."""


class Extras(NamedTuple):
    """What a trailer adds to a stream: metadata, and something that makes a check of the stream."""

    metadata: Metadata | None = None
    integrity: Callable[[Any], IntegrityCheck] | None = None


class Generation(Protocol[Stream_contra, Header_contra]):
    """One generation of the format; the modules ``generation`` of v5 and v4 are such."""

    def describe_frames(self, stream: Stream_contra, /) -> tuple[FrameInfo, ...]:
        """Collect the facts about all frames, in coding order."""

    def describe_header(self, header: Header_contra, /) -> Iterator[str]:
        """Yield lines about the architecture, for people."""

    def describe_trailer(
        self, stream: Stream_contra, data: bytes, limits: Limits, /
    ) -> TrailerInfo | None:
        """Describe what follows the stream, damaged or not."""

    def read_extras(
        self, stream: Stream_contra, data: bytes, limits: Limits, check: bool, /
    ) -> Extras:
        """Read the trailer, and compare the stream with it if ``check`` is true."""

    def frame_work(self, stream: Stream_contra, /) -> Iterator[int]:
        """Estimate the work of each frame, see :class:`numchic.Limits`."""

    def frame_memory(self, stream: Stream_contra, threads: int, /) -> int:
        """Bytes that the most expensive frame takes."""

    def frame_decoder(self, stream: Stream_contra, /) -> FrameDecoder:
        """Give the function that decodes one frame of a stream; imports the kernels."""

    def warmup_streams(self) -> tuple[bytes, ...]:
        """Give tiny streams whose decoding needs every kernel."""
