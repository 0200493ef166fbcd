# SPDX-License-Identifier: BSD-3-Clause
"""The schema of suites: it is one, describes everything, and fits what is written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from numchic_conformance.manifest import (
    Bounds,
    ExpectedError,
    Level,
    PictureFormat,
    Suite,
    Vector,
    save_suite,
)

ROOT = Path(__file__).resolve().parents[2] / "conformance"
SCHEMA = json.loads((ROOT / "numchic_conformance" / "schema.json").read_text(encoding="utf-8"))
SUITES = sorted((ROOT / "suites").glob("*.json"))
VALIDATOR = Draft202012Validator(SCHEMA)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def objects(schema: Any) -> Iterator[Any]:
    """All definitions of objects inside a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)


def test_every_property_is_described_and_no_other_is_allowed() -> None:
    for schema in objects(SCHEMA):
        assert schema["description"]
        assert (
            schema["additionalProperties"] is False or "pattern" in schema["additionalProperties"]
        )
        for value in schema.get("properties", {}).values():
            reference = value.get("$ref", "").rpartition("/")[2]
            assert value.get("description") or SCHEMA["$defs"][reference]["description"]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites_are_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(load(path))] == []


def test_it_knows_every_attribute() -> None:
    # What comes from foreign indexes only is not written.
    attributes = {field.name for field in dataclasses.fields(Vector)}
    attributes = attributes - {"path", "expected", "plane_sums"} | {"file"}
    assert set(SCHEMA["$defs"]["vector"]["properties"]) == attributes
    for name, kind in (("picture", PictureFormat), ("bounds", Bounds), ("error", ExpectedError)):
        assert set(SCHEMA["$defs"][name]["properties"]) == {
            field.name for field in dataclasses.fields(kind)
        }


def test_a_vector_with_everything_is_valid(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    full = Vector(
        id="everything",
        path=tmp_path / "vectors" / "everything.cool",
        sha256="1" * 64,
        level=Level.FULL,
        description="Everything.",
        features=("a", "b"),
        generation="4.2",
        source="nowhere",
        licence="CC0",
        picture=PictureFormat(2, 3, 1, "rgb", 8),
        digests={"latents.0": "crc32:01234567", "samples": digest},
        exact=False,
        bounds=Bounds(1, 2, "why not"),
        canonical=False,
    )
    save_suite(Suite("test", "A test.", (full,)), tmp_path / "test.json")
    document = load(tmp_path / "test.json")
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    optional = {"generation", "picture", "digests", "exact", "bounds", "canonical", "error"}
    required = set(SCHEMA["$defs"]["vector"]["required"])
    assert set(SCHEMA["$defs"]["vector"]["properties"]) == optional | required


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"expect": "maybe"},
        {"sha256": "123"},
        {"expect": "refuse"},
        {"error": {"error": "CorruptError", "field": "n_frames"}},
        {"picture": {"width": 1, "height": 1}},
        {"digests": {"pictures": "sha256:" + "0" * 64}},
        {"digests": {"samples": "md5:0"}},
        {"features": ["a", "a"]},
        {"level": None},
    ],
    ids=str,
)
def test_what_is_wrong_is_found(change: dict[str, Any]) -> None:
    document = load(ROOT / "suites" / "stills.json")
    document["vectors"] = document["vectors"][:1]
    assert VALIDATOR.is_valid(document)
    document["vectors"][0] |= change
    assert not VALIDATOR.is_valid(document)
