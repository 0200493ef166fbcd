# SPDX-License-Identifier: BSD-3-Clause
"""The command line of the runner."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner, Result

from conformance_tools import script, tiny_suite
from numchic.command.cli import main
from numchic_conformance import save_suite


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    path = folder / "tiny.json"
    save_suite(tiny_suite(folder), path)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["conformance", *map(str, arguments)])


def test_run(suite: Path, tmp_path: Path) -> None:
    reports = [tmp_path / f"report{kind}" for kind in (".json", ".xml", ".md", ".html")]
    options = [word for path in reports for word in ("--report", path)]
    result = call("run", suite, "-v", *options)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "6 vectors: 6 pass"
    document = json.loads(reports[0].read_text())
    assert document["counts"] == {"pass": 6}
    assert [r["id"] for r in document["results"]][:2] == ["good", "other"]
    cases = ET.parse(reports[1]).getroot()
    assert (cases.get("tests"), cases.get("failures")) == ("6", "0")
    assert "| good | pass |" in reports[2].read_text()
    ET.fromstring(reports[3].read_text().replace("<!doctype html>", "").replace(
        '<meta charset="utf-8">', ""
    ))  # fmt: skip


def test_run_of_a_bad_decoder(suite: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    decoder = script(tmp_path, "print('<&>'); sys.exit(1)")
    result = call("run", suite, "--decoder", decoder, "--jobs", 2, "--report", report)
    assert result.exit_code == 1
    assert "fail          good: exit status 1: <&>" in result.output
    assert result.output.splitlines()[-1] == "6 vectors: 2 pass, 4 fail"
    assert ET.parse(report).getroot().get("failures") == "4"


def test_an_empty_decoder_is_not_ours(suite: Path) -> None:
    assert call("run", suite, "--decoder", "").exit_code == 2


def test_run_nothing(suite: Path) -> None:
    result = call("run", suite, "--filter", "nothing")
    assert result.exit_code == 2
    assert "no vector is chosen" in result.output


def test_an_unknown_report_is_refused_before_running(suite: Path, tmp_path: Path) -> None:
    result = call("run", suite, "--report", tmp_path / "report.doc")
    assert result.exit_code == 2
    assert "vectors:" not in result.output


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    assert call("run", tmp_path / "none.json").exit_code == 5


def test_a_suite_of_the_project_by_its_name() -> None:
    result = call("list", "v4", "--filter", "*")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 89


@pytest.mark.parametrize("name", ["still", "stills.cool", "suites/stills", "STILLS"])
def test_an_unknown_name_lists_the_suites(name: str) -> None:
    result = call("run", name)
    assert result.exit_code == 2
    assert "no such suite" in result.output
    assert (
        "malformed, stills, trained-videos, trained, v4-malformed, v4, videos, or a"
        in result.output
    )


def test_a_folder_without_suites_lists_them_as_well(tmp_path: Path) -> None:
    result = call("run", tmp_path)
    assert result.exit_code == 2
    assert "stills" in result.output


def test_list(suite: Path) -> None:
    lines = call("list", suite, "--filter", "second", "--filter", "cut").output.splitlines()
    assert [line.split()[0] for line in lines] == ["other", "cut"]


def test_describe(suite: Path) -> None:
    output = call("describe", "good", suite).output
    assert "latents.0" in output
    assert "6x5, rgb, 8 bits" in output
    assert call("describe", "nobody", suite).exit_code == 2


def test_stages(suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "stages"
    assert call("stages", suite.parent / "good.cool", folder).exit_code == 0
    assert np.load(folder / "latents.0.npy").shape == (5, 6)
    assert np.load(folder / "samples.npy").size == 90
    assert call("stages", suite.parent / "cut.cool", folder).exit_code == 1
