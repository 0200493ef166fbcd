# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that once showed a bug; ``findings/index.json`` says which and what has to happen now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fuzz.targets import TARGETS

FOLDER = Path(__file__).parent / "findings"
INDEX: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())


@pytest.mark.parametrize("finding", INDEX, ids=lambda finding: str(finding["file"]))
def test_finding(finding: dict[str, Any]) -> None:
    data = (FOLDER / finding["file"]).read_bytes()
    assert TARGETS[finding["target"]].run(data) == finding["outcome"]


def test_every_file_is_listed() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"index.json"}
    assert files == {finding["file"] for finding in INDEX}
