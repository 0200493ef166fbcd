# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from numchic_bitstream import (
    CorruptError,
    IntegrityError,
    LimitError,
    Limits,
    NumchicError,
    StreamError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)

ALL = [
    StreamError,
    TruncatedError,
    CorruptError,
    IntegrityError,
    UnsupportedError,
    LimitError,
    UsageError,
]


def test_tree() -> None:
    assert {kind: kind.__bases__ for kind in ALL} == {
        StreamError: (NumchicError, ValueError),
        TruncatedError: (StreamError,),
        CorruptError: (StreamError,),
        IntegrityError: (StreamError,),
        UnsupportedError: (NumchicError,),
        LimitError: (NumchicError,),
        UsageError: (NumchicError, ValueError),
    }


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CorruptError("illegal value"), "illegal value"),
        (CorruptError("illegal value", "k_size"), "illegal value (field k_size)"),
        (
            CorruptError("illegal value", "k_size", 0, 0, "1..15"),
            "illegal value (field k_size, byte 0, found 0, allowed 1..15)",
        ),
    ],
)
def test_message(error: NumchicError, message: str) -> None:
    assert str(error) == message


def test_a_message_about_a_number_of_more_digits_than_python_prints() -> None:
    assert "found a huge int" in str(UsageError("out of range", found=10**5000))


@pytest.mark.parametrize("kind", ALL)
def test_errors_survive_pickling(kind: type[NumchicError]) -> None:
    error = kind("illegal value", "k_size", 7, (1, 2), "1..15")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_limits_are_integers_of_any_kind() -> None:
    limits = Limits(pixels=np.int64(100), frames=np.uint8(3))  # type: ignore[arg-type]
    assert (limits, type(limits.pixels)) == (Limits(pixels=100, frames=3), int)
    assert pickle.loads(pickle.dumps(limits)) == limits


@pytest.mark.parametrize("value", [-1, 1.0, True, np.bool_(True), np.float64(1), "1", None, [1]])
def test_limits_are_nothing_else(value: Any) -> None:
    with pytest.raises(UsageError, match=r"field pixels.*allowed >= 0"):
        Limits(pixels=value)


def test_limits_allow_themselves_and_no_more() -> None:
    limits = Limits(pixels=100)
    limits.check("pixels", 100)
    with pytest.raises(LimitError) as caught:
        limits.check("pixels", 101)
    assert (caught.value.field, caught.value.found, caught.value.allowed) == (
        "pixels",
        101,
        "<= 100",
    )
