# SPDX-License-Identifier: BSD-3-Clause
"""Folders of vectors that are not in our form: indexes as the reference decoder's users keep them.

Known are, in any folder below the one given: ``suite.json`` with sidecars and expected files, of
older generations, or of published streams with the repositories they are from;
``malformed/index.jsonl``; ``expected.json`` with CRC-32 sums.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numchic
from numchic_bitstream import UsageError
from numchic_conformance.manifest import (
    Bounds,
    Expect,
    ExpectedError,
    Level,
    PictureFormat,
    PlaneSum,
    Suite,
    Vector,
)

_EXPECT = {
    "decode": Expect.DECODE,
    "decode or reject": Expect.EITHER,
    "may": Expect.EITHER,
    "reject": Expect.REFUSE,
}
_REASON = "float32 stages are not specified to the bit; measured on the reference decoder itself"
_MOST_SAMPLES = 10_000_000
"""Published streams with more samples take long."""

_Entry = Mapping[str, Any]


def load_foreign(folder: Path) -> list[Suite]:
    """Suites of all indexes in a folder and below it.

    Raises
    ------
    UsageError
        An index is not as expected.
    """
    suites = []
    for pattern, read in _INDEXES.items():
        for path in sorted(folder.rglob(pattern)):
            name = path.parent.relative_to(folder.parent).as_posix()
            try:
                vectors = tuple(read(path, name))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"not an index: {error!r}", str(path)) from error
            if vectors:
                suites.append(Suite(name, f"Vectors of {path.name}", vectors))
    return suites


def _read_suite(path: Path, name: str) -> Iterator[Vector]:
    document = json.loads(path.read_text(encoding="utf-8"))
    for entry in document["vectors"]:
        if "sidecar" in entry:
            yield _with_sidecar(path.parent, name, entry)
        elif "repository" in entry:
            yield _published(path.parent, name, entry)
        else:
            yield _older(path.parent, name, entry)


def _with_sidecar(folder: Path, name: str, entry: _Entry) -> Vector:
    sidecar = json.loads((folder / entry["sidecar"]).read_text(encoding="utf-8"))
    picture = _picture(entry)
    n_samples = picture.frames * picture.frame_samples
    allowed = entry["allowed"]
    return Vector(
        id=f"{name}/{entry['name']}",
        path=folder / entry["input"],
        sha256=sidecar["stream_sha256"],
        description=f"{entry['origin']}: {', '.join(entry['features'])}",
        features=tuple(entry["features"]),
        expect=_EXPECT[entry["expect"]],
        picture=picture,
        digests={**_sidecar_digests(sidecar), "samples": f"sha256:{entry['sha256']}"},
        exact=False,
        # One sample in 10,000 is what the project allows itself at the most.
        bounds=Bounds(
            allowed["max_abs_diff"], max(allowed["changed_samples"], n_samples // 10_000), _REASON
        ),
        expected=folder / entry["expected"],
    )


def _picture(entry: _Entry) -> PictureFormat:
    return PictureFormat(
        entry["width"],
        entry["height"],
        entry.get("frames", 1),
        entry["frame_data_type"],
        entry["bitdepth"],
    )


def _sidecar_digests(sidecar: _Entry) -> dict[str, str]:
    frames = sidecar["coded_frames"]
    digests = {}
    for i, frame in enumerate(frames):
        for role in ("residue", "motion"):
            if role not in frame:
                continue
            prefix = "" if len(frames) == 1 else f"frame{i}.{role}."
            for module, kinds in frame[role]["nn"].items():
                for kind, entry in kinds.items():
                    if entry["count"]:
                        stage = f"{prefix}parameters.{module}_{kind}"
                        digests[stage] = f"sha256/int32:{entry['sha256']}"
            for grid in frame[role]["latents"]:
                digests[f"{prefix}latents.{grid['index']}"] = f"sha256/int32:{grid['sha256']}"
    return digests


def _older(folder: Path, name: str, entry: _Entry) -> Vector:
    sha256 = entry.get("samples_sha256") or entry["sha256"]
    kind = "sha256/uint16be" if "big-endian" in entry.get("sample_order", "") else "sha256"
    picture = _picture(entry)
    if "samples_bytes" in entry:
        frame_bytes = picture.frame_samples * (1 if picture.bitdepth == 8 else 2)
        picture = replace(picture, frames=entry["samples_bytes"] // frame_bytes)
    return Vector(
        id=f"{name}/{entry['name']}",
        path=folder / entry["input"],
        sha256=entry.get("input_sha256", ""),
        description=f"stream of generation {entry.get('generation') or entry['format_version']}",
        generation=entry.get("generation") or entry["format_version"],
        picture=picture,
        digests={"samples": f"{kind}:{sha256}"},
        exact=False,
    )


def _published(folder: Path, name: str, entry: _Entry) -> Vector:
    path, generation = folder / entry["file"], entry["generation"]
    vector = Vector(
        id=f"{name}/{path.stem}",
        path=path,
        sha256=entry["sha256"],
        description=f"published stream of generation {generation}",
        generation=generation,
        source=f"{entry['repository']}, {entry['commit']}: {entry['path']}",
        licence=entry["licence_of_repository"],
        canonical=False,
    )
    if "numchic_samples_sha256" not in entry:
        is_older = generation < "4.0"
        error = (
            ("UnsupportedError", "generation") if is_older else ("CorruptError", "display_index")
        )
        return replace(vector, expect=Expect.REFUSE, error=ExpectedError(*error))
    info, n_samples = numchic.read_info(path), int(entry["samples"])
    bounds = Bounds(
        max(1, int(entry["largest_difference"])),
        max(int(entry["samples_that_differ"]), n_samples // 10_000),
        _REASON,
    )
    return replace(
        vector,
        level=Level.STRESS if n_samples > _MOST_SAMPLES else Level.CORE,
        picture=PictureFormat(
            info.width, info.height, info.n_frames, info.data_type, info.bitdepth
        ),
        digests={"samples": f"sha256:{entry['numchic_samples_sha256']}"},
        bounds=bounds if generation == "5.0" else None,
    )


def _read_malformed(path: Path, name: str) -> Iterator[Vector]:
    index = path.parent.parent / "suite.json"
    valid = {}
    if index.exists():
        entries = json.loads(index.read_text(encoding="utf-8"))["vectors"]
        valid = {entry["name"]: entry for entry in entries}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        origin = valid.get(entry["derived_from"])
        known = "sha256" in entry and origin is not None
        yield Vector(
            id=f"{name}/{Path(entry['file']).stem}",
            path=path.parent / entry["file"],
            description=entry["what"],
            expect=_EXPECT[entry["expect"]],
            picture=_picture(origin) if origin is not None and known else None,
            digests={"samples": f"sha256:{entry['sha256']}"} if known else {},
            exact=False,
        )


def _read_sums(path: Path, name: str) -> Iterator[Vector]:
    for file, entry in json.loads(path.read_text(encoding="utf-8")).items():
        if not (path.parent / file).exists():
            continue  # an index may also describe what another folder holds
        planes = [plane for frame in entry["frames"] for plane in frame["planes"]]
        first = entry["frames"][0]
        single = len(entry["frames"]) == 1
        grids = entry["grids"]
        yield Vector(
            id=f"{name}/{Path(file).stem}",
            path=path.parent / file,
            description="random parameters and latents",
            picture=PictureFormat(
                planes[0]["w"],
                planes[0]["h"],
                len(entry["frames"]),
                first["type"],
                first["bitdepth"],
            ),
            # In decoding order; for videos it does not say where one frame's grids end.
            digests={
                f"latents.{len(grids) - 1 - i}": f"crc32:{grid['crc32']}"
                for i, grid in enumerate(grids)
            }
            if single
            else {},
            exact=False,
            plane_sums=tuple(PlaneSum(plane["crc32_u16le"], plane["sum"]) for plane in planes),
        )


_INDEXES: dict[str, Callable[[Path, str], Iterator[Vector]]] = {
    "suite.json": _read_suite,
    "malformed/index.jsonl": _read_malformed,
    "expected.json": _read_sums,
}
