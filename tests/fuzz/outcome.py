# SPDX-License-Identifier: BSD-3-Clause
"""What a target may do: limits, typed errors as outcomes, and everything else as a finding."""

from __future__ import annotations

from numchic_bitstream import LimitError, Limits, NumchicError, StreamError, UnsupportedError

HEADER_LIMITS = Limits(
    stream_bytes=1 << 16, pixels=1 << 22, frames=8, work=1 << 34, metadata_bytes=512
)
LIMITS = Limits(stream_bytes=1 << 14, pixels=1 << 10, frames=16, work=1 << 27, memory_bytes=1 << 26)


class FindingError(AssertionError):
    """A result that cannot be right."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`FindingError` unless the condition holds."""
    if not condition:
        raise FindingError(message)


def error_outcome(error: NumchicError, n_bytes: int) -> str:
    """Outcome of a typed error, which must be of a kind that a stream can cause."""
    if isinstance(error, StreamError):
        located = error.field is not None and error.offset is not None
        if not located or not 0 <= error.offset <= n_bytes:  # type: ignore[operator]
            raise FindingError(f"no field, or no place among {n_bytes} bytes: {error}")
    elif not isinstance(error, LimitError | UnsupportedError):
        raise FindingError(f"{type(error).__name__} is not the stream's fault: {error}")
    field = (error.field or "").partition("[")[0]
    return f"{type(error).__name__}: {error.reason}: {field}"
