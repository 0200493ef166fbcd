# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numchic_bitstream import TruncatedError, UsageError
from numchic_bitstream.bits import (
    BitReader,
    BitWriter,
    from_sign_magnitude,
    to_sign_magnitude,
)
from reference.expgolomb import bits_from_bytes

# A value and the number of bits it is written with.
fields = st.integers(0, 70).flatmap(
    lambda n_bits: st.tuples(st.integers(0, (1 << n_bits) - 1), st.just(n_bits))
)


@given(st.lists(fields), st.integers(0, 20))
def test_reading_returns_what_was_written(written: list[tuple[int, int]], start: int) -> None:
    writer = BitWriter()
    writer.write(0, start)
    for value, n_bits in written:
        writer.write(value, n_bits)
    reader = BitReader(writer.to_bytes(), start)
    assert [(reader.read(n_bits, "field"), n_bits) for _, n_bits in written] == written
    assert reader.position == writer.n_bits


@given(st.binary(max_size=20), st.integers(0, 160), st.integers(0, 80))
def test_bits_are_read_from_the_most_significant_one(data: bytes, start: int, n_bits: int) -> None:
    field = bits_from_bytes(data)[start : start + n_bits]
    reader = BitReader(data, start)
    if start + n_bits <= 8 * len(data):
        assert reader.read(n_bits, "field") == int(field or "0", 2)
        assert reader.byte_offset == (start + n_bits) // 8
    else:
        with pytest.raises(TruncatedError):
            reader.read(n_bits, "field")


def test_the_last_byte_is_filled_with_zeros() -> None:
    writer = BitWriter()
    assert writer.to_bytes() == b""
    writer.write(0b101, 3)
    assert writer.to_bytes() == b"\xa0"
    writer.write(0b111111, 6)
    assert writer.to_bytes() == b"\xbf\x80"


def test_a_field_behind_the_end_is_truncated() -> None:
    reader = BitReader(bytes(4), 20)
    with pytest.raises(TruncatedError) as caught:
        reader.read(13, "img_size[0]")
    error = caught.value
    assert (error.field, error.offset) == ("img_size[0]", 2)
    assert (error.found, error.allowed) == ("12 bits", ">= 13 bits")
    assert reader.read(12, "the rest") == 0


@pytest.mark.parametrize(("value", "n_bits"), [(-1, 3), (8, 3), (1, 0)])
def test_the_writer_refuses_what_does_not_fit(value: int, n_bits: int) -> None:
    with pytest.raises(UsageError):
        BitWriter().write(value, n_bits)


@pytest.mark.parametrize(
    ("code", "value"),
    [(0, 0), (1, 1), (8191, 8191), (8193, -1), (8194, -2), (16383, -8191)],
)
def test_sign_magnitude_of_14_bits(code: int, value: int) -> None:
    assert from_sign_magnitude(code, 14) == value
    assert to_sign_magnitude(value, 14) == code


def test_negative_zero_is_zero() -> None:
    assert from_sign_magnitude(1 << 13, 14) == 0


@given(st.integers(2, 20).flatmap(lambda n: st.tuples(st.integers(0, (1 << n) - 1), st.just(n))))
def test_sign_magnitude_round_trip(coded: tuple[int, int]) -> None:
    code, n_bits = coded
    if code != 1 << (n_bits - 1):  # negative zero
        assert to_sign_magnitude(from_sign_magnitude(code, n_bits), n_bits) == code
