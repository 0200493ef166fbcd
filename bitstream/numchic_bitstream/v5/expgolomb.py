# SPDX-License-Identifier: BSD-3-Clause
"""Exp-Golomb codes of the network parameters (coolchic-5, section 4.2). Exact.

A signed integer q is mapped to v = 0, 1, 2, 3, 4 ... for q = 0, 1, -1, 2, -2 ..., and with
t = v + 2**order coded as (bit length of t) - 1 - order zeros followed by t::

    q     order 0     order 1     order 3
     0    1           10          1000
     1    010         11          1001
    -1    011         0100        1010
     2    00100       0101        1011

Bits are handled as strings of "0" and "1": a payload is at most 16383 bytes long, and finding the
end of a run of zeros is what strings are quick at.
"""

from __future__ import annotations

from collections.abc import Iterable

from numchic_bitstream.errors import CorruptError, TruncatedError, UsageError

MAX_PREFIX = 40
"""Largest (number of leading zeros) + order that is read; keeps |q| below 2**40."""


def bits_from_bytes(data: bytes) -> str:
    """Bit string of ``data``, most significant bit first."""
    return f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""


def encode(values: Iterable[int], order: int) -> str:
    """Code integers as a bit string.

    Raises
    ------
    UsageError
        A code would be longer than :data:`MAX_PREFIX` permits.

    Examples
    --------
    >>> encode([3, -1, 0, 10], order=1)
    '011101001000010101'
    """
    codes = []
    for q in values:
        t = (2 * q - 1 if q > 0 else -2 * q) + (1 << order)
        if t.bit_length() - 1 > MAX_PREFIX:
            raise UsageError(
                "the parameter is too large", None, None, q, f"order {order}: {MAX_PREFIX} bits"
            )
        codes.append("0" * (t.bit_length() - 1 - order) + f"{t:b}")
    return "".join(codes)


def decode(
    bits: str, position: int, count: int, order: int, field: str = "nn_payload", offset: int = 0
) -> tuple[list[int], int]:
    """Decode ``count`` integers from ``bits``, starting at ``position``.

    Parameters
    ----------
    bits : str
        The whole payload.
    position, count, order : int
        First bit, number of integers, exp-Golomb order.
    field, offset : str, int
        Name of what is read and byte position of the payload in the stream, for errors.

    Returns
    -------
    values : list of int
    position : int
        First bit after the last code.

    Raises
    ------
    TruncatedError
        The payload ends inside a code.
    CorruptError
        A code is longer than :data:`MAX_PREFIX` permits.

    Examples
    --------
    >>> decode("011101001000010101", 0, 4, order=1)
    ([3, -1, 0, 10], 18)
    """
    values: list[int] = []
    for _ in range(count):
        one = bits.find("1", position, position + MAX_PREFIX + 1 - order)
        if one < 0 and position + MAX_PREFIX + 1 - order <= len(bits):
            raise CorruptError(
                "a parameter has too many leading zeros",
                field,
                offset + position // 8,
                f"> {MAX_PREFIX - order}",
                f"<= {MAX_PREFIX - order}",
            )
        end = 2 * one - position + 1 + order
        if one < 0 or end > len(bits):
            raise TruncatedError(
                "the payload ends inside a parameter",
                field,
                offset + position // 8,
                f"{len(values)} parameters",
                f"{count} parameters",
            )
        v = int(bits[one:end], 2) - (1 << order)
        values.append((v + 1) // 2 if v & 1 else -(v // 2))
        position = end
    return values, position
