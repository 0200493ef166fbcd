# SPDX-License-Identifier: BSD-3-Clause
"""A little suite, decoders that misbehave, and sides for workers to run."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from builders import stream, video
from numchic_bitstream import NumchicError
from numchic_conformance import Bounds, Expect, ExpectedError, PictureFormat, Suite, Vector
from numchic_conformance.stages import decode_samples, decode_stages, digest

PICTURE = PictureFormat(6, 5, 1, "rgb", 8)


def vector_of(data: bytes, path: Path, **values: Any) -> Vector:
    """Write a stream and describe what our decoder makes of it."""
    path.write_bytes(data)
    values = {"picture": PICTURE, "bounds": Bounds(1, 4, "floats"), **values}
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        digests = {name: digest(array) for name, array in decode_stages(data)}
        digests["samples"] = digest(decode_samples(data))
    except NumchicError as error:
        expected = ExpectedError(type(error).__name__, error.field or "")
        values |= {"expect": Expect.REFUSE, "picture": None, "bounds": None, "error": expected}
        digests = {}
    return Vector(id=path.stem, path=path, sha256=sha256, digests=digests, **values)


def tiny_suite(folder: Path) -> Suite:
    """Three stills, a video, and two streams that must be refused."""
    good = stream(1)
    return Suite(
        "tiny",
        "Small streams",
        (
            vector_of(good, folder / "good.cool"),
            vector_of(stream(2), folder / "other.cool", features=("second",)),
            vector_of(good + b"rest", folder / "trailing.cool"),
            vector_of(video(3), folder / "video.cool", picture=PictureFormat(6, 4, 3, "yuv420", 8)),
            vector_of(good[:-9], folder / "cut.cool"),
            vector_of(b"no stream at all", folder / "text.cool"),
        ),
    )


def script(folder: Path, body: str) -> str:
    """Command of a decoder in Python; ``source``, ``output`` and ``stages`` are paths."""
    path = folder / "decoder.py"
    path.write_text(
        "import os, sys, time, signal\nfrom pathlib import Path\n"
        "source, output, stages = map(Path, sys.argv[1:])\n" + body
    )
    return f"{sys.executable} {path} {{input}} {{output}} {{stages}}"


def serve_death(connection: Any, side: str) -> None:
    """Start well, and die when asked to do something."""
    connection.send(True)
    connection.recv()
    os._exit(7)


def serve_failure(connection: Any, side: str) -> None:
    """Do not even start."""
    connection.send("no such luck")
