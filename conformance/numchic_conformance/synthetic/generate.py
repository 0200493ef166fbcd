# SPDX-License-Identifier: BSD-3-Clause
"""Write all synthetic vectors and their suites, or compare them with what is there.

Everything follows from the recipes and comes out the same byte for byte on every machine. Digests
of float stages, and the errors of malformed streams, are those of our own decoder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numchic
from numchic.files.images import write_file
from numchic_bitstream import Limits, NumchicError, UsageError, read_stream
from numchic_conformance.manifest import Expect, ExpectedError, Suite, Vector, save_suite
from numchic_conformance.synthetic.describe import describe_valid, picture_format
from numchic_conformance.synthetic.malformed import malformed_cases
from numchic_conformance.synthetic.malformed.case import Case, base
from numchic_conformance.synthetic.recipe import Recipe
from numchic_conformance.synthetic.stills import still_recipes
from numchic_conformance.synthetic.v4.describe import describe_malformed4, describe_valid4
from numchic_conformance.synthetic.v4.malformed import Case4, malformed_recipes
from numchic_conformance.synthetic.v4.recipes import Recipe4, recipes
from numchic_conformance.synthetic.videos import video_recipes

SOURCE = "random numbers (numchic_conformance.synthetic)"
LICENCE = "BSD-3-Clause"

_DESCRIPTIONS = {
    "stills": "Valid stills with random parameters and latents: every header field, every branch.",
    "videos": "Valid videos with random parameters and latents: structures, references, motion.",
    "malformed": "Malformed, odd and damaged streams.",
    "v4": "Valid stills and videos of the generations 4.2, 4.1 and 4.0 with random contents.",
    "v4-malformed": "Malformed and damaged streams of the generations 4.2 and 4.0.",
}
SUITES = tuple(_DESCRIPTIONS)

Thing = Recipe | Case | Recipe4 | Case4

_MAKERS: Mapping[str, Callable[[], Sequence[Thing]]] = {
    "stills": still_recipes,
    "videos": video_recipes,
    "malformed": malformed_cases,
    "v4": recipes,
    "v4-malformed": malformed_recipes,
}


def made(suite: str) -> Sequence[Thing]:
    """Everything that a suite is made of, in its order."""
    return _MAKERS[suite]()


def generate(folder: Path) -> None:
    """Write ``vectors/SUITE/ID.cool`` and ``suites/SUITE.json``; remove vectors no longer made.

    Parameters
    ----------
    folder : Path
        Such as ``conformance`` of this project.

    Raises
    ------
    UsageError
        A malformed stream is not refused as it should be.
    """
    for name in SUITES:
        target = folder / "vectors" / name
        target.mkdir(parents=True, exist_ok=True)
        (folder / "suites").mkdir(exist_ok=True)
        vectors = []
        for thing in made(name):
            data, path = thing.build(), target / f"{thing.id}.cool"
            vectors.append(describe(thing, data, path))
            write_file(path, data)
        for path in set(target.glob("*.cool")) - {vector.path for vector in vectors}:
            path.unlink()
        suite = Suite(name, _DESCRIPTIONS[name], tuple(vectors))
        save_suite(suite, folder / "suites" / f"{name}.json")


def check(folder: Path) -> list[str]:
    """Generate everything elsewhere and return the names of the files that differ."""
    with tempfile.TemporaryDirectory(prefix="numchic-conformance-") as temporary:
        fresh = Path(temporary)
        generate(fresh)
        names = {path.relative_to(root) for root in (fresh, folder) for path in _files(root)}
        return sorted(str(name) for name in names if _read(fresh / name) != _read(folder / name))


def _files(folder: Path) -> Iterator[Path]:
    for name in SUITES:
        yield folder / "suites" / f"{name}.json"
        yield from (folder / "vectors" / name).glob("*.cool")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def describe(thing: Thing, data: bytes, path: Path) -> Vector:
    """Return the entry of a stream in its suite.

    Parameters
    ----------
    thing
        What it is made of.
    data : bytes
        What was made.
    path : Path
        Where it lies.
    """
    if isinstance(thing, Recipe4):
        return describe_valid4(thing, data, path, source=SOURCE, licence=LICENCE)
    if isinstance(thing, Case4):
        _require_error(thing, data)
        return describe_malformed4(thing, data, path, source=SOURCE, licence=LICENCE)
    return _malformed(thing, data, path) if isinstance(thing, Case) else _valid(thing, data, path)


def _valid(recipe: Recipe, data: bytes, path: Path) -> Vector:
    """Return the entry of a valid stream."""
    return describe_valid(
        path,
        data,
        level=recipe.level,
        description=recipe.description,
        features=recipe.features,
        expect=recipe.expect,
        source=SOURCE,
        licence=LICENCE,
    )


def _malformed(case: Case, data: bytes, path: Path) -> Vector:
    """Return the entry of a stream that is not as it should be, having checked what it says."""
    _require_error(case, data)
    picture = bounds = None
    digests: Mapping[str, str] = {}
    if case.expect is not Expect.REFUSE:
        good = base(case.good)
        stream = read_stream(good, Limits(pixels=1 << 28))
        picture = picture_format(stream)
        if case.same_picture:
            entry = _valid(case.good, good, path)
            digests, bounds = entry.digests, entry.bounds
        if case.expect is Expect.EITHER:
            digests = {name: digest for name, digest in digests.items() if name == "samples"}
    return Vector(
        id=case.id,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        level=case.level,
        description=case.description,
        features=case.features,
        source=SOURCE,
        licence=LICENCE,
        expect=case.expect,
        picture=picture,
        digests=digests,
        bounds=bounds,
        error=case.error,
        canonical=False,
    )


def _require_error(case: Case | Case4, data: bytes) -> None:
    """Raise UsageError if our decoder does not do what a case says."""
    found = _error_of(data)
    if found != case.error:
        raise UsageError("the decoder does something else", case.id, None, found, case.error)


def _error_of(data: bytes) -> ExpectedError | None:
    """Return what the decoder raises."""
    try:
        for _ in numchic.decode_frames(data, threads=1):
            pass
    except NumchicError as error:
        return ExpectedError(type(error).__name__, error.field or "")
    return None
