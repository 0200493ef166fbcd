# SPDX-License-Identifier: BSD-3-Clause
"""The suites are green: ours with every digest, the others' within their bounds, torch as well."""

from __future__ import annotations

import pytest

import numchic
from numchic_conformance import Expect, Level, Outcome, Vector, load_suites, run_vectors, select
from numchic_conformance.report import describe
from vectors import MISSING, shared_folder


def own_vectors(level: Level) -> list[Vector]:
    return select([vector for suite in load_suites() for vector in suite.vectors], level)


GOOD = {Outcome.PASS, Outcome.NOT_SUPPORTED}


def test_our_suites() -> None:
    vectors = own_vectors(Level.FULL)
    assert sum(vector.expect is Expect.DECODE for vector in vectors) >= 250
    assert sum(vector.expect is not Expect.DECODE for vector in vectors) >= 150
    results = list(run_vectors(vectors, jobs=2))
    wrong = [f"{r.id}: {describe(r)}" for r in results if r.outcome is not Outcome.PASS]
    assert wrong == []


def test_what_only_others_may_refuse() -> None:
    """Vectors beyond the reference implementation, whose stages are known, are decoded by ours."""
    odd = [v for v in own_vectors(Level.FULL) if v.expect is Expect.EITHER and "dense" in v.digests]
    names = {v.path.stem for v in odd}
    assert names == {"arm-63-bits", "ifce-beyond-64-bits-unless-normalised"}
    for vector in odd:
        numchic.decode(vector.path)


def test_the_torch_side() -> None:
    results = run_vectors(own_vectors(Level.CORE), side="trainer", jobs=2)
    assert [f"{r.id}: {describe(r)}" for r in results if r.outcome not in GOOD] == []


@pytest.mark.skipif(shared_folder() is None, reason=MISSING)
def test_vectors_of_others() -> None:
    folder = shared_folder()
    assert folder is not None
    every = [v for suite in load_suites([folder / "vectors"]) for v in suite.vectors]
    vectors = select(every, Level.FULL)  # all but a published video of 49 million samples
    assert len(vectors) > 200
    results = {r.id: r for r in run_vectors(vectors, jobs=2)}
    wrong = [f"{r.id}: {describe(r)}" for r in results.values() if r.outcome not in GOOD]
    assert wrong == []
    known = [v for v in vectors if v.picture]
    assert {v.generation for v in known} >= {"5.0", "4.2", "4.1"}
    published = [v for v in vectors if "public/" in v.id]
    assert len(published) == 44
    assert {results[vector.id].outcome for vector in known + published} == {Outcome.PASS}
