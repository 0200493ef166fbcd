# SPDX-License-Identifier: BSD-3-Clause
"""Suites survive being written and read; what is not a suite is refused with a typed error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from numchic import UsageError
from numchic_conformance import (
    Bounds,
    Expect,
    ExpectedError,
    Level,
    PictureFormat,
    Suite,
    Vector,
    load_suite,
    load_suites,
    save_suite,
    select,
)


def suite(folder: Path) -> Suite:
    full = Vector(
        id="one",
        path=folder / "streams" / "one.cool",
        sha256="ab",
        level=Level.FULL,
        description="Something.",
        features=("odd size",),
        source="drawn",
        licence="CC0",
        expect=Expect.EITHER,
        picture=PictureFormat(3, 2, 1, "rgb", 8),
        digests={"samples": "sha256:00"},
        bounds=Bounds(1, 4, "floats"),
        error=ExpectedError("CorruptError", "img_size"),
        canonical=False,
    )
    return Suite("tiny", "Two vectors", (full, Vector(id="two", path=folder / "two.cool")))


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "suites" / "tiny.json"
    path.parent.mkdir()
    written = suite(tmp_path)
    save_suite(written, path)
    read = load_suite(path)
    assert (read.name, read.description) == (written.name, written.description)
    assert [v.path.resolve() for v in read.vectors] == [v.path for v in written.vectors]
    save_suite(read, tmp_path / "suites" / "again.json")
    assert (tmp_path / "suites" / "again.json").read_bytes() == path.read_bytes()
    assert load_suites([tmp_path]) == [load_suite(path.with_name("again.json")), read]


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"format": "other", "vectors": []},
        {"format": "numchic-conformance-1", "name": "x", "description": "", "vectors": [{}]},
        {"format": "numchic-conformance-1", "name": "x", "description": "", "vectors": {"a": 1}},
    ],
)
def test_not_a_suite(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError):
        load_suite(path)


GOOD_ENTRY = {
    "id": "a",
    "file": "a.cool",
    "sha256": "",
    "level": "core",
    "description": "",
    "features": [],
    "source": "",
    "licence": "",
    "expect": "decode",
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"file": "a\0b"},
        {"features": [1]},
        {"features": None},
        {"digests": None},
        {"digests": {"samples": 5}},
        {"plane_sums": []},
        {"level": "high"},
        {"unknown": 1},
    ],
)
def test_entries_of_wrong_kinds(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "suite.json"
    head = {"format": "numchic-conformance-1", "name": "x", "description": ""}
    path.write_text(json.dumps(head | {"vectors": [GOOD_ENTRY]}))
    assert len(load_suite(path).vectors) == 1
    path.write_text(json.dumps(head | {"vectors": [GOOD_ENTRY | change]}))
    with pytest.raises(UsageError, match="not a suite"):
        load_suite(path)


def test_not_json(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a JSON file"):
        load_suite(path)


def test_ids_are_unique(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    twice = Vector(id="one", path=tmp_path / "one.cool")
    save_suite(Suite("x", "", (twice, twice)), path)
    with pytest.raises(UsageError, match="same id"):
        load_suite(path)


def test_a_folder_without_suites(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no suite"):
        load_suites([tmp_path])


def test_select(tmp_path: Path) -> None:
    vectors = suite(tmp_path).vectors
    assert [v.id for v in select(vectors, Level.CORE)] == ["two"]
    assert [v.id for v in select(vectors, Level.FULL)] == ["one", "two"]
    assert [v.id for v in select(vectors, Level.STRESS, ["odd*"])] == ["one"]
    assert [v.id for v in select(vectors, Level.STRESS, ["tw?", "none"])] == ["two"]


def test_the_file_of_a_vector_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.cool"
    path.write_bytes(b"x")
    assert Vector(id="a", path=path).read() == b"x"
    with pytest.raises(UsageError, match="not the file"):
        Vector(id="a", path=path, sha256="00").read()
