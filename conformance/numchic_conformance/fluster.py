# SPDX-License-Identifier: BSD-3-Clause
"""Export as a test suite of fluster, the runner that many video decoders are tested with.

A fluster suite is a JSON file with ``name``, ``codec``, ``description`` and ``test_vectors``; every
vector has ``name``, ``source`` (an address), ``source_checksum`` (MD5 of what lies there),
``input_file``, ``output_format`` (a pixel format as ffmpeg spells it) and ``result`` (MD5 of the
decoded samples). It knows one result only, that of our order of float operations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numchic
from numchic_conformance.manifest import Expect, PictureFormat, Vector


def fluster_suite(name: str, vectors: Iterable[Vector], base_url: str) -> dict[str, Any]:
    """Build the document.

    Parameters
    ----------
    name : str
    vectors : iterable of Vector
        Those that have to be decoded and whose samples are known are taken.
    base_url : str
        Address of the folder in which the streams lie.

    Raises
    ------
    OSError, NumchicError
        A stream cannot be read or decoded.
    """
    wanted = [v for v in vectors if v.expect is Expect.DECODE and "samples" in v.digests]
    return {
        "name": name,
        "codec": "Cool-chic",
        "description": "Conformance vectors of numchic for Cool-chic 5.0",
        "test_vectors": [_entry(vector, base_url) for vector in wanted],
    }


def _entry(vector: Vector, base_url: str) -> dict[str, str]:
    assert vector.picture is not None
    data = vector.read()
    return {
        "name": vector.id,
        "source": f"{base_url.rstrip('/')}/{vector.path.parent.name}/{vector.path.name}",
        "source_checksum": _md5(data),
        "input_file": vector.path.name,
        "output_format": pixel_format(vector.picture),
        "result": _md5(b"".join(p.to_bytes() for p in numchic.decode_frames(data))),
    }


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def pixel_format(picture: PictureFormat) -> str:
    """Pixel format of the raw samples, in the spelling of ffmpeg."""
    if picture.data_type == "rgb":
        return "rgb24" if picture.bitdepth == 8 else "rgb48le"
    depth = "" if picture.bitdepth == 8 else f"{picture.bitdepth}le"
    return f"{picture.data_type}p{depth}"
