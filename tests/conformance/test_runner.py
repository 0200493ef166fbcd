# SPDX-License-Identifier: BSD-3-Clause
"""Vectors are run in processes of their own, whatever happens there."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

import conformance_tools
from conformance_tools import script, tiny_suite
from numchic import UsageError
from numchic_conformance import (
    CommandDecoder,
    Expect,
    ExpectedError,
    Outcome,
    Suite,
    Vector,
    run_vectors,
)
from numchic_conformance.check import check_ours, check_stages
from numchic_conformance.stages import Stages, decode_stages


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return tiny_suite(tmp_path_factory.mktemp("suite"))


def changed(vector: Vector, stage: str) -> Vector:
    digests = {**vector.digests, stage: "sha256:" + "0" * 64}
    return dataclasses.replace(vector, digests=digests)


def test_ours_passes(suite: Suite) -> None:
    results = list(run_vectors(suite.vectors, jobs=2))
    assert [r.id for r in results] == [v.id for v in suite.vectors]
    assert {r.outcome for r in results} == {Outcome.PASS}
    assert all(r.seconds > 0 and r.memory_bytes for r in results)


def test_the_torch_side_passes(suite: Suite) -> None:
    outcomes = {r.id: r.outcome for r in run_vectors(suite.vectors, side="trainer")}
    assert "video" in outcomes
    assert set(outcomes.values()) == {Outcome.PASS}


def test_what_may_be_refused_and_is_decoded_is_compared(suite: Suite, tmp_path: Path) -> None:
    odd = dataclasses.replace(suite.vectors[0], expect=Expect.EITHER)
    assert check_ours(odd).outcome is Outcome.PASS
    assert check_ours(changed(odd, "latents.0")).outcome is Outcome.FAIL
    assert CommandDecoder(script(tmp_path, "sys.exit(1)"))(odd).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "stage", ["parameters.arm_weight", "latents.2", "dense", "synthesis", "samples"]
)
def test_another_digest_fails_at_its_stage(suite: Suite, stage: str) -> None:
    result = check_ours(changed(suite.vectors[0], stage))
    assert result.outcome is Outcome.FAIL
    assert result.divergence is not None
    assert result.divergence.stage == stage


def test_a_wrong_reference_is_not_held_against_others(suite: Suite) -> None:
    vector = changed(suite.vectors[0], "latents.0")
    result = check_stages(vector, decode_stages)
    assert result.outcome is Outcome.NOT_RUN
    assert "our own decoder fails here" in result.message


def test_wrong_errors(suite: Suite) -> None:
    (cut,) = (v for v in suite.vectors if v.id == "cut")
    other = dataclasses.replace(cut, error=ExpectedError("CorruptError", "img_size"))
    assert check_ours(other).outcome is Outcome.WRONG_ERROR
    must_decode = dataclasses.replace(cut, expect=Expect.DECODE)
    assert check_ours(must_decode).outcome is Outcome.FAIL


def test_decoding_what_must_be_refused_fails(suite: Suite) -> None:
    good = dataclasses.replace(suite.vectors[0], expect=Expect.REFUSE)
    assert check_ours(good).outcome is Outcome.FAIL


def only_samples(_: bytes) -> Stages:
    yield "samples", np.zeros(3, np.uint8)


def test_a_side_that_decodes_everything_fails(suite: Suite) -> None:
    (cut,) = (v for v in suite.vectors if v.id == "cut")
    result = check_stages(cut, only_samples)
    assert result.outcome is Outcome.FAIL


def test_a_side_that_leaves_stages_out_fails(suite: Suite) -> None:
    result = check_stages(suite.vectors[0], only_samples)
    assert result.divergence is not None
    assert result.divergence.found == "nothing"


def test_writing_is_compared(suite: Suite, tmp_path: Path) -> None:
    """A header with an unknown extra byte is read but not written again."""
    data = suite.vectors[0].read()
    header = int.from_bytes(data[:8], "big") + (1 << 12)  # n_bytes_header
    extended = header.to_bytes(8, "big") + b"\0" + data[8:]
    path = tmp_path / "extended.cool"
    path.write_bytes(extended)
    vector = dataclasses.replace(suite.vectors[0], path=path, sha256="")
    result = check_ours(vector)
    assert result.divergence is not None
    assert result.divergence.stage == "rewritten"
    assert check_ours(dataclasses.replace(vector, canonical=False)).outcome is Outcome.PASS


def test_other_generations_are_not_supported(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "old.cool"
    path.write_bytes(bytes.fromhex("0009 0010 0010 00 20 00 0020") + bytes(30))
    old = dataclasses.replace(suite.vectors[0], path=path, sha256="", generation="3.4")
    (result,) = run_vectors([old])
    assert result.outcome is Outcome.NOT_SUPPORTED
    old = dataclasses.replace(suite.vectors[0], generation="4.2")
    (result,) = run_vectors([old], side="trainer")
    assert result.outcome is Outcome.NOT_SUPPORTED


def test_only_generations_that_are_claimed_are_run(suite: Suite, tmp_path: Path) -> None:
    old = dataclasses.replace(suite.vectors[0], generation="4.1")
    command = CommandDecoder(script(tmp_path, "sys.exit(1)"))
    (result,) = run_vectors([old], command=command)
    assert result.outcome is Outcome.NOT_SUPPORTED
    assert result.message.endswith("not said to know generation 4.1")
    (result,) = run_vectors([old], command=command, generations=["4.1", "5.0"])
    assert result.outcome is Outcome.FAIL
    (result,) = run_vectors([suite.vectors[0]], generations=["4.1"])
    assert result.outcome is Outcome.NOT_SUPPORTED


def test_a_process_that_dies(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numchic_conformance.worker._serve", conformance_tools.serve_death)
    results = list(run_vectors(suite.vectors[:2]))
    assert {r.outcome for r in results} == {Outcome.CRASH}
    assert "7" in results[0].message


def test_a_vector_that_hangs(suite: Suite, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.cool"
    os.mkfifo(pipe)
    hanging = dataclasses.replace(suite.vectors[0], path=pipe)
    results = list(run_vectors([hanging, suite.vectors[1]], timeout=1.5))
    assert [r.outcome for r in results] == [Outcome.TIMEOUT, Outcome.PASS]


def test_a_side_that_does_not_start(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numchic_conformance.worker._serve", conformance_tools.serve_failure)
    with pytest.raises(UsageError, match="no such luck"):
        list(run_vectors(suite.vectors))


def test_an_unknown_side(suite: Suite) -> None:
    with pytest.raises(UsageError, match="no such side"):
        list(run_vectors(suite.vectors, side="nobody"))
