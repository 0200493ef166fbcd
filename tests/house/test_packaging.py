# SPDX-License-Identifier: BSD-3-Clause
"""The wheel is small, pure Python, and holds the packages and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bitstream", "decoder", "trainer", "conformance")
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")


@pytest.mark.skipif("CI" not in os.environ, reason="needs a package index; runs where CI is set")
def test_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder)
    for file in FILES:
        shutil.copy(ROOT / file, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        packs = {i.filename: i.compress_size for i in archive.infolist() if "/packs/" in i.filename}
    # Packs are what the trainer has learned; the code of all generations is small.
    assert wheel.stat().st_size - sum(packs.values()) < 400_000
    assert len(packs) == 2
    assert max(packs.values()) < 1_500_000
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {
        "numchic", "numchic_start", "numchic_bitstream", "numchic_trainer", "numchic_conformance",
    }  # fmt: skip
    assert {f"{top}/py.typed" for top in tops} <= set(names)
