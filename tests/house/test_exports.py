# SPDX-License-Identifier: BSD-3-Clause
"""Public names are listed, sorted and documented."""

from __future__ import annotations

import types

import pytest

import numchic
import numchic_bitstream


@pytest.mark.parametrize("package", [numchic, numchic_bitstream], ids=lambda p: p.__name__)
def test_all_is_complete_and_sorted(package: types.ModuleType) -> None:
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    listed = [name for name in package.__all__ if not name.startswith("_")]
    assert public == set(listed)
    assert listed == sorted(listed)
    assert all(getattr(package, name).__doc__ for name in listed)
