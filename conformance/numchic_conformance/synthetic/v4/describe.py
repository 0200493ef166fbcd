# SPDX-License-Identifier: BSD-3-Clause
"""Make the entries of a suite for streams of the older generations."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numchic_bitstream.v4 import Stream, read_stream
from numchic_conformance.manifest import Expect, PictureFormat, Vector
from numchic_conformance.stages import decode_samples, decode_stages, digest
from numchic_conformance.synthetic.v4.malformed import Case4
from numchic_conformance.synthetic.v4.recipes import Recipe4


def describe_valid4(recipe: Recipe4, data: bytes, path: Path, **facts: Any) -> Vector:
    """Entry of a stream that has to be decoded; its stages are exact for all decoders."""
    digests = {name: digest(array) for name, array in decode_stages(data)}
    digests["samples"] = digest(decode_samples(data))
    return Vector(
        id=recipe.id,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        level=recipe.level,
        description=recipe.description,
        features=recipe.features,
        generation=recipe.generation,
        picture=_picture_format(read_stream(data)),
        digests=digests,
        canonical=False,
        **facts,
    )


def describe_malformed4(case: Case4, data: bytes, path: Path, **facts: Any) -> Vector:
    """Entry of a stream that has to be refused."""
    return Vector(
        id=case.id,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        description=case.description,
        features=case.features,
        generation=case.generation,
        expect=Expect.REFUSE,
        error=case.error,
        canonical=False,
        **facts,
    )


def _picture_format(stream: Stream) -> PictureFormat:
    height, width = stream.img_size
    return PictureFormat(width, height, len(stream.frames), stream.data_type, stream.bitdepth)
