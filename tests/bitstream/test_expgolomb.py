# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numchic_bitstream import CorruptError, TruncatedError, UsageError
from numchic_bitstream.v5.expgolomb import MAX_PREFIX, bits_from_bytes, decode, encode
from reference import expgolomb as naive
from strategies import parameter_integers

CODE_WORDS = [
    (0, "1", "10", "1000"),
    (1, "010", "11", "1001"),
    (-1, "011", "0100", "1010"),
    (2, "00100", "0101", "1011"),
    (-2, "00101", "0110", "1100"),
    (3, "00110", "0111", "1101"),
    (-3, "00111", "001000", "1110"),
    (7, "0001110", "001111", "010101"),
    (-8, "000010001", "00010010", "011000"),
]
orders = st.integers(0, 12)


@pytest.mark.parametrize(("q", "order0", "order1", "order3"), CODE_WORDS)
def test_code_words(q: int, order0: str, order1: str, order3: str) -> None:
    """Section 4.2."""
    for order, bits in ((0, order0), (1, order1), (3, order3)):
        assert encode([q], order) == bits
        assert decode(bits, 0, 1, order) == ([q], len(bits))


def test_worked_payload() -> None:
    """Section 4.2."""
    bits = bits_from_bytes(bytes.fromhex("01d215"))
    assert bits == "000000" + "0111" + "0100" + "10" + "00010101"
    assert decode(bits, 6, 4, order=1) == ([3, -1, 0, 10], 24)


@given(st.binary(max_size=40))
def test_bits_from_bytes(data: bytes) -> None:
    assert bits_from_bytes(data) == naive.bits_from_bytes(data)


@given(st.lists(parameter_integers()), orders, st.text("01"), st.text("01"))
def test_round_trip(values: list[int], order: int, before: str, behind: str) -> None:
    bits = encode(values, order)
    assert bits == "".join(naive.encode_value(q, order) for q in values)
    end = len(before + bits)
    assert decode(before + bits + behind, len(before), len(values), order) == (values, end)


@given(st.text("01", max_size=200), st.integers(0, 10), orders)
def test_any_bits_decode_as_the_naive_twin_says(bits: str, count: int, order: int) -> None:
    try:
        expected = naive.decode_values(bits, 0, count, order)
    except ValueError:  # the naive twin finds no "1"
        with pytest.raises((TruncatedError, CorruptError)):
            decode(bits, 0, count, order)
        return
    if expected[1] > len(bits):  # the naive twin reads a shorter number
        with pytest.raises((TruncatedError, CorruptError)):
            decode(bits, 0, count, order)
    elif max(map(abs, expected[0]), default=0) < 1 << 39:
        assert decode(bits, 0, count, order) == expected


@pytest.mark.parametrize("order", range(13))
def test_prefixes_up_to_the_limit_are_read(order: int) -> None:
    zeros = MAX_PREFIX - order
    longest = "0" * zeros + "1" * (MAX_PREFIX + 1)
    (value,), position = decode(longest, 0, 1, order)
    assert position == len(longest)
    assert encode([value], order) == longest
    for bits in ("0" + longest, "0" * 1000, "0" * (zeros + 1)):
        with pytest.raises(CorruptError) as caught:
            decode(bits, 0, 1, order)
        assert caught.value.allowed == f"<= {zeros}"


@pytest.mark.parametrize("order", [0, 1, 5, 12])
def test_every_truncation_of_a_code(order: int) -> None:
    good = encode([5], order)
    for q in (0, 1, -1, 1000, -(1 << 39)):
        code = encode([q], order)
        for n in range(len(code)):
            with pytest.raises(TruncatedError) as caught:
                decode(good + code[:n], len(good), 1, order)
            assert caught.value.offset == len(good) // 8


@pytest.mark.parametrize(
    ("bits", "error"), [("1" * 17 + "0" * 60, CorruptError), ("1" * 17 + "000", TruncatedError)]
)
def test_errors_name_the_byte(bits: str, error: type[CorruptError] | type[TruncatedError]) -> None:
    with pytest.raises(error) as caught:
        decode(bits, 0, 18, 0, "nn_payload.arm_bias", 100)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.arm_bias", 102)


def test_what_cannot_be_read_is_not_written() -> None:
    largest = (1 << 40) - 1
    assert decode(encode([largest, -largest], 0), 0, 2, 0)[0] == [largest, -largest]
    for q in (largest + 1, -largest - 1):
        with pytest.raises(UsageError):
            encode([q], 0)


def test_nothing_to_decode() -> None:
    assert decode("", 0, 0, 0) == ([], 0)
    assert encode([], 0) == ""
