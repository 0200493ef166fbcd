# SPDX-License-Identifier: BSD-3-Clause
"""Section 1.2: fields of variable length."""

from __future__ import annotations

import pytest

from numchic_bitstream import CorruptError, TruncatedError
from numchic_bitstream.v4.fields import FieldReader


@pytest.mark.parametrize(
    ("data", "value"),
    [("2b", 43), ("846f", 623), ("829819", 35865), ("8080808000", 0), ("87ffffff7f", 2**31 - 1)],
)
def test_uvar(data: str, value: int) -> None:
    reader = FieldReader(bytes.fromhex(data), 0)
    assert reader.uvar("x") == value
    assert reader.offset == len(data) // 2


def test_svar() -> None:
    reader = FieldReader(bytes(range(6)), 0)
    assert [reader.svar("x") for _ in range(6)] == [0, 0, 1, -1, 2, -2]
    assert [entry.value for entry in reader.entries] == [0, 0, 1, -1, 2, -2]


def test_s8() -> None:
    reader = FieldReader(bytes([0xF0, 0x10]), 0)
    assert (reader.s8("x"), reader.s8("x")) == (-16, 16)


@pytest.mark.parametrize("data", ["8888888800", "808080808000", "ffffffffff"])
def test_a_number_that_is_too_large(data: str) -> None:
    with pytest.raises(CorruptError) as caught:
        FieldReader(bytes.fromhex("00" + data), 1).uvar("x")
    assert (caught.value.field, caught.value.offset) == ("x", 1)


def test_a_number_that_is_cut() -> None:
    with pytest.raises(TruncatedError):
        FieldReader(b"\x80", 0).uvar("x")
