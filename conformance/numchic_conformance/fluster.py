# SPDX-License-Identifier: BSD-3-Clause
"""Export as a test suite of fluster, the runner that many video decoders are tested with.

A fluster suite is a JSON file with ``name``, ``codec``, ``description`` and ``test_vectors``; every
vector has ``name``, ``source`` (an address), ``source_checksum`` (MD5 of what lies there),
``input_file``, ``output_format`` (one of a list of pixel formats) and ``result`` (MD5 of the
decoded planes). It knows one result only, that of our order of float operations. The tool is the
package ``fluster-conformance`` of the Python registry, not ``fluster``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numchic
from numchic_conformance.manifest import Expect, PictureFormat, Vector

CODEC = "None"
"""Fluster has a fixed list of codecs, and Cool-chic is not in it."""

# Its pixel formats per kind of samples, and the bit depths that it has them for.
_FORMATS = {
    "rgb": ("gbrp", (8, 10, 12, 14)),
    "yuv420": ("yuv420p", (8, 10, 12)),
    "yuv444": ("yuv444p", (8, 10, 12, 14, 16)),
}


def fluster_suite(name: str, vectors: Iterable[Vector], base_url: str) -> dict[str, Any]:
    """Build the document from those vectors that fluster can express.

    Parameters
    ----------
    name : str
    vectors : iterable of Vector
        Those that have to be decoded, whose samples are known and which have one of fluster's pixel
        formats are taken.
    base_url : str
        Address of the folder in which the folders of the streams lie.

    Raises
    ------
    OSError, NumchicError
        A stream cannot be read or decoded.
    """
    return {
        "name": name,
        "codec": CODEC,
        "description": "Conformance vectors of numchic for Cool-chic",
        "test_vectors": [
            _entry(vector, base_url, vector.picture)
            for vector in vectors
            if vector.expect is Expect.DECODE
            and "samples" in vector.digests
            and vector.picture is not None
            and pixel_format(vector.picture) is not None
        ],
    }


def _entry(vector: Vector, base_url: str, picture: PictureFormat) -> dict[str, str | None]:
    data = vector.read()
    return {
        "name": vector.id,
        "source": f"{base_url.rstrip('/')}/{vector.path.parent.name}/{vector.path.name}",
        "source_checksum": _md5(data),
        "input_file": vector.path.name,
        "output_format": pixel_format(picture),
        "result": _md5(b"".join(map(_planes, numchic.decode_frames(data)))),
    }


def _planes(picture: numchic.Picture) -> bytes:
    """Little-endian planes, one after the other, in the order of the pixel format."""
    order = (1, 2, 0) if picture.data_type == "rgb" else (0, 1, 2)
    kind = "u1" if picture.bitdepth == 8 else "<u2"
    return b"".join(picture.planes[i].astype(kind).tobytes() for i in order)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def pixel_format(picture: PictureFormat) -> str | None:
    """Name that fluster has for a pixel format; None where it has none.

    Its 4:2:0 rounds the size of the chroma up, ours down, so that odd sizes are left out.
    """
    name, depths = _FORMATS[picture.data_type]
    is_odd = picture.data_type == "yuv420" and (picture.width % 2 or picture.height % 2)
    if is_odd or picture.bitdepth not in depths:
        return None
    return name if picture.bitdepth == 8 else f"{name}{picture.bitdepth}le"
