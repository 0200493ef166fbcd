# SPDX-License-Identifier: BSD-3-Clause
"""Fields of 4.x headers (coolchic-4.2, section 1.2). Exact."""

from __future__ import annotations

from collections.abc import Container
from typing import NoReturn

from numchic_bitstream.bits import BitReader, Entry
from numchic_bitstream.errors import CorruptError

_MAX_UVAR_BYTES = 5
_MAX_UVAR = 2**31 - 1


class FieldReader:
    """Reads fields one after the other and keeps a listing of them.

    Parameters
    ----------
    data : bytes
        The whole stream.
    offset : int
        Byte of the first field.
    """

    def __init__(self, data: bytes, offset: int) -> None:
        self._reader = BitReader(data, 8 * offset)
        self._listed = 0
        self.entries: list[Entry] = []

    @property
    def offset(self) -> int:
        """Byte of the next field."""
        return self._reader.byte_offset

    def bits(
        self, n_bits: int, field: str, legal: Container[int] | None = None, allowed: object = None
    ) -> int:
        """Read an unsigned field.

        Parameters
        ----------
        n_bits : int
        field : str
        legal : container of int, optional
            Legal values.
        allowed : object, optional
            How an error describes them; ``legal`` itself by default.

        Raises
        ------
        TruncatedError
            The data end before the field does.
        CorruptError
            The value is not legal.
        """
        position = self._reader.position
        value = self._reader.read(n_bits, field)
        self.entries.append(Entry(position, n_bits, field, value))
        if legal is not None and value not in legal:
            self.reject("illegal value", field, value, legal if allowed is None else allowed)
        return value

    def u8(self, field: str, legal: Container[int] | None = None, allowed: object = None) -> int:
        """Read one byte, unsigned; arguments as for :meth:`bits`."""
        return self.bits(8, field, legal, allowed)

    def u16(self, field: str, legal: Container[int] | None = None, allowed: object = None) -> int:
        """Read two bytes, big-endian, unsigned; arguments as for :meth:`bits`."""
        return self.bits(16, field, legal, allowed)

    def s8(self, field: str) -> int:
        """Read one byte, two's complement."""
        value = (self.bits(8, field) ^ 0x80) - 0x80
        self.entries[-1] = self.entries[-1]._replace(value=value)
        return value

    def uvar(self, field: str) -> int:
        """Read a number of variable length, most significant group first, below 2**31.

        Raises
        ------
        TruncatedError
            The data end before the field does.
        CorruptError
            The field is longer than five bytes or its value too large.
        """
        position = self._reader.position
        value, n_bytes, more = 0, 0, True
        while more:
            group = self._reader.read(8, field)
            n_bytes += 1
            value = value << 7 | group & 0x7F
            more = group >= 0x80
            if (more and n_bytes == _MAX_UVAR_BYTES) or value > _MAX_UVAR:
                self.entries.append(Entry(position, 8 * n_bytes, field, value))
                self.reject("the number is too large", field, value, f"<= {_MAX_UVAR} in 5 bytes")
        self.entries.append(Entry(position, 8 * n_bytes, field, value))
        return value

    def svar(self, field: str) -> int:
        """Read a number of variable length whose last bit is the sign; errors as :meth:`uvar`."""
        code = self.uvar(field)
        value = -(code >> 1) if code & 1 else code >> 1
        self.entries[-1] = self.entries[-1]._replace(value=value)
        return value

    def reject(self, reason: str, field: str, found: object, allowed: object) -> NoReturn:
        """Raise the error for a field that has been read."""
        offset = next(e.bit_offset // 8 for e in reversed(self.entries) if e.field == field)
        raise CorruptError(reason, field, offset, found, allowed)

    def section(self) -> tuple[Entry, ...]:
        """Entries since the last call."""
        start, self._listed = self._listed, len(self.entries)
        return tuple(self.entries[start:])
