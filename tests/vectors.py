# SPDX-License-Identifier: BSD-3-Clause
"""The conformance vectors as test parameters.

They are looked for in ``$NUMCHIC_SHARED/vectors``, else in ``shared/vectors`` beside the
repository. Without them every test that is parametrised with them is skipped::

    @pytest.mark.parametrize("vector", still_vectors())
    def test_something(vector: Vector) -> None: ...
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numchic_conformance.manifest import Level, load_suite

ROOT = Path(__file__).resolve().parents[1]

Planes = list[NDArray[np.unsignedinteger]]

MISSING = "conformance vectors not found: set NUMCHIC_SHARED or put them into ../shared"


@dataclass(frozen=True)
class Vector:
    """One stream and what is known of it.

    Parameters
    ----------
    name, path
        Short name and place of the stream.
    family : {"v5", "v5-synthetic", "malformed"}
    expect : {"decode", "decode or reject", "reject", "may"}
        What a decoder has to do; "may" is for broken streams that may decode or be refused.
    frames, bitdepth, data_type, height, width
        Zero or empty for broken streams; the size is 0 where the index does not tell it.
    max_abs_diff, changed_samples
        How far decoded samples may be off: by how much, and how many of them.
    entry
        The whole entry of the index.
    """

    name: str
    path: Path
    family: str
    expect: str
    frames: int = 0
    bitdepth: int = 0
    data_type: str = ""
    height: int = 0
    width: int = 0
    max_abs_diff: int = 0
    changed_samples: int = 0
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def read(self) -> bytes:
        """Return the stream."""
        return self.path.read_bytes()

    @property
    def sha256(self) -> str | None:
        """Digest of the raw samples of all frames, interleaved for RGB, where it is known."""
        return self.entry.get("sha256")

    def sidecar(self) -> dict[str, Any]:
        """Headers and digests of every stage.

        The synthetic vectors have their entry of ``expected.json`` instead, with another layout:
        ``grids`` in decoding order, ``frames`` with ``planes``, by CRC-32.
        """
        if self.family != "v5":
            return dict(self.entry)
        sidecar: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text())
        return sidecar

    def expected_planes(self) -> list[Planes] | None:
        """Three planes of every frame in display order; None where only digests are known."""
        if self.family != "v5":
            return None
        path = self.path.parent / Path(self.entry["expected"]).name
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                samples = np.asarray(image).ravel()
        elif path.suffix == ".ppm":
            samples = np.frombuffer(path.read_bytes().split(b"\n", 3)[3], ">u2").astype(np.uint16)
        else:
            kind = "<u2" if self.bitdepth > 8 else "u1"
            samples = np.frombuffer(path.read_bytes(), kind)
        return [self._planes(frame) for frame in np.split(samples, self.frames)]

    def _planes(self, samples: NDArray[np.unsignedinteger]) -> Planes:
        shape = (self.height, self.width)
        if self.data_type == "rgb":
            return list(np.moveaxis(samples.reshape(*shape, 3), 2, 0))
        chroma = (shape[0] // 2, shape[1] // 2) if self.data_type == "yuv420" else shape
        n_luma, n_chroma = shape[0] * shape[1], chroma[0] * chroma[1]
        luma, first, second = np.split(samples, [n_luma, n_luma + n_chroma])
        return [luma.reshape(shape), first.reshape(chroma), second.reshape(chroma)]


@dataclass(frozen=True)
class Recording:
    """Recorded inputs and results of a computation: a file of arrays and its entry of the index."""

    name: str
    path: Path
    entry: Mapping[str, Any] = field(repr=False, compare=False)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return all arrays by name."""
        with np.load(self.path, allow_pickle=False) as file:
            return dict(file)


def shared_folder() -> Path | None:
    """Folder that holds ``vectors``, if there is one."""
    root = os.environ.get("NUMCHIC_SHARED")
    folder = Path(root) if root else Path(__file__).resolve().parents[2] / "shared"
    return folder if (folder / "vectors").is_dir() else None


def still_vectors() -> list[pytest.ParameterSet]:
    """All valid streams of one frame."""
    return _parameters(vector for vector in _valid() if vector.frames == 1)


