# SPDX-License-Identifier: BSD-3-Clause
"""What a decoder should give for a vector, and the comparison with what it gave.

Suites hold digests. The values behind them, which tell where another decoder goes wrong, come from
our own decoder once its digests have been found right; in foreign suites the samples come from
files.
"""

from __future__ import annotations

import zlib

from numchic_bitstream import NumchicError
from numchic_conformance.compare import Divergence, compare_samples
from numchic_conformance.manifest import Bounds, Vector
from numchic_conformance.samples import read_samples
from numchic_conformance.stages import (
    Array,
    Stages,
    decode_samples,
    decode_stages,
    digest,
    kind_of,
)

_EXACT = Bounds(0, 0, "")
_SUM_MARGIN = 8  # of the sum of a plane, where nothing else is known


class DivergenceError(Exception):
    """Raised when something is not as expected.

    Attributes
    ----------
    divergence : Divergence
    """

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


class NotComparableError(Exception):
    """Raised when it cannot be told what would be right."""


def require(divergence: Divergence | None) -> None:
    """Raise :class:`DivergenceError` unless there is no divergence."""
    if divergence is not None:
        raise DivergenceError(divergence)


def require_digest(vector: Vector, name: str, array: Array) -> None:
    """Raise :class:`DivergenceError` if the suite gives another digest for a stage."""
    expected = vector.digests.get(name)
    if expected is not None and (found := digest(array, kind_of(expected))) != expected:
        raise DivergenceError(Divergence(name, "", expected, found))


def has_samples(vector: Vector) -> bool:
    """Whether the suite tells anything about the decoded samples."""
    return "samples" in vector.digests or bool(vector.plane_sums)


def require_samples(vector: Vector, data: bytes, found: Array, *, ours: bool = False) -> None:
    """Raise :class:`DivergenceError` unless decoded samples are right.

    Parameters
    ----------
    vector : Vector
    data : bytes
        The stream.
    found : uint8[n] or uint16[n]
    ours : bool
        Whether they are our decoder's, which must be exact in suites of our own.
    """
    assert vector.picture is not None
    if vector.plane_sums:
        _require_planes(vector, found)
        return
    if ours and vector.exact:
        require_digest(vector, "samples", found)
        return
    wanted = vector.digests["samples"]
    if digest(found, kind_of(wanted)) == wanted:
        return
    bounds = vector.bounds or _EXACT
    expected = expected_samples(vector, data)
    require(
        compare_samples(
            vector.picture, expected, found, bounds.max_abs_diff, bounds.changed_samples
        )
    )


def expected_samples(vector: Vector, data: bytes) -> Array:
    """Samples behind the digest of a suite.

    Raises
    ------
    NotComparableError
        They are not known.
    """
    assert vector.picture is not None
    if vector.expected is not None:
        return read_samples(vector.expected, vector.picture)
    if not vector.exact:
        raise NotComparableError("the digest of the samples differs, and the samples are not known")
    try:
        # Others do not look at the trailer either.
        samples = decode_samples(data, check_integrity=False)
    except NumchicError as error:
        raise NotComparableError(f"our own decoder refuses this: {error}") from error
    _require_trusted(vector, "samples", samples)
    return samples


def expected_stages(vector: Vector, data: bytes) -> Stages:
    """Our stages up to the synthesis, checked against the suite.

    Raises
    ------
    NotComparableError
        Our decoder does not give what the suite says.
    """
    try:
        for name, array in decode_stages(data):
            _require_trusted(vector, name, array)
            yield name, array
    except NumchicError as error:
        raise NotComparableError(f"our own decoder refuses this: {error}") from error


def _require_trusted(vector: Vector, name: str, array: Array) -> None:
    try:
        require_digest(vector, name, array)
    except DivergenceError as error:
        raise NotComparableError(f"our own decoder fails here: {error}") from error


def _require_planes(vector: Vector, found: Array) -> None:
    """Compare planes by what foreign suites tell: CRC-32 as uint16, else nearly the same sum."""
    assert vector.picture is not None
    picture = vector.picture
    n_expected = picture.frames * picture.frame_samples
    if found.size != n_expected:
        raise DivergenceError(
            Divergence("samples", "", f"{n_expected} samples", f"{found.size} samples")
        )
    position = 0
    planes = [rows * columns for rows, columns in picture.plane_shapes] * picture.frames
    for i, (size, wanted) in enumerate(zip(planes, vector.plane_sums, strict=True)):
        if picture.data_type == "rgb":
            start = i // 3 * picture.frame_samples
            plane = found[start + i % 3 : start + picture.frame_samples : 3]
        else:
            plane = found[position : position + size]
        position += size
        crc32 = f"{zlib.crc32(plane.astype('<u2').tobytes()):08x}"
        total = int(plane.sum(dtype="int64"))
        if crc32 != wanted.crc32 and abs(total - wanted.sum) > _SUM_MARGIN:
            raise DivergenceError(
                Divergence("samples", f"plane {i}", f"sum {wanted.sum}", f"sum {total}")
            )
