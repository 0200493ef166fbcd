# SPDX-License-Identifier: BSD-3-Clause
"""What can come of running a decoder on a vector."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from numchic_conformance.compare import Divergence


class Outcome(StrEnum):
    """Outcome of one vector.

    ``NOT_SUPPORTED`` is a decoder that says that it does not do this; ``NOT_RUN`` means that
    nothing is known, for example because the file is missing or nothing can be compared.
    """

    PASS = "pass"
    FAIL = "fail"
    WRONG_ERROR = "wrong error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    NOT_SUPPORTED = "not supported"
    NOT_RUN = "not run"

    @property
    def is_failure(self) -> bool:
        """Whether the decoder did something it must not do."""
        return self in _FAILURES


_FAILURES = {Outcome.FAIL, Outcome.WRONG_ERROR, Outcome.CRASH, Outcome.TIMEOUT}


@dataclass(frozen=True)
class Result:
    """What came of one vector.

    Attributes
    ----------
    id : str
        Of the vector.
    outcome : Outcome
    message : str
        One line: why, when it is not plain success.
    divergence : Divergence or None
        Where decoding first went wrong, as far as that is known.
    seconds : float
        Wall time.
    memory_bytes : int or None
        Peak: of the Python allocator for a decoder in this process, of the resident memory for a
        command; None where the system does not tell, or where it is less than the runner's own.
    """

    id: str
    outcome: Outcome
    message: str = ""
    divergence: Divergence | None = None
    seconds: float = 0.0
    memory_bytes: int | None = None
