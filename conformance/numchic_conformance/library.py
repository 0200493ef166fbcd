# SPDX-License-Identifier: BSD-3-Clause
"""Where suites are found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from numchic_bitstream import UsageError
from numchic_conformance.foreign import load_foreign
from numchic_conformance.manifest import Suite, load_suite

_HERE = Path(__file__).resolve().parent


def default_folder() -> Path:
    """Folder ``conformance`` of the project: of this checkout, or below the current folder.

    Raises
    ------
    UsageError
        There is none: an installed package does not contain the vectors.
    """
    for folder in (_HERE.parent, Path("conformance")):
        if (folder / "suites").is_dir() and (folder / "vectors").is_dir():
            return folder
    raise UsageError(
        "the vectors are not part of an installed package: run this in a checkout of the project, "
        "or name the folder",
        "suite",
    )


def load_suites(places: Iterable[Path] = ()) -> list[Suite]:
    """Load suites from files and folders, and the project's own ones by name; by default all those.

    Raises
    ------
    UsageError
        A place holds no suite, or a suite is not one.
    OSError
        A file cannot be read.
    """
    return [suite for place in list(places) or [default_folder()] for suite in _load(place)]


def _load(place: Path) -> list[Suite]:
    own = _own_suites()
    if place.is_dir():
        found = _load_folder(place)
        if not found:
            raise UsageError("no suite in this folder", "suite", None, str(place), _choice(own))
        return found
    if place.is_file() or place.suffix == ".json":
        return [load_suite(place)]
    if str(place) not in own:
        raise UsageError("no such suite", "suite", None, str(place), _choice(own))
    return [load_suite(own[str(place)])]


def _own_suites() -> dict[str, Path]:
    """Names and files of the project's own suites, if they are there."""
    try:
        folder = default_folder()
    except UsageError:
        return {}
    return {path.stem: path for path in sorted((folder / "suites").glob("*.json"))}


def _choice(names: Iterable[str]) -> str:
    return ", ".join((*names, "or a file or folder"))


def _load_folder(folder: Path) -> list[Suite]:
    inner = folder / "suites"
    if inner.is_dir():
        folder = inner
    return load_foreign(folder) or [load_suite(path) for path in sorted(folder.glob("*.json"))]
