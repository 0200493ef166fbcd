# SPDX-License-Identifier: BSD-3-Clause
"""The conformance vectors of the 4.x generations as test parameters; see ``vectors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import numchic
from vectors import MISSING, shared_folder


@dataclass(frozen=True)
class Vector4:
    """One 4.x stream, its generation and the SHA-256 of the samples of all frames."""

    name: str
    path: Path
    generation: str
    width: int
    height: int
    sha256: str


def v4_vectors(max_pixels: int | None = None) -> list[pytest.ParameterSet]:
    """All streams, or those whose frames are small enough."""
    shared = shared_folder()
    if shared is None:
        return [pytest.param(None, id="no-vectors", marks=pytest.mark.skip(reason=MISSING))]
    vectors = []
    for family in ("v4-synthetic", "v4.1", "v4.2"):
        folder = shared / "vectors" / family
        for entry in json.loads((folder / "suite.json").read_text())["vectors"]:
            vector = Vector4(
                entry["name"],
                folder / entry["input"],
                entry.get("generation") or entry["format_version"],
                entry["width"],
                entry["height"],
                entry.get("samples_sha256") or entry["sha256"],
            )
            if max_pixels is None or vector.width * vector.height <= max_pixels:
                vectors.append(pytest.param(vector, id=vector.name))
    return vectors


def samples_sha256(pictures: Iterable[numchic.Picture]) -> str:
    """Digest of pictures in the sample order of the index: 16-bit RGB is big-endian there."""
    digest = hashlib.sha256()
    for picture in pictures:
        if picture.data_type == "rgb" and picture.bitdepth > 8:
            digest.update(np.stack(picture.planes, axis=-1).astype(">u2").tobytes())
        else:
            digest.update(picture.to_bytes())
    return digest.hexdigest()
