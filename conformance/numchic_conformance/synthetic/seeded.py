# SPDX-License-Identifier: BSD-3-Clause
"""Integers that follow from a name: the same on every machine and with every version.

The random generators of Python and NumPy may change between versions; SHAKE-256 does not.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from numchic_bitstream.arrays import I64


class Source:
    """Independent integers for every purpose.

    Parameters
    ----------
    name : str
        What everything follows from.

    Examples
    --------
    >>> Source("example").integers("dice", 1, 6, (5,))
    array([4, 3, 1, 5, 6])
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def data(self, purpose: str, n_bytes: int) -> bytes:
        """Return bytes for a purpose; longer requests begin with the same bytes."""
        return hashlib.shake_256(f"{self.name}/{purpose}".encode()).digest(n_bytes)

    def integers(self, purpose: str, lowest: int, highest: int, shape: tuple[int, ...]) -> I64:
        """Draw integers in lowest .. highest.

        Parameters
        ----------
        purpose : str
        lowest, highest : int
            At most 2**32 values, so that all of them are equally likely but for some 2**-32.
        shape : tuple of int

        Returns
        -------
        int64[shape]
        """
        words = np.frombuffer(self.data(purpose, 8 * math.prod(shape)), "<u8")
        drawn = (words % np.uint64(highest - lowest + 1)).astype(np.int64)
        return (drawn + lowest).reshape(shape)
