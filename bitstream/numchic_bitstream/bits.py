# SPDX-License-Identifier: BSD-3-Clause
"""Bit strings, most significant bit of each byte first (coolchic-5, section 1.3). Exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from numchic_bitstream.errors import CorruptError, TruncatedError, UsageError

_MAX_VARIABLE_BYTES = 5


class Entry(NamedTuple):
    """One line of a listing: where a field lies and what it says."""

    bit_offset: int
    n_bits: int
    field: str
    value: object


def list_payloads(start: int, sizes: Iterable[tuple[str, int]]) -> tuple[Entry, ...]:
    """Lines for payloads that follow each other from a byte on; empty ones are left out."""
    entries = []
    for name, n_bytes in sizes:
        if n_bytes:
            entries.append(Entry(8 * start, 8 * n_bytes, name, f"{n_bytes} bytes"))
        start += n_bytes
    return tuple(entries)


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

    def read_variable(self, field: str) -> int:
        """Read a number in bytes of seven bits, all but the last above 127 (coolchic-4.2, 1.2).

        Raises
        ------
        TruncatedError
            The data end before the number does.
        CorruptError
            It is longer than five bytes.
        """
        start, value, group = self.byte_offset, 0, 0x80
        while group & 0x80:
            n_bytes = self.byte_offset - start
            if n_bytes == _MAX_VARIABLE_BYTES:
                raise CorruptError("the number is too long", field, start, None, f"{n_bytes} bytes")
            group = self.read(8, field)
            value = value << 7 | group & 0x7F
        return value


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

    def write_variable(self, value: int) -> None:
        """Append a number as bytes of seven bits; see :meth:`BitReader.read_variable`."""
        n_groups = max(1, -(-value.bit_length() // 7))
        for i in reversed(range(n_groups)):
            self.write((value >> 7 * i & 0x7F) | (0x80 if i else 0), 8)

    def to_bytes(self) -> bytes:
        """Return everything written, zero bits appended up to a whole number of bytes."""
        n_bytes = (self.n_bits + 7) // 8
        return (self._value << (8 * n_bytes - self.n_bits)).to_bytes(n_bytes, "big")


def _from_sign_magnitude(code: int, n_bits: int) -> int:
    magnitude = code & ((1 << (n_bits - 1)) - 1)
    return -magnitude if code >> (n_bits - 1) else magnitude


Sign = Literal["none", "magnitude", "complement", "last bit"]
"""How a number is stored: unsigned, first bit the sign, two's complement, last bit the sign."""

DECODE: dict[Sign, Callable[[int, int], int]] = {
    "none": lambda code, _: code,
    "magnitude": _from_sign_magnitude,  # "-0" is 0
    "complement": lambda code, n_bits: code - (code >> (n_bits - 1) << n_bits),
    "last bit": lambda code, _: -(code >> 1) if code & 1 else code >> 1,
}
"""Value of a stored code of some bits."""

ENCODE: dict[Sign, Callable[[int, int], int]] = {
    "none": lambda value, _: int(value),
    "magnitude": lambda value, n_bits: abs(value) | (value < 0) << (n_bits - 1),
    "complement": lambda value, n_bits: value & ((1 << n_bits) - 1),
    "last bit": lambda value, _: 2 * abs(value) + (value < 0),
}
"""The inverse; what the bits cannot express becomes the code of another value, or none."""
