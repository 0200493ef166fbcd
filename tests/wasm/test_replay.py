# SPDX-License-Identifier: BSD-3-Clause
"""The short form of ``replay.py``: kernels as WebAssembly leave the same bytes as native ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_packages import missing
from wasm.replay import SMALL, Built, build_all, record, replay, replay_recording

LACKING = missing("node")
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {LACKING}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_all(tmp_path_factory.mktemp("built"))


@pytest.mark.parametrize("file", SMALL, ids=lambda file: file.stem)
def test_same_bytes(file: Path, built: Built) -> None:
    found = replay(file, built)
    assert found.calls
    assert found.differences == []


def test_other_bytes_are_noticed(built: Built, tmp_path: Path) -> None:
    record(SMALL[0], tmp_path, built)
    contents = bytearray((tmp_path / "contents").read_bytes())
    contents[-1] ^= 1  # the last byte that the last call leaves
    (tmp_path / "contents").write_bytes(contents)
    assert len(replay_recording(tmp_path, built).differences) == 1