def all_valid_vectors() -> list[pytest.ParameterSet]:
    """All streams that decode, or may be refused for being odd; stills and videos."""
    return _parameters(_valid())


def sidecar_vectors() -> list[pytest.ParameterSet]:
    """Streams that must decode, with headers and digests of every stage in their sidecar."""
    return _parameters(v for v in _valid() if v.family == "v5" and v.expect == "decode")


def malformed_vectors() -> list[pytest.ParameterSet]:
    """Broken and unusual streams."""
    return _parameters(_malformed())


def stochastic_recordings(kind: str) -> list[pytest.ParameterSet]:
    """Recorded results of the stochastic block, of one kind (ladder-stochastic, section 11)."""
    return _parameters(r for r in _stochastic() if r.entry["kind"] == kind)


def sound_streams() -> list[Path]:
    """Streams of all generations that decode in moments: examples, the project's and outside ones.

    Those of the project that are stills of 5.0 are left out; there are enough others.
    """
    found = sorted((ROOT / "examples").glob("*.cool"))
    for suite in ("videos", "v4"):
        vectors = load_suite(ROOT / "conformance" / "suites" / f"{suite}.json").vectors
        found += [v.path for v in vectors if v.level is Level.CORE]
    found += [vector.path for vector in _valid()]
    shared = shared_folder()
    if shared is not None:
        for family in ("v5-video-trained", "v4-synthetic"):
            found += sorted((shared / "vectors" / family).glob("*.cool"))
    return found


def _parameters(vectors: Iterable[Vector | Recording]) -> list[pytest.ParameterSet]:
    if shared_folder() is None:
        return [pytest.param(None, id="no-vectors", marks=pytest.mark.skip(reason=MISSING))]
    return [pytest.param(vector, id=vector.name) for vector in vectors]


def _valid() -> Iterator[Vector]:
    shared = shared_folder()
    if shared is not None:
        yield from _suite(shared / "vectors" / "v5")
        yield from _synthetic(shared / "vectors" / "v5-synthetic")


@functools.cache
def _suite(folder: Path) -> tuple[Vector, ...]:
    return tuple(
        Vector(
            name=entry["name"],
            path=folder / entry["input"],
            family="v5",
            expect=entry["expect"],
            frames=entry["frames"],
            bitdepth=entry["bitdepth"],
            data_type=entry["frame_data_type"],
            height=entry["height"],
            width=entry["width"],
            max_abs_diff=entry["allowed"]["max_abs_diff"],
            changed_samples=entry["allowed"]["changed_samples"],
            entry=entry,
        )
        for entry in json.loads((folder / "suite.json").read_text())["vectors"]
    )


@functools.cache
def _synthetic(folder: Path) -> tuple[Vector, ...]:
    index = json.loads((folder / "expected.json").read_text())
    del index["kodim14.cool"]  # the official stream, which the suite has as well
    vectors = []
    for file, entry in index.items():
        first = entry["frames"][0]
        n_samples = sum(plane["h"] * plane["w"] for f in entry["frames"] for plane in f["planes"])
        vector = Vector(
            name=Path(file).stem,
            path=folder / file,
            family="v5-synthetic",
            expect="decode",
            frames=len(entry["frames"]),
            bitdepth=first["bitdepth"],
            data_type=first["type"],
            height=first["planes"][0]["h"],
            width=first["planes"][0]["w"],
            max_abs_diff=1,
            changed_samples=4 + n_samples // 1000,
            entry=entry,
        )
        vectors.append(vector)
    return tuple(vectors)


def _malformed() -> Iterator[Vector]:
    shared = shared_folder()
    if shared is None:
        return
    folder = shared / "vectors" / "v5" / "malformed"
    for line in (folder / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path = folder / entry["file"]
        yield Vector(path.stem, path, "malformed", entry["expect"], entry=entry)


def _stochastic() -> Iterator[Recording]:
    shared = shared_folder()
    if shared is None:
        return
    folder = shared / "vectors" / "stochastic"
    for entry in json.loads((folder / "index.json").read_text())["cases"]:
        yield Recording(entry["name"], folder / entry["file"], entry)
