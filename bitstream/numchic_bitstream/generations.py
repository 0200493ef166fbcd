# SPDX-License-Identifier: BSD-3-Clause
"""Streams of any generation.

Cool-chic 5.0 is read and written in ``numchic_bitstream.v5``; the older generations, which are
another format, are read in ``numchic_bitstream.v4``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from numchic_bitstream.bits import Entry
from numchic_bitstream.errors import UnsupportedError
from numchic_bitstream.limits import Limits
from numchic_bitstream.older import name_of_older
from numchic_bitstream.structure import CodedFrame, FrameDataType
from numchic_bitstream.v5.stream import read_stream

_FIRST_BYTE_OF_4 = b"\6"  # the size of the header


class Coded(Protocol):
    """What the parsed streams of all generations have."""

    @property
    def generation(self) -> str:
        """Name of the generation, such as "5.0"."""

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width) of every frame."""

    @property
    def data_type(self) -> FrameDataType:
        """Kind of the samples."""

    @property
    def bitdepth(self) -> int:
        """Bits per sample."""

    @property
    def n_bytes(self) -> int:
        """Size without trailing bytes."""

    @property
    def places(self) -> tuple[CodedFrame, ...]:
        """All frames in coding order; their display indices are 0 .. n - 1."""


def detect_generation(data: bytes, limits: Limits | None = None) -> str:
    """Tell the generation of a stream; "5.0" for what looks like none of them.

    Returns
    -------
    {"5.0", "4.2", "4.1", "4.0", "3.x", "2.0"}
    """
    return name_of_older(data) or _detect(data, limits) or "5.0"


def _detect(data: bytes, limits: Limits | None) -> str | None:
    """Name of a generation that can be read; None for a damaged 4.x."""
    # Most streams of 5.0 begin otherwise, and need not load the modules of 4.x.
    if data[:1] != _FIRST_BYTE_OF_4:
        return "5.0"
    from numchic_bitstream import v4

    return v4.detect_generation(data, limits)


def read_any(
    data: bytes,
    limits: Limits | None = None,
    *,
    listener: Callable[[str, tuple[Entry, ...]], None] | None = None,
) -> Coded:
    """Read a stream of any generation; see :func:`numchic_bitstream.read_stream`.

    A stream that begins like 4.x and is none gets the error of the 4.x generation that it fits
    longest.

    Raises
    ------
    StreamError, LimitError
        See :func:`numchic_bitstream.read_stream`.
    UnsupportedError
        The stream is older than 4.0.
    """
    limits = limits or Limits()
    limits.check("stream_bytes", len(data))
    older = name_of_older(data)
    if older is not None:
        raise UnsupportedError(f"a stream of Cool-chic {older}", "generation", 0, older, ">= 4.0")
    if _detect(data, limits) == "5.0":
        return read_stream(data, limits, listener=listener)
    from numchic_bitstream import v4

    return v4.read_stream(data, limits, listener=listener)
