# SPDX-License-Identifier: BSD-3-Clause
"""Headers as tables of fields: reading, writing, checking and listing them. Exact.

Fields that follow from others (``n_bytes_header``, ``n_layer_synthesis`` and so on) have a default
and are filled in by the writer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from numchic_bitstream.bits import DECODE, ENCODE, BitReader, BitWriter, Entry, Sign
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
        Size of one element; 0 for a number of variable length.
    allowed : sequence, optional
        Legal values; everything the bits can express by default. For an index field (one whose
        ``allowed`` is a tuple) the stored number is the index into it.
    sign : Sign
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
    sign: Sign = "none"
    count: Callable[[Values], int] | None = None
    present: Callable[[Values], object] | None = None
    elements: tuple[Field, ...] = ()
    build: Callable[..., Any] | None = None

    def decode(self, code: int) -> Any:
        """Value of a stored code; ``None`` when it is not legal."""
        if isinstance(self.allowed, tuple) and self.allowed:
            return self.allowed[code] if code < len(self.allowed) else None
        value = DECODE[self.sign](code, self.bits)
        return value if not self.allowed or value in self.allowed else None

    def encode(self, value: Any) -> int | None:
        """Code of a value; ``None`` when it is not legal."""
        if isinstance(self.allowed, tuple) and self.allowed:
            return self.allowed.index(value) if value in self.allowed else None
        if self.allowed and value not in self.allowed:
            return None
        code = ENCODE[self.sign](value, self.bits)
        fits = code >= 0 and (self.bits == 0 or code < 1 << self.bits)
        return code if fits and self.decode(code) == value else None

    def describe(self) -> str:
        """Legal stored numbers and their meaning, for messages."""
        if isinstance(self.allowed, range):
            step = "" if self.allowed.step == 1 else f" in steps of {self.allowed.step}"
            return f"{self.allowed[0]}..{self.allowed[-1]}{step}"
        if self.allowed:
            kind = "index of one of " if isinstance(self.allowed, tuple) else ""
            return kind + ", ".join(map(str, self.allowed))
        limit = 1 << (self.bits if self.sign == "none" else self.bits - 1)
        return f"{0 if self.sign == 'none' else 1 - limit}..{limit - 1}"


def field_offset(entries: Sequence[Entry], field: str) -> int:
    """Byte in which ``field``, or the first element of a list, starts; the first if unlisted."""
    found = (e.bit_offset for e in entries if e.field in (field, f"{field}[0]"))
    return next(found, entries[0].bit_offset) // 8


class Parsed(NamedTuple, Generic[Header]):
    """A header together with its listing, from which errors take the position of a field."""

    header: Header
    entries: tuple[Entry, ...]

    def offset(self, field: str) -> int:
        """Byte in which ``field``, or the first element of a list, starts."""
        return field_offset(self.entries, field)


class TableReader:
    """Reads the rows of tables, which follow each other, and keeps a listing of what it saw."""

    def __init__(self, reader: BitReader) -> None:
        self.reader = reader
        self.entries: list[Entry] = []

    def read_table(self, table: Sequence[Field], prefix: str = "") -> dict[str, Any]:
        """Read and check fields one by one.

        Raises
        ------
        TruncatedError, CorruptError
        """
        values: dict[str, Any] = {}
        for field in table:
            name = prefix + field.name
            if field.present is not None and not field.present(values):
                values[field.name] = None
            elif field.count is None:
                values[field.name] = self._read_element(field, name)
            else:
                values[field.name] = tuple(
                    self._read_element(field, f"{name}[{i}]") for i in range(field.count(values))
                )
        return values

    def reject(self, reason: str, field: str, found: object, allowed: object) -> NoReturn:
        """Raise the error for a field that was read."""
        raise CorruptError(reason, field, field_offset(self.entries, field), found, allowed)

    def _read_element(self, field: Field, name: str) -> Any:
        if field.build is not None:
            return field.build(**self.read_table(field.elements, name + "."))
        return self._read_number(field, name)

    def _read_number(self, field: Field, name: str) -> Any:
        start = self.reader.position
        code = self.reader.read(field.bits, name) if field.bits else self.reader.read_variable(name)
        value = field.decode(code)
        if value is None:
            found = DECODE[field.sign](code, field.bits)
            raise CorruptError("illegal value", name, start // 8, found, field.describe())
        self.entries.append(Entry(start, self.reader.position - start, name, value))
        return value


class _HeaderReader(TableReader):
    """Looks at what ``n_bytes_header`` says before it reads lists."""

    def _read_number(self, field: Field, name: str) -> Any:
        found = super()._read_number(field, name)
        if name == "n_bytes_header":
            left = len(self.reader.data) - self.entries[0].bit_offset // 8
            if found > left:
                offset = self.entries[-1].bit_offset // 8
                raise TruncatedError(
                    "the header reaches past the end of the data", name, offset, found, f"<= {left}"
                )
        return found


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
    table_reader = _HeaderReader(BitReader(data, 8 * offset))
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


def _write_table(writer: BitWriter, table: Sequence[Field], values: Values, prefix: str) -> None:
    for field in table:
        name = prefix + field.name
        value: Any = values.get(field.name)
        if field.present is not None and not field.present(values):
            if value is not None:
                raise UsageError("the field must be None here", name, None, value)
            continue
        elements = [value] if field.count is None else value
        if value is None or (field.count is not None and len(value) != field.count(values)):
            raise UsageError("the field is missing or has a wrong length", name, None, value)
        for element in elements:
            if field.build is not None:
                members = element if isinstance(element, Mapping) else element._asdict()
                _write_table(writer, field.elements, members, name + ".")
                continue
            code = field.encode(element)
            if code is None:
                raise UsageError("illegal value", name, None, element, field.describe())
            if field.bits:
                writer.write(code, field.bits)
            else:
                writer.write_variable(code)


def write_table(table: Sequence[Field], values: Values) -> bytes:
    """Write fields from values by name, those of a structure in a mapping or named tuple.

    Raises
    ------
    UsageError
        A field is missing or has an illegal value.
    """
    writer = BitWriter()
    _write_table(writer, table, values, "")
    return writer.to_bytes()


def write_header(table: tuple[Field, ...], header: Any, derived: dict[str, Any]) -> bytes:
    """Write a header, with some fields that follow from others.

    Raises
    ------
    UsageError
        A field has an illegal value.
    """
    values = {f.name: getattr(header, f.name) for f in dataclasses.fields(header)} | derived
    size = len(write_table(table, values | {"n_bytes_header": 0}))
    return write_table(table, values | {"n_bytes_header": size})
