# SPDX-License-Identifier: BSD-3-Clause
"""Headers as tables of fields: reading, writing, checking and listing them. Exact.

Fields that follow from others (``n_bytes_header``, ``n_layer_synthesis`` and so on) have a default
and are filled in by the writer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from numchic_bitstream.bits import (
    BitReader,
    BitWriter,
    Entry,
    from_sign_magnitude,
    to_sign_magnitude,
)
from numchic_bitstream.errors import CorruptError, TruncatedError, UsageError

Values = Mapping[str, Any]
Header = TypeVar("Header")


@dataclass(frozen=True)
class Field:
    """One row of a header table.

    Parameters
    ----------
    name : str
        Spelling of the specification.
    bits : int
        Size of one element.
    allowed : sequence, optional
        Legal values; everything the bits can express by default. For an index field (one whose
        ``allowed`` is a tuple) the stored number is the index into it.
    signed : bool
        Sign-magnitude field.
    count : callable, optional
        Makes it a list field; number of elements from the values read so far.
    present : callable, optional
        Whether the field is there at all, from the values read so far.
    elements, build
        If the element is a structure: the table of its members, and the type that holds them.
    """

    name: str
    bits: int = 0
    allowed: Sequence[Any] = ()
    signed: bool = False
    count: Callable[[Values], int] | None = None
    present: Callable[[Values], bool] | None = None
    elements: tuple[Field, ...] = ()
    build: Callable[..., Any] | None = None

    def decode(self, code: int) -> Any:
        """Value of a stored code; ``None`` when it is not legal."""
        if isinstance(self.allowed, tuple) and self.allowed:
            return self.allowed[code] if code < len(self.allowed) else None
        value = from_sign_magnitude(code, self.bits) if self.signed else code
        return value if not self.allowed or value in self.allowed else None

    def encode(self, value: Any) -> int | None:
        """Code of a value; ``None`` when it is not legal."""
        if isinstance(self.allowed, tuple) and self.allowed:
            return self.allowed.index(value) if value in self.allowed else None
        if self.allowed and value not in self.allowed:
            return None
        if self.signed:
            fits = abs(value) < 1 << (self.bits - 1)
            return to_sign_magnitude(value, self.bits) if fits else None
        return int(value) if 0 <= value < 1 << self.bits else None

    def describe(self) -> str:
        """Legal stored numbers and their meaning, for messages."""
        if isinstance(self.allowed, tuple) and self.allowed:
            return "index of one of " + ", ".join(map(str, self.allowed))
        if isinstance(self.allowed, range):
            step = "" if self.allowed.step == 1 else f" in steps of {self.allowed.step}"
            return f"{self.allowed[0]}..{self.allowed[-1]}{step}"
        limit = 1 << (self.bits - 1 if self.signed else self.bits)
        return f"{1 - limit if self.signed else 0}..{limit - 1}"


class Parsed(NamedTuple, Generic[Header]):
    """A header together with its listing, from which errors take the position of a field."""

    header: Header
    entries: tuple[Entry, ...]

    def offset(self, field: str) -> int:
        """Byte in which ``field``, or the first element of a list, starts."""
        names = (field, f"{field}[0]")
        return next(entry.bit_offset // 8 for entry in self.entries if entry.field in names)


class _TableReader:
    """Reads the rows of a table and keeps a listing of what it saw."""

    def __init__(self, reader: BitReader) -> None:
        self.reader = reader
        self.entries: list[Entry] = []

    def read_table(self, table: tuple[Field, ...], prefix: str = "") -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field in table:
            name = prefix + field.name
            if field.present is not None and not field.present(values):
                values[field.name] = None
            elif field.name == "n_bytes_header":
                values[field.name] = self._read_size(field, name)
            elif field.count is None:
                values[field.name] = self._read_element(field, name)
            else:
                values[field.name] = tuple(
                    self._read_element(field, f"{name}[{i}]") for i in range(field.count(values))
                )
        return values

    def _read_size(self, field: Field, name: str) -> int:
        """Read ``n_bytes_header``, and look at what it says before reading lists."""
        found = int(self._read_element(field, name))
        entry = self.entries[-1]
        left = len(self.reader.data) - self.entries[0].bit_offset // 8
        if found > left:
            raise TruncatedError(
                "the header reaches past the end of the data",
                name,
                entry.bit_offset // 8,
                found,
                f"<= {left}",
            )
        return found

    def _read_element(self, field: Field, name: str) -> Any:
        if field.build is not None:
            return field.build(**self.read_table(field.elements, name + "."))
        position = self.reader.position
        code = self.reader.read(field.bits, name)
        value = field.decode(code)
        if value is None:
            raise CorruptError("illegal value", name, position // 8, code, field.describe())
        self.entries.append(Entry(position, field.bits, name, value))
        return value


def read_header(
    data: bytes, offset: int, table: tuple[Field, ...], header_type: Callable[..., Header]
) -> Parsed[Header]:
    """Read the header at a byte; fields are checked one by one, not together.

    Parameters
    ----------
    data : bytes
    offset : int
    table : tuple of Field
        With a field ``n_bytes_header``.
    header_type : callable
        Makes the header from the values by name.

    Raises
    ------
    TruncatedError, CorruptError
    """
    table_reader = _TableReader(BitReader(data, 8 * offset))
    values = table_reader.read_table(table)
    parsed = Parsed(header_type(**values), tuple(table_reader.entries))
    found = values["n_bytes_header"]
    parsed_size = (table_reader.reader.position + 7) // 8 - offset
    position = parsed.offset("n_bytes_header")
    if found < parsed_size:
        raise CorruptError(
            "smaller than the header", "n_bytes_header", position, found, f">= {parsed_size}"
        )
    return parsed


def _write_table(writer: BitWriter, table: tuple[Field, ...], values: Values, prefix: str) -> None:
    for field in table:
        name = prefix + field.name
        value = values[field.name]
        if field.present is not None and not field.present(values):
            if value is not None:
                raise UsageError("the field must be None here", name, None, value)
            continue
        elements = [value] if field.count is None else value
        if value is None or (field.count is not None and len(value) != field.count(values)):
            raise UsageError("the field is missing or has a wrong length", name, None, value)
        for element in elements:
            if field.build is not None:
                _write_table(writer, field.elements, element._asdict(), name + ".")
                continue
            code = field.encode(element)
            if code is None:
                raise UsageError("illegal value", name, None, element, field.describe())
            writer.write(code, field.bits)


def write_header(table: tuple[Field, ...], header: Any, derived: dict[str, Any]) -> bytes:
    """Write a header, with some fields that follow from others.

    Raises
    ------
    UsageError
        A field has an illegal value.
    """
    values = {f.name: getattr(header, f.name) for f in dataclasses.fields(header)} | derived
    sizing = BitWriter()
    _write_table(sizing, table, values | {"n_bytes_header": 0}, "")
    writer = BitWriter()
    _write_table(writer, table, values | {"n_bytes_header": (sizing.n_bits + 7) // 8}, "")
    return writer.to_bytes()
