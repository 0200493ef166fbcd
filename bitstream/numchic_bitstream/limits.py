# SPDX-License-Identifier: BSD-3-Clause
"""What a caller is willing to spend on a stream, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, fields

from numchic_bitstream.arguments import as_integer
from numchic_bitstream.errors import LimitError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Budget for one stream.

    The size of a stream says nothing about the cost of decoding it (a symbol may take 1e-5 bit), so
    every cost is computed from the headers and compared with these numbers first.

    The first sentence on a limit is also the help of its option on the command line.

    Parameters
    ----------
    stream_bytes : int
        Largest size of the whole stream in bytes.
    pixels : int
        Largest height times width of one frame.
    frames : int
        Largest number of frames.
    work : int
        Most work for one frame: its multiply-accumulates, and what else takes time in their unit.
        The default is about a minute of one processor; :mod:`numchic.v5.work` says what counts.
    total_work : int
        Most work for all frames. The default is above that of any real video.
    memory_bytes : int
        Most bytes in arrays that are alive at the same time while decoding.
    metadata_bytes : int
        Most bytes in blocks of metadata in the trailer.
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
            limit = as_integer(getattr(self, field.name), field.name, 0)
            object.__setattr__(self, field.name, limit)

    def check(self, name: str, found: int) -> None:
        """Raise :class:`LimitError` when ``found`` exceeds the limit called ``name``."""
        allowed = getattr(self, name)
        if found > allowed:
            raise LimitError("the stream exceeds a limit", name, None, found, f"<= {allowed}")
