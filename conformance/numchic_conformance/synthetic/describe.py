# SPDX-License-Identifier: BSD-3-Clause
"""Make the entry of a suite for a valid stream, from what our decoder makes of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numchic_bitstream import Stream, read_stream
from numchic_conformance.manifest import PictureFormat, Vector
from numchic_conformance.stages import decode_samples, decode_stages, digest
from numchic_conformance.synthetic.bounds import sample_bounds


def describe_valid(path: Path, data: bytes, *, n_recorded: int = 16, **facts: Any) -> Vector:
    """Entry of a stream that has to be decoded.

    Parameters
    ----------
    path : Path
        Where the stream lies or will lie; its name is the id.
    data : bytes
    n_recorded : int
        The stages before the samples are those of so many frames at most, evenly spread.
    **facts
        Further attributes of :class:`numchic_conformance.Vector`.

    Returns
    -------
    Vector
        With the digests of all stages of these frames, and of the samples.
    """
    stream = read_stream(data)
    n_frames = len(stream.frames)
    recorded = {f"frame{i}" for i in range(0, n_frames, -(-n_frames // n_recorded))}
    digests = {
        name: digest(array)
        for name, array in decode_stages(data)
        if n_frames == 1 or name.split(".")[0] in recorded
    }
    digests["samples"] = digest(decode_samples(data))
    return Vector(
        id=path.stem,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        picture=picture_format(stream),
        digests=digests,
        bounds=sample_bounds(stream),
        **facts,
    )


def picture_format(stream: Stream) -> PictureFormat:
    """Shape of the decoded frames."""
    height, width = stream.img_size
    frame = stream.frames[0].header
    return PictureFormat(width, height, len(stream.frames), frame.frame_data_type, frame.bitdepth)
