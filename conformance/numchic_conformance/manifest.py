# SPDX-License-Identifier: BSD-3-Clause
"""Suites as data: JSON files that say what is known of every vector.

The form is that of ``schema.json`` beside this module. Paths in a suite are relative to its file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from numchic.files.images import write_file
from numchic_bitstream import UsageError

FORMAT = "numchic-conformance-1"

T = TypeVar("T")


class Level(StrEnum):
    """How much of a suite to run: ``core`` is quick, ``full`` is all a decoder should pass.

    ``stress`` adds what takes long or much memory.
    """

    CORE = "core"
    FULL = "full"
    STRESS = "stress"

    def includes(self, other: Level) -> bool:
        """Whether a run at this level has vectors of the other one."""
        order = list(Level)
        return order.index(other) <= order.index(self)


class Expect(StrEnum):
    """What a decoder has to do with a vector; ``EITHER`` is for streams it may also refuse."""

    DECODE = "decode"
    REFUSE = "refuse"
    EITHER = "decode or refuse"


@dataclass(frozen=True)
class PictureFormat:
    """What the decoded frames look like."""

    width: int
    height: int
    frames: int
    data_type: str
    bitdepth: int

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of the three planes of a frame."""
        full = self.height, self.width
        chroma = (self.height // 2, self.width // 2) if self.data_type == "yuv420" else full
        return full, chroma, chroma

    @property
    def frame_samples(self) -> int:
        """Number of samples of a frame."""
        return sum(rows * columns for rows, columns in self.plane_shapes)


@dataclass(frozen=True)
class Bounds:
    """How far samples may be off, and why they may be off at all."""

    max_abs_diff: int
    changed_samples: int
    reason: str


@dataclass(frozen=True)
class ExpectedError:
    """Class of the error that numchic raises, and the field that it names."""

    error: str
    field: str


@dataclass(frozen=True)
class PlaneSum:
    """All that some foreign suites tell of a plane: CRC-32 as uint16 words, and sum."""

    crc32: str
    sum: int


@dataclass(frozen=True)
class Vector:
    """One stream and what is known of it.

    Attributes
    ----------
    id : str
    path : Path
        The stream.
    sha256 : str
        Of the stream; empty in foreign suites that do not tell it.
    level : Level
    description : str
        One sentence: what the vector exercises, or what is wrong with it.
    features : tuple of str
        Keywords; for filtering.
    generation : str
        Of the format, such as "5.0".
    source, licence : str
        Where the picture comes from and on what terms.
    expect : Expect
    picture : PictureFormat or None
        None for streams that cannot be decoded.
    digests : mapping
        Stage to digest, see :mod:`numchic_conformance.stages`.
    exact : bool
        Whether the digests of the float stages and of the samples are those of numchic's order of
        operations. Otherwise they are another decoder's and ``bounds`` hold for all.
    bounds : Bounds or None
        For decoders with another order of operations.
    error : ExpectedError or None
        Where numchic must refuse.
    canonical : bool
        Whether writing what was read gives the same bytes.
    expected : Path or None
        File with the expected samples, in foreign suites.
    plane_sums : tuple of PlaneSum
        Instead of samples, in foreign suites.
    """

    id: str
    path: Path
    sha256: str = ""
    level: Level = Level.CORE
    description: str = ""
    features: tuple[str, ...] = ()
    generation: str = "5.0"
    source: str = ""
    licence: str = ""
    expect: Expect = Expect.DECODE
    picture: PictureFormat | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True
    bounds: Bounds | None = None
    error: ExpectedError | None = None
    canonical: bool = True
    expected: Path | None = None
    plane_sums: tuple[PlaneSum, ...] = ()

    def read(self) -> bytes:
        """Return the stream.

        Raises
        ------
        UsageError
            The file is not the one that the suite describes.
        OSError
            It cannot be read.
        """
        data = self.path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if self.sha256 not in {"", found}:
            raise UsageError("not the file of the suite", str(self.path), None, found, self.sha256)
        return data


@dataclass(frozen=True)
class Suite:
    """A named list of vectors."""

    name: str
    description: str
    vectors: tuple[Vector, ...]


def load_suite(path: Path) -> Suite:
    """Read a suite.

    Raises
    ------
    UsageError
        The file is not a suite.
    OSError
        It cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a JSON file: {error}", str(path)) from error
    try:
        if document["format"] != FORMAT:
            raise UsageError("unknown form of suite", str(path), None, document["format"], FORMAT)
        vectors = tuple(_vector(entry, path.parent) for entry in document["vectors"])
        suite = Suite(str(document["name"]), str(document["description"]), vectors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"not a suite: {error!r}", str(path)) from error
    ids = [vector.id for vector in suite.vectors]
    if len(ids) != len(set(ids)):
        raise UsageError("two vectors have the same id", str(path))
    return suite


def _vector(entry: Mapping[str, Any], folder: Path) -> Vector:
    values = dict(entry)
    _require_texts(values)
    picture, bounds, error = (values.pop(name, None) for name in ("picture", "bounds", "error"))
    return Vector(
        path=Path(os.path.normpath(folder / values.pop("file"))),
        level=Level(values.pop("level")),
        expect=Expect(values.pop("expect")),
        features=tuple(values.pop("features")),
        picture=_build(PictureFormat, picture),
        bounds=_build(Bounds, bounds),
        error=_build(ExpectedError, error),
        **values,
    )


_TEXTS = ("id", "file", "sha256", "description", "generation", "source", "licence")


def _require_texts(values: Mapping[str, Any]) -> None:
    """Raise TypeError unless everything that should be a text is one."""
    digests, features = values.get("digests", {}), values["features"]
    if not isinstance(digests, dict) or not isinstance(features, list):
        raise TypeError("digests or features are of a wrong kind")
    texts = [values.get(name, "") for name in _TEXTS]
    for text in (*texts, *features, *digests, *digests.values()):
        if not isinstance(text, str) or "\0" in text:
            raise TypeError(f"not a text: {text!r}")
    if {"plane_sums", "expected"} & values.keys():
        raise TypeError("plane_sums and expected are for foreign suites")


def _build(kind: type[T], values: Mapping[str, Any] | None) -> T | None:
    return None if values is None else kind(**values)


def save_suite(suite: Suite, path: Path) -> None:
    """Write a suite; what has its default value is left out."""
    document = {
        "format": FORMAT,
        "name": suite.name,
        "description": suite.description,
        "vectors": [_entry(vector, path.parent) for vector in suite.vectors],
    }
    write_file(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def _entry(vector: Vector, folder: Path) -> dict[str, Any]:
    required = {"id", "sha256", "level", "description", "features", "source", "licence", "expect"}
    entry: dict[str, Any] = {"id": vector.id}
    entry["file"] = Path(os.path.relpath(vector.path, folder)).as_posix()
    for item in dataclasses.fields(vector):
        value = getattr(vector, item.name)
        default = {} if item.name == "digests" else item.default
        if item.name in {"id", "path"} or (value == default and item.name not in required):
            continue
        entry[item.name] = _plain(value)
    return entry


def _plain(value: Any) -> Any:
    """Return a value in terms of JSON."""
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def select(
    vectors: Iterable[Vector], level: Level = Level.STRESS, patterns: Iterable[str] = ()
) -> list[Vector]:
    """Vectors up to a level whose id or one of whose features matches one of the patterns.

    Parameters
    ----------
    vectors : iterable of Vector
    level : Level
    patterns : iterable of str
        Shell patterns such as ``arm-*``; none match everything.
    """
    wanted = list(patterns)
    return [
        vector
        for vector in vectors
        if level.includes(vector.level)
        and (
            not wanted
            or any(fnmatch(name, p) for name in (vector.id, *vector.features) for p in wanted)
        )
    ]
