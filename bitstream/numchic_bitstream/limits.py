# SPDX-License-Identifier: BSD-3-Clause
"""What a caller is willing to spend on a stream, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, fields

from numchic_bitstream.errors import LimitError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Budget for one stream.

    The size of a stream says nothing about the cost of decoding it (a symbol may take 1e-5 bit), so
    every cost is computed from the headers and compared with these numbers first.

    Parameters
    ----------
    stream_bytes : int
        Size of the whole stream.
    pixels : int
        Height times width of one frame.
    frames : int
        Number of frames.
    work : int
        Work of one frame: its multiply-accumulates, and what else takes time in units of one of
        them, see :mod:`numchic.v5.work`. The default is about a minute of one processor.
    total_work : int
        Work of all frames. The default is above that of any real video.
    memory_bytes : int
        Upper bound of all arrays that are alive at the same time while decoding.
    metadata_bytes : int
        Size of all blocks of the trailer.
    """

    stream_bytes: int = 1 << 28
    pixels: int = 100_000_000
    frames: int = 4095
    work: int = 500_000_000_000
    total_work: int = 500_000_000_000_000
    memory_bytes: int = 4 << 30
    metadata_bytes: int = 1 << 22

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 0:
                raise UsageError("not a limit", field.name, None, value, "an integer >= 0")

    def check(self, name: str, found: int) -> None:
        """Raise :class:`LimitError` when ``found`` exceeds the limit called ``name``."""
        allowed = getattr(self, name)
        if found > allowed:
            raise LimitError("the stream exceeds a limit", name, None, found, f"<= {allowed}")
