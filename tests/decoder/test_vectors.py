# SPDX-License-Identifier: BSD-3-Clause
"""Conformance vectors: latents exact, samples within bounds, our own output the same everywhere.

``digests.json`` holds the SHA-256 of our samples. With ``NUMCHIC_REGENERATE=1`` this module
rewrites it; review the difference and explain it in the changelog.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import numchic
from numchic.v5.latents import decode_latents, encode_latents
from numchic_bitstream import read_parameters, read_stream
from vectors import MISSING, Vector, all_valid_vectors, malformed_vectors, shared_folder

DIGESTS = Path(__file__).with_name("digests.json")
REGENERATE = "NUMCHIC_REGENERATE" in os.environ
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
# As plain Python a kernel takes some milliseconds per sample.
MAX_INTERPRETED_PIXELS = 450

# Streams that may be refused, with the reason for which we do.
REFUSED = {
    "opt-arm-int64-wraps_24x20": "accumulators of the ARM overflow",
    "opt-even-kernel-k2_30x22": "illegal value",
    "opt-gap-lat-0-0-hyper-3-3_30x26": "a level is missing",
}

# Unusual streams that we decode; every other one that is not plainly legal is refused.
DECODED = {
    "trailing-garbage",
    "two-streams-concatenated",
    "extra-latent-words",
    "coolchic-header-extended",
    "latents-bit-flip",
}


def skip_if_slow(vector: Vector) -> None:
    if INTERPRETED and vector.height * vector.width > MAX_INTERPRETED_PIXELS:
        pytest.skip("too large for kernels in plain Python")


def digest(pictures: Iterable[numchic.Picture]) -> str:
    return hashlib.sha256(b"".join(picture.to_bytes() for picture in pictures)).hexdigest()


@pytest.mark.parametrize("vector", all_valid_vectors())
def test_latents_are_exact_and_encode_to_the_same_bytes(vector: Vector) -> None:
    skip_if_slow(vector)
    if vector.name in REFUSED:
        pytest.skip("refused, see test_refused")
    sidecar = vector.sidecar()
    synthetic = iter(sidecar.get("grids", ()))
    for i, frame in enumerate(read_stream(vector.read()).frames):
        for role, part in zip(("residue", "motion"), frame.parts, strict=False):
            parameters = read_parameters(part.header, part.nn_payload)
            grids = decode_latents(part, parameters)
            if vector.family == "v5":
                expected = [g["sha256"] for g in sidecar["coded_frames"][i][role]["latents"]]
                found = [hashlib.sha256(g.astype("<i4").tobytes()).hexdigest() for g in grids]
            else:
                expected = [next(synthetic)["crc32"] for _ in grids]
                found = [f"{zlib.crc32(grid.tobytes()):08x}" for grid in grids[::-1]]
            assert found == expected
            assert encode_latents(part.header, parameters, grids) == part.latent_payload


@pytest.mark.parametrize("vector", all_valid_vectors())
def test_samples_are_within_the_bounds(vector: Vector) -> None:
    """The bound is one level on 1 of 10,000 samples, or where a picture is small or its entry says
    that the official decoder itself is unstable there, what the entry allows."""
    skip_if_slow(vector)
    if vector.name in REFUSED:
        with pytest.raises(numchic.CorruptError, match=REFUSED[vector.name]):
            numchic.decode(vector.path)
        return
    pictures = list(numchic.decode_frames(vector.path))
    for picture in pictures:
        assert (picture.height, picture.width) == (vector.height, vector.width)
        assert (picture.data_type, picture.bitdepth) == (vector.data_type, vector.bitdepth)
    expected = vector.expected_planes()
    if expected is None:
        # Only digests and sums of the official samples are known.
        for picture, frame in zip(pictures, vector.entry["frames"], strict=True):
            for plane, entry in zip(picture.planes, frame["planes"], strict=True):
                same = f"{zlib.crc32(plane.astype('<u2').tobytes()):08x}" == entry["crc32_u16le"]
                assert same or abs(int(plane.sum(dtype=np.int64)) - entry["sum"]) <= 8
        return
    differences = np.concatenate(
        [
            np.abs(ours.astype(np.int64) - theirs).ravel()
            for picture, planes in zip(pictures, expected, strict=True)
            for ours, theirs in zip(picture.planes, planes, strict=True)
        ]
    )
    allowed = max(vector.changed_samples, differences.size // 10_000)
    assert differences.max() <= vector.max_abs_diff
    assert np.count_nonzero(differences) <= allowed


@pytest.mark.parametrize("vector", all_valid_vectors())
def test_our_output_is_the_same_everywhere(vector: Vector) -> None:
    """For 1, 2 and 4 threads; and, because the suite is also run so, for plain Python kernels."""
    skip_if_slow(vector)
    if vector.name in REFUSED:
        pytest.skip("refused")
    found = {digest(numchic.decode_frames(vector.path, threads=n)) for n in (1, 2, 4)}
    assert len(found) == 1
    digests = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    if REGENERATE:
        digests[vector.name] = found.pop()
        DIGESTS.write_text(json.dumps(digests, indent=0, sort_keys=True) + "\n")
    else:
        assert found == {digests[vector.name]}


@pytest.mark.parametrize("vector", malformed_vectors())
def test_malformed(vector: Vector, tmp_path: Path) -> None:
    if INTERPRETED and vector.expect != "reject":
        pytest.skip("too large for kernels in plain Python")
    if vector.name == "image-16383x16383":
        with pytest.raises(numchic.LimitError, match="pixels"):
            numchic.decode(vector.path)
    elif vector.name in DECODED:
        pictures = list(numchic.decode_frames(vector.path))
        assert vector.sha256 in {digest(pictures), None}
    else:
        assert vector.expect != "decode"
        with pytest.raises(numchic.StreamError) as caught:
            list(numchic.decode_frames(vector.path))
        assert caught.value.field is not None
        assert caught.value.offset is not None
        assert 0 <= caught.value.offset <= len(vector.read())


@pytest.mark.skipif(shared_folder() is None, reason=MISSING)
@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
def test_p_frames_that_only_move_their_reference() -> None:
    """By (3, -5), whatever networks of zeros they have."""
    folder = shared_folder()
    assert folder is not None
    paths = sorted((folder / "vectors" / "v5-video-trained").glob("empty-p-*.cool"))
    assert len(paths) == 3
    for path in paths:
        intra, moved = numchic.decode_frames(path)
        assert (moved.planes[0][5:, :-3] == intra.planes[0][:-5, 3:]).all()
    assert len({digest(numchic.decode_frames(path)) for path in paths}) == 1


@pytest.mark.skipif(shared_folder() is None, reason=MISSING)
@pytest.mark.skipif(INTERPRETED, reason="too large for kernels in plain Python")
def test_a_trained_video() -> None:
    folder = shared_folder()
    assert folder is not None
    path = folder / "vectors" / "v5-video-trained" / "carphone-ld-5.cool"
    ours = "2d8c7756e5a5f58a093447933d22938cbb258436349100ae221486e52ba9ec17"
    assert {digest(numchic.decode_frames(path, threads=n)) for n in (1, 2)} == {ours}
