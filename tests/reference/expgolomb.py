# SPDX-License-Identifier: BSD-3-Clause
"""Exp-Golomb codes of the parameter payload: specification, sections 4.2 and 14 (item 3).

Bit strings are Python strings of the characters 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterable


def bits_from_bytes(data: bytes) -> str:
    return "".join(format(byte, "08b") for byte in data)


def bytes_from_bits(bits: str) -> bytes:
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def encode_value(q: int, order: int) -> str:
    q = int(q)
    v = 2 * q - 1 if q > 0 else -2 * q
    t = v + (1 << order)
    n = t.bit_length()
    return "0" * (n - 1 - order) + format(t, "b")


def decode_values(bits: str, position: int, count: int, order: int) -> tuple[list[int], int]:
    """Read count values; returns them and the position after them."""
    values = []
    for _ in range(count):
        z = bits.index("1", position) - position
        position += z
        quotient = int(bits[position : position + z + 1], 2) - 1
        position += z + 1
        rest = int(bits[position : position + order], 2) if order > 0 else 0
        position += order
        v = (quotient << order) + rest
        values.append((v + 1) // 2 if v % 2 == 1 else -(v // 2))
    return values, position


def payload(values_with_orders: Iterable[tuple[int, int]]) -> tuple[bytes, int]:
    """Payload of the (value, order) pairs, and its number of padding bits (at the front)."""
    bits = "".join(encode_value(q, order) for q, order in values_with_orders)
    n_bit_pad = -len(bits) % 8
    return bytes_from_bits("0" * n_bit_pad + bits), n_bit_pad
