# SPDX-License-Identifier: BSD-3-Clause
"""Bit strings, most significant bit of each byte first (coolchic-5, section 1.3). Exact."""

from __future__ import annotations

from typing import NamedTuple

from numchic_bitstream.errors import TruncatedError, UsageError


class Entry(NamedTuple):
    """One line of a listing: where a field lies and what it says."""

    bit_offset: int
    n_bits: int
    field: str
    value: object


class BitReader:
    """Read fields from a byte string; knows bits and position, nothing about pictures.

    Parameters
    ----------
    data : bytes
        The whole stream.
    position : int
        Position of the first bit to read, in bits from the start of ``data``.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def byte_offset(self) -> int:
        """Byte that holds the next bit."""
        return self.position // 8

    def read(self, n_bits: int, field: str) -> int:
        """Read an unsigned field of ``n_bits`` bits.

        Raises
        ------
        TruncatedError
            Fewer than ``n_bits`` bits are left.
        """
        end = self.position + n_bits
        if end > 8 * len(self.data):
            raise TruncatedError(
                "the data end inside a field",
                field,
                self.byte_offset,
                f"{8 * len(self.data) - self.position} bits",
                f">= {n_bits} bits",
            )
        last_byte = (end + 7) // 8
        window = int.from_bytes(self.data[self.byte_offset : last_byte], "big")
        self.position = end
        return (window >> (8 * last_byte - end)) & ((1 << n_bits) - 1)


class BitWriter:
    """Write fields one after the other."""

    def __init__(self) -> None:
        self._value = 0
        self.n_bits = 0

    def write(self, value: int, n_bits: int) -> None:
        """Append ``value``, which must lie in 0 .. 2**n_bits - 1, as ``n_bits`` bits."""
        if not 0 <= value < 1 << n_bits:
            raise UsageError("the value does not fit", None, None, value, f"{n_bits} bits")
        self._value = (self._value << n_bits) | value
        self.n_bits += n_bits

    def to_bytes(self) -> bytes:
        """Return everything written, zero bits appended up to a whole number of bytes."""
        n_bytes = (self.n_bits + 7) // 8
        return (self._value << (8 * n_bytes - self.n_bits)).to_bytes(n_bytes, "big")


def from_sign_magnitude(code: int, n_bits: int) -> int:
    """Value of a signed field: first bit the sign, the rest the magnitude; "-0" is 0."""
    magnitude = code & ((1 << (n_bits - 1)) - 1)
    return -magnitude if code >> (n_bits - 1) else magnitude


def to_sign_magnitude(value: int, n_bits: int) -> int:
    """Code of a signed field; the inverse of :func:`from_sign_magnitude`."""
    return abs(value) | (1 << (n_bits - 1) if value < 0 else 0)
