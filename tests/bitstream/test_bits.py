# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numchic_bitstream import CorruptError, TruncatedError, UsageError
from numchic_bitstream.bits import DECODE, ENCODE, BitReader, BitWriter, Sign
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
    ("sign", "n_bits", "code", "value"),
    [
        *(("magnitude", 14, code, code) for code in (0, 1, 8191)),
        *(("magnitude", 14, 8192 + n, -n) for n in (1, 2, 8191)),
        *(("complement", 8, code, value) for code, value in ((0xF0, -16), (0x10, 16), (128, -128))),
        *(("last bit", 0, code, value) for code, value in ((0, 0), (2, 1), (3, -1), (5, -2))),
    ],
)
def test_signs(sign: Sign, n_bits: int, code: int, value: int) -> None:
    assert DECODE[sign](code, n_bits) == value
    assert ENCODE[sign](value, n_bits) == code


def test_negative_zero_is_zero() -> None:
    assert DECODE["magnitude"](1 << 13, 14) == DECODE["last bit"](1, 0) == 0


@given(st.integers(2, 20).flatmap(lambda n: st.tuples(st.integers(0, (1 << n) - 1), st.just(n))))
def test_signs_round_trip(coded: tuple[int, int]) -> None:
    code, n_bits = coded
    assert ENCODE["complement"](DECODE["complement"](code, n_bits), n_bits) == code
    if code != 1 << (n_bits - 1):  # negative zero
        assert ENCODE["magnitude"](DECODE["magnitude"](code, n_bits), n_bits) == code
    if code != 1:
        assert ENCODE["last bit"](DECODE["last bit"](code, n_bits), n_bits) == code


@pytest.mark.parametrize(
    ("data", "value"),
    [("2b", 43), ("846f", 623), ("829819", 35865), ("87ffffff7f", 2**31 - 1), ("00", 0)],
)
def test_numbers_of_variable_length(data: str, value: int) -> None:
    reader = BitReader(bytes.fromhex(data))
    assert reader.read_variable("x") == value
    assert reader.byte_offset == len(data) // 2
    writer = BitWriter()
    writer.write_variable(value)
    assert writer.to_bytes().hex() == data


def test_leading_groups_of_zeros() -> None:
    assert BitReader(bytes.fromhex("8080808000")).read_variable("x") == 0


@pytest.mark.parametrize(
    ("data", "error"), [("80" * 5 + "00", CorruptError), ("80" * 4, TruncatedError)]
)
def test_numbers_of_variable_length_that_do_not_end(data: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        BitReader(bytes.fromhex("00" + data), 8).read_variable("x")
    assert getattr(caught.value, "field", None) == "x"
