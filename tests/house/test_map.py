# SPDX-License-Identifier: BSD-3-Clause
"""The map of modules in CONTRIBUTING.md is that of today."""

from __future__ import annotations

import map as module_map


def test_the_map_is_up_to_date() -> None:
    found = module_map.PAGE.read_text(encoding="utf-8")
    assert found == module_map.drawn_page(), "run: python tests/map.py --write"
