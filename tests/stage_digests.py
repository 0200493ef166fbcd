# SPDX-License-Identifier: BSD-3-Clause
"""``python tests/stage_digests.py FILE ...``: digests of all stages of decoding, as JSON.

Of all frames: parameters, latents, their payload as it is encoded again, dense latents, synthesis
output, resized signal, prediction, and samples with 1, 2 and 4 threads; of a stream that is
refused, the error. Runs where there is nothing but NumPy and Pillow.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import numchic
from numchic.schedule import Meter
from numchic.v5.latents import encode_latents
from numchic.v5.prediction import predict
from numchic.v5.resize import resize
from numchic_bitstream import Frame, Stream, read_parameters
from numchic_bitstream.generations import read_any
from numchic_conformance.stages import decode_stages

THREADS = (1, 2, 4)


def digest(arrays: Iterable[Any]) -> str:
    """Digest of some arrays."""
    parts = (np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stages(data: bytes) -> dict[str, str]:
    """Digests of all stages of a stream; of the error if it is refused."""
    try:
        arrays = dict(decode_stages(data))
        found = {name: digest([array]) for name, array in arrays.items()}
        for threads in THREADS:
            pictures = list(numchic.decode_frames(data, threads=threads))
            planes = [plane for picture in pictures for plane in picture.planes]
            found[f"samples, {threads} threads"] = digest(planes)
        stream = read_any(data)
        if isinstance(stream, Stream):
            found |= last_stages(stream, arrays, pictures)
    except numchic.NumchicError as error:
        return {"error": repr(error)}
    return found


def last_stages(
    stream: Stream, arrays: Mapping[str, Any], pictures: Sequence[numchic.Picture]
) -> dict[str, str]:
    """Digests of what are no stages for others: resized signals, predictions, payloads of 5.0."""
    found = {}
    for i, frame in enumerate(stream.frames):
        signals = []
        for role, part in zip(("residue", "motion"), frame.parts, strict=False):
            prefix = "" if len(stream.frames) == 1 else f"frame{i}.{role}."
            kind = part.header.final_upsampling_type
            signals.append(resize(arrays[f"{prefix}synthesis"], part.header.img_size, kind))
            found[f"{prefix}resized"] = digest(signals[-1:])
            grids = [arrays[f"{prefix}latents.{k}"] for k in range(len(part.header.derived.grids))]
            parameters = read_parameters(part.header, part.nn_payload)
            payload = encode_latents(part.header, parameters, grids)
            found[f"{prefix}latent payload"] = hashlib.sha256(payload).hexdigest()
        if frame.motion is not None:
            references = [pictures[index] for index in frame.header.index_references]
            found[f"frame{i}.prediction"] = digest(predicted(frame, signals, references))
    return found


def predicted(
    frame: Frame, signals: Sequence[Any], references: Sequence[numchic.Picture]
) -> list[Any]:
    """Signal of a P or B frame, in bands of rows."""
    bands: list[Any] = []
    residue, motion = signals
    predict(frame.header, residue, motion, references, lambda _, band: bands.append(band), Meter())
    return bands


if __name__ == "__main__":
    json.dump({file: stages(Path(file).read_bytes()) for file in sys.argv[1:]}, sys.stdout)
