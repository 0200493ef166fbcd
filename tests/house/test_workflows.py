# SPDX-License-Identifier: BSD-3-Clause
"""Workflows are valid as far as that can be seen here, and call what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from check import CHECKS
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
PYTHON = "Programming Language :: Python :: "

workflow = pytest.mark.parametrize("name", sorted(WORKFLOWS))


def jobs_of(name: str) -> dict[str, Any]:
    jobs: dict[str, Any] = WORKFLOWS[name]["jobs"]
    return jobs


def commands_of(name: str) -> Iterator[str]:
    """Lines of all scripts, with the values of a matrix of commands."""
    for job in jobs_of(name).values():
        yield from job.get("strategy", {}).get("matrix", {}).get("command", [])
        for step in job["steps"]:
            yield from step.get("run", "").splitlines()


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_there_are_workflows() -> None:
    assert sorted(WORKFLOWS) == ["docs.yml", "tests.yml", "weekly.yml", "wheels.yml"]


@workflow
def test_rights_and_times_are_limited(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert "group" in WORKFLOWS[name]["concurrency"]
    for title, job in jobs_of(name).items():
        assert 0 < job["timeout-minutes"] <= 180, title
        assert "write" not in job.get("permissions", {}).values() or "environment" in job, title


@workflow
def test_actions_have_a_version(name: str) -> None:
    for job in jobs_of(name).values():
        for step in job["steps"]:
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))


@workflow
def test_what_commands_name_is_there(name: str) -> None:
    for command in commands_of(name):
        for script in re.findall(r"\b(?:tests|tools)/[\w/]+(?:\.py)?", command):
            assert (ROOT / script).exists(), command
        for extras in re.findall(r'"\.\[(.*?)\]"', command):
            assert set(extras.split(",")) <= set(project()["optional-dependencies"]), command


def test_pythons_and_checks() -> None:
    machines = jobs_of("tests.yml")["checks"]["strategy"]["matrix"]["include"]
    found = {machine["python"] for machine in machines}
    named = [c.removeprefix(PYTHON) for c in project()["classifiers"] if c.startswith(PYTHON)]
    assert found == set(named)
    assert {name for machine in machines for name in machine["checks"].split()} <= set(CHECKS)
    complete = {machine["os"] for machine in machines if not machine["checks"]}
    assert complete == {"ubuntu-24.04", "ubuntu-24.04-arm"}
    assert '".[test]" && python tests/check.py\n' in (ROOT / "README.md").read_text()


def test_the_heavier_checks_are_those_of_the_document() -> None:
    document = (ROOT / "CONTRIBUTING.md").read_text()
    jobs = jobs_of("weekly.yml")
    for command in jobs["check"]["strategy"]["matrix"]["command"]:
        assert f"\n    {command} " in document, command
    assert jobs["fuzz"]["strategy"]["matrix"]["target"] == list(TARGETS)
    assert "\n    python tests/fuzz/run.py TARGET -max_total_time=600 " in document


def test_only_a_tag_is_published() -> None:
    publish = jobs_of("wheels.yml")["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == {"try", "try-musl"}
    assert jobs_of("docs.yml")["deploy"]["if"] == "github.ref == 'refs/heads/main'"


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint() -> None:
    done = subprocess.run(
        ["actionlint", "-no-color"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
