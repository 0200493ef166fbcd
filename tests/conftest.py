# SPDX-License-Identifier: BSD-3-Clause
"""What is done before and checked at the end of every run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from numchic_bitstream import kernels
from numchic_bitstream.kernels.signature import Array, Fields, Type, signatures


def pytest_configure() -> None:
    """Hear interrupts: jobs in the background of a shell ignore them, as would their processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def kernels_are_called_as_declared() -> Iterator[None]:
    """See that Numba compiled entry kernels for no types but those of the library.

    The runs decode and encode all vectors, so that nothing is left for a native package to refuse.
    """
    yield
    for entry in kernels.ENTRIES:
        compiled: Any = entry
        if not hasattr(compiled, "signatures"):
            continue  # it is not Numba's
        declared = [signature.arguments for signature in signatures(compiled.py_func)]
        for found in compiled.signatures:
            assert any(all(map(fits, found, arguments)) for arguments in declared), (entry, found)


def fits(found: Any, declared: Type) -> bool:
    """Whether a type of Numba is that of a declaration; arrays may be read-only."""
    if isinstance(declared, Fields):
        return len(found) == len(declared.items) and all(map(fits, found, declared.items))
    if isinstance(declared, Array):
        return (str(found.dtype), found.ndim, found.layout) == (*declared, "C")
    return str(found).removesuffix("ean") == declared.kind
