# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numchic_bitstream import UsageError
from numchic_bitstream.arguments import as_integer


class Index:
    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), Index()])
def test_integers_of_any_kind(value: Any) -> None:
    number = as_integer(value, "threads", 3, 3)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float32(3), "3", None, [3], 3j])
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(UsageError, match="not an integer") as caught:
        as_integer(value, "threads", 1)
    assert (caught.value.field, caught.value.allowed) == ("threads", ">= 1")


@pytest.mark.parametrize("value", [0, 5, -(10**5000), 10**5000, np.int64(-1)], ids=range(5))
def test_out_of_range(value: Any) -> None:
    with pytest.raises(UsageError, match=r"out of range \(field threads, found .*, allowed 1\.\.4"):
        as_integer(value, "threads", 1, 4)
