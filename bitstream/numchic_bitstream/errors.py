# SPDX-License-Identifier: BSD-3-Clause
"""The error tree.

::

    NumchicError
    ├── StreamError (also ValueError)   the bytes are wrong
    │   ├── TruncatedError              they end too early
    │   ├── CorruptError                they say something impossible
    │   └── IntegrityError              they are not what their trailer says
    ├── UnsupportedError                valid, but not decoded by this version
    ├── LimitError                      larger than the caller's Limits
    └── UsageError (also ValueError)    the caller's mistake

Every error carries what is known of ``offset`` (byte position in the stream), ``field`` (the
specification's spelling), ``found`` and ``allowed``; what is not known is ``None``.
"""

from __future__ import annotations


class NumchicError(Exception):
    """Base of all errors raised on purpose by this project.

    Parameters
    ----------
    reason : str
        One sentence without a full stop.
    field : str, optional
        Name of the header field, payload or limit concerned.
    offset : int, optional
        Byte position in the stream at which ``field`` starts.
    found, allowed : object, optional
        The offending value and a description of the legal ones.
    """

    def __init__(
        self,
        reason: str,
        field: str | None = None,
        offset: int | None = None,
        found: object = None,
        allowed: object = None,
    ) -> None:
        # All arguments are positional so that pickling, and thus process pools, work.
        super().__init__(reason, field, offset, found, allowed)
        self.reason = reason
        self.field = field
        self.offset = offset
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        parts = []
        if self.field is not None:
            parts.append(f"field {self.field}")
        if self.offset is not None:
            parts.append(f"byte {self.offset}")
        if self.found is not None:
            parts.append(f"found {_shown(self.found)}")
        if self.allowed is not None:
            parts.append(f"allowed {self.allowed}")
        return f"{self.reason} ({', '.join(parts)})" if parts else self.reason


def _shown(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # an integer with more digits than Python prints
        return f"a huge {type(value).__name__}"


class StreamError(NumchicError, ValueError):
    """The stream is malformed."""


class TruncatedError(StreamError):
    """The stream ends before a field or payload does."""


class CorruptError(StreamError):
    """A field or payload has a value that the format forbids."""


class IntegrityError(StreamError):
    """The stream is not what its trailer says, or the trailer is damaged or missing."""


class UnsupportedError(NumchicError):
    """The stream is well formed but needs something this version does not do."""


class LimitError(NumchicError):
    """The stream asks for more than the caller's :class:`Limits` allow."""


class UsageError(NumchicError, ValueError):
    """A function was called with arguments that do not fit together."""
