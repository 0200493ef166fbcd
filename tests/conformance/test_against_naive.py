# SPDX-License-Identifier: BSD-3-Clause
"""An independent decoder, written from the specification alone, agrees with the suites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numchic_conformance.compare import compare_samples, compare_stage
from numchic_conformance.expected import expected_samples, require_digest
from numchic_conformance.manifest import Level, PictureFormat, Vector, load_suite
from numchic_conformance.stages import decode_stages, digest
from reference import decoder, headers, latents, parameters, video
from reference.v4 import decoder as decoder4

SUITES = Path(__file__).resolve().parents[2] / "conformance" / "suites"
MOST_PIXELS = 300
MOST_FRAMES = 6


def small(suite: str) -> list[Vector]:
    return [
        vector
        for vector in load_suite(SUITES / f"{suite}.json").vectors
        if vector.level is Level.CORE
        and vector.picture is not None
        and vector.picture.width * vector.picture.height <= MOST_PIXELS
        and vector.picture.frames <= MOST_FRAMES
    ]


def exact_digests(part: Any, prefix: str = "") -> dict[str, str]:
    """Digests of parameters and latents of one Cool-chic decoder."""
    blocks = part["parameters"]
    found = {
        f"{prefix}parameters.{name.replace('.', '_')}": digest(np.array(values, np.int64))
        for name, values in blocks.items()
        if len(values)
    }
    for k, grid in enumerate(part["grids"]):
        found[f"{prefix}latents.{k}"] = digest(np.array(grid, np.int8))
    return found


def is_exact(stage: str) -> bool:
    return "parameters." in stage or "latents." in stage


def samples_in_order(planes: list[Any], data_type: str, bitdepth: int) -> Any:
    kind = np.uint8 if bitdepth == 8 else np.uint16
    if data_type == "rgb":
        return np.stack(planes, -1).astype(kind).ravel()
    return np.concatenate([plane.ravel() for plane in planes]).astype(kind)


def test_stills() -> None:
    vectors = small("stills")
    assert len(vectors) > 300
    for vector in vectors:
        picture, bounds, data = vector.picture, vector.bounds, vector.read()
        assert picture is not None
        assert bounds is not None
        stages = decoder.decode_stages(data)
        expected = {name: value for name, value in vector.digests.items() if is_exact(name)}
        assert exact_digests(stages) == expected, vector.id
        found = samples_in_order(stages["planes"], picture.data_type, picture.bitdepth)
        divergence = compare_samples(
            picture,
            expected_samples(vector, data),
            found,
            bounds.max_abs_diff,
            bounds.changed_samples,
        )
        assert divergence is None, f"{vector.id}: {divergence}"


def video_samples(data: bytes, picture: PictureFormat) -> Any:
    """All samples of the naive decoder."""
    frames = [
        samples_in_order(planes, picture.data_type, picture.bitdepth)
        for planes in video.decode(data)
    ]
    return np.concatenate(frames)


def test_older_generations() -> None:
    """Every value of every stage of every stream; everything is specified to the bit."""
    vectors = load_suite(SUITES / "v4.json").vectors
    assert len(vectors) > 80
    for vector in vectors:
        assert vector.picture is not None
        kind, bitdepth = vector.picture.data_type, vector.picture.bitdepth
        data = vector.read()
        frames, stages = decoder4.decode_stages(data, vector.generation)
        for name, expected in decode_stages(data):
            require_digest(vector, name, expected)
            if not name.endswith(".samples"):
                assert compare_stage(name, expected, stages.pop(name), vector.generation) is None
        assert stages == {}, vector.id
        found = np.concatenate([samples_in_order(planes, kind, bitdepth) for planes in frames])
        assert digest(found) == vector.digests["samples"], vector.id


def test_videos() -> None:
    vectors = small("videos")
    assert len(vectors) > 20
    for vector in vectors:
        picture, bounds, data = vector.picture, vector.bounds, vector.read()
        assert picture is not None
        assert bounds is not None
        found: dict[str, str] = {}
        for i, frame in enumerate(headers.read_file(data)["frames"]):
            for role in ("residue", "motion"):
                if role not in frame:
                    continue
                header = frame[role]["header"]
                blocks = parameters.decode_parameters(header, frame[role]["nn_payload"])
                grids = latents.decode_latents(header, blocks, frame[role]["latent_payload"])
                part = {"parameters": blocks, "grids": grids}
                found |= exact_digests(part, f"frame{i}.{role}.")
        expected = {name: value for name, value in vector.digests.items() if is_exact(name)}
        assert found == expected, vector.id
        divergence = compare_samples(
            picture,
            expected_samples(vector, data),
            video_samples(data, picture),
            bounds.max_abs_diff,
            bounds.changed_samples,
        )
        assert divergence is None, f"{vector.id}: {divergence}"


@pytest.mark.parametrize("kind", ["decode", "decode or refuse"])
def test_odd_streams_give_the_recorded_picture(kind: str) -> None:
    """The naive decoder validates nothing, like the official one, and ignores trailers."""
    n = 0
    for vector in small("malformed"):
        if vector.expect != kind or vector.picture is None:
            continue
        if "samples" not in vector.digests or vector.id in UNREADABLE:
            continue
        found = video_samples(vector.read(), vector.picture)
        assert digest(found) == vector.digests["samples"], vector.id
        n += 1
    assert n > 10


# It holds on to "the payload ends with the last parameter", which the official decoder does not.
UNREADABLE = {f"codes-{n}-left-over-{bit}" for n in (1, 8) for bit in (0, 1)}
