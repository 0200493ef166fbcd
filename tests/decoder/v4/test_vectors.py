# SPDX-License-Identifier: BSD-3-Clause
"""Every 4.x vector: not a single sample differs."""

from __future__ import annotations

import os

import pytest

import numchic
from v4_vectors import Vector4, samples_sha256, v4_vectors

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"


@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
@pytest.mark.parametrize("vector", v4_vectors())
def test_samples(vector: Vector4) -> None:
    pictures = numchic.decode_frames(vector.path, threads=1 if vector.name.startswith("s") else 2)
    assert samples_sha256(pictures) == vector.sha256


@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
@pytest.mark.parametrize("vector", [v for v in v4_vectors() if v.id in {"kodim14", "no-vectors"}])
def test_threads_do_not_matter(vector: Vector4) -> None:
    for threads in (1, 2, 3):
        picture = numchic.decode(vector.path, threads=threads)
        assert samples_sha256([picture]) == vector.sha256
