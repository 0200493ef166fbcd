# SPDX-License-Identifier: BSD-3-Clause
"""Every truncation and every single-bit flip of small streams, in a limited process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import builders
from vectors import Vector, still_vectors

SMALL = {"latents-zero-tiny-bytes_30x30", "lat-2-5-final-bilinear_31x50", "size_11x11"}


def run_hostile(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("hostile.py"), path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("vector", [v for v in still_vectors() if v.id in SMALL | {"no-vectors"}])
def test_a_picture_or_a_typed_error(vector: Vector) -> None:
    run_hostile(vector.path)


def test_pictures_or_a_typed_error(tmp_path: Path) -> None:
    """A video with every kind of frame."""
    path = tmp_path / "video.cool"
    path.write_bytes(builders.video(img_size=(2, 2)))
    run_hostile(path)
