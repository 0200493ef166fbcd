# SPDX-License-Identifier: BSD-3-Clause
"""The synthetic vectors follow from their recipes, byte for byte, and are worth decoding."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import numchic
from numchic_conformance.manifest import Expect, Level, Vector, load_suite
from numchic_conformance.synthetic import generate
from numchic_conformance.synthetic.counts import CORRECTED_SCALES, correction_matters, left
from numchic_conformance.synthetic.seeded import Source

ROOT = Path(__file__).resolve().parents[2] / "conformance"
PACKAGE = ROOT / "numchic_conformance" / "synthetic"
LOADED = {name: load_suite(ROOT / "suites" / f"{name}.json").vectors for name in generate.SUITES}
EVERY = 10
"""Of the entries of a suite only some are made anew here, and nothing of the level stress:
``numchic conformance generate --check`` makes all of it."""


def vectors() -> list[Vector]:
    return [vector for suite in LOADED.values() for vector in suite]


@pytest.mark.parametrize("suite", generate.SUITES)
def test_the_recipes_give_the_committed_streams(suite: str) -> None:
    things = generate.made(suite)
    assert [thing.id for thing in things] == [vector.id for vector in LOADED[suite]]
    files = {path.stem for path in (ROOT / "vectors" / suite).iterdir()}
    assert files == {thing.id for thing in things}
    for i, (thing, vector) in enumerate(zip(things, LOADED[suite], strict=True)):
        if vector.level is Level.STRESS:
            continue
        data = thing.build()
        assert data == vector.read(), thing.id
        if i % EVERY == 0 and vector.level is Level.CORE:
            assert generate.describe(thing, data, vector.path) == vector


def test_what_is_generated_is_found_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(suite: str) -> list[generate.Thing]:
        return list(made(suite)[:2])

    made = generate.made
    monkeypatch.setattr(generate, "made", few)
    stale = tmp_path / "vectors" / "stills" / "stale.cool"
    stale.parent.mkdir(parents=True)
    stale.touch()
    generate.generate(tmp_path)
    assert not stale.exists()
    assert generate.check(tmp_path) == []
    (tmp_path / "vectors" / "stills" / "size-1x1.cool").write_bytes(b"")
    (tmp_path / "vectors" / "videos" / "more.cool").touch()
    (tmp_path / "suites" / "malformed.json").unlink()
    assert generate.check(tmp_path) == [
        "suites/malformed.json",
        "vectors/stills/size-1x1.cool",
        "vectors/videos/more.cool",
    ]


def test_an_error_that_is_not_the_expected_one_is_noticed(tmp_path: Path) -> None:
    case = next(case for case in generate.made("malformed") if case.id == "foreign-empty")
    with pytest.raises(numchic.UsageError, match="something else"):
        generate.describe(case, generate.made("stills")[0].build(), tmp_path)


def test_numbers() -> None:
    assert len(LOADED["stills"]) >= 230
    assert len(LOADED["videos"]) >= 15
    assert len(LOADED["malformed"]) >= 170
    assert len(LOADED["v4"]) >= 80
    assert len(LOADED["v4-malformed"]) >= 50
    valid = [vector for name in ("stills", "videos", "v4") for vector in LOADED[name]]
    odd = {vector.id: vector for vector in valid if vector.expect is not Expect.DECODE}
    assert odd.keys() == {"arm-63-bits", "ifce-beyond-64-bits-unless-normalised"}
    for vector in odd.values():
        assert vector.expect is Expect.EITHER
        assert "The reference implementation cannot" in vector.description
    assert {vector.generation for vector in valid} == {"5.0", "4.2", "4.1", "4.0"}


def test_ids_differ_and_descriptions_are_sentences() -> None:
    ids = [vector.id for vector in vectors()]
    assert len(ids) == len(set(ids))
    for vector in vectors():
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", vector.description), vector.id
        assert not vector.description.endswith(".."), vector.id
        assert vector.features
        assert (vector.source, vector.licence) == (generate.SOURCE, generate.LICENCE)


def test_core_vectors_are_small() -> None:
    for vector in vectors():
        if vector.level is Level.CORE and vector.picture is not None:
            assert vector.picture.width * vector.picture.height <= 20_000, vector.id
    assert sum(vector.path.stat().st_size for vector in vectors()) < 1_200_000


def test_pictures_vary() -> None:
    for vector in LOADED["stills"]:
        assert vector.picture is not None
        if {"flat", "saturated"} & set(vector.features) or vector.level is Level.STRESS:
            continue
        maximum = (1 << vector.picture.bitdepth) - 1
        samples = [plane / maximum for plane in numchic.decode(vector.path, threads=1).planes]
        clipped = np.mean([np.mean((plane == 0) | (plane == 1)) for plane in samples])
        assert clipped < 0.5, vector.id
        if np.prod(numchic.read_info(vector.path).frames[0].parts[0].grids[0][-2:]) > 16:
            assert np.mean([plane.std() for plane in samples]) > 0.01, vector.id


def test_bounds_are_tight() -> None:
    for vector in LOADED["stills"]:
        assert vector.picture is not None
        assert vector.bounds is not None
        assert vector.bounds.max_abs_diff == 1, vector.id
        share = 0.003 * 2 ** max(0, vector.picture.bitdepth - 9)
        allowed = max(6, share * vector.picture.frame_samples)
        assert vector.bounds.changed_samples <= allowed, vector.id


def test_nothing_depends_on_a_random_generator() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not {"random", "default_rng"} & (names | imported), path.name


def test_seeded_integers() -> None:
    source = Source("test")
    assert source.data("a", 8).hex() == "23fe864a364c4cad"
    assert source.data("a", 100)[:8] == source.data("a", 8)
    assert source.data("a", 8) != source.data("b", 8)
    drawn = source.integers("numbers", -64, 63, (500, 20))
    assert drawn.dtype == np.int64
    assert set(np.unique(drawn)) == set(range(-64, 64))
    assert (drawn[:1] == source.integers("numbers", -64, 63, (1, 20))).all()
    assert source.integers("one", 7, 7, ()) == 7


def test_counts() -> None:
    assert len(CORRECTED_SCALES) == 23
    assert left(0, 16384, 1.0) == 5087973  # the first symbol of the worked example of section 8.5
    assert (left(-64, 0, 1.0), left(64, 0, 1.0)) == (0, 1 << 24)
    assert not any(correction_matters(s, 16384, 1280) for s in range(-64, 64))
    assert any(correction_matters(s, 16384, 1530) for s in range(-64, 64))
