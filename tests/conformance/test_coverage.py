# SPDX-License-Identifier: BSD-3-Clause
"""Every item of the format is exercised, and the table in the repository is the computed one."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from numchic_conformance.coverage.facts import stream_facts
from numchic_conformance.coverage.items import Item, all_items
from numchic_conformance.coverage.table import Table, project_table, render, uncovered
from numchic_conformance.synthetic import generate

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "conformance"

# Modules that look at what a stream says, and what they say of it only to a caller.
READERS = [
    *(ROOT / "bitstream" / "numchic_bitstream").glob("*.py"),
    *(ROOT / "bitstream" / "numchic_bitstream" / "v5").glob("*.py"),
    *(
        ROOT / "decoder" / "numchic" / "v5" / f"{name}.py"
        for name in ("arm", "frame", "ifce", "latents", "prediction")
    ),
]
ERRORS = {"CorruptError", "TruncatedError", "IntegrityError", "UnsupportedError"}
NOT_IN_STREAMS = {
    "not a whole number of words",  # n_bytes_latent is a multiple of 4
    "the number is too long",  # 4.x
}


@pytest.fixture(scope="module")
def table() -> Table:
    return project_table(FOLDER)


def test_the_committed_table_is_the_computed_one(table: Table) -> None:
    assert (FOLDER / "coverage.md").read_text(encoding="utf-8") == render(table)


def test_nothing_is_uncovered(table: Table) -> None:
    assert uncovered(table) == []
    assert len(table) > 500


def test_items_differ() -> None:
    keys = Counter(item.key for item in all_items())
    assert [key for key, n in keys.items() if n > 1] == []
    texts = Counter((item.section, item.text) for item in all_items())
    assert [text for text, n in texts.items() if n > 1] == []


def test_every_section_is_in_one_place() -> None:
    sections = [item.section for item in all_items()]
    assert len(set(sections)) == sum(
        a != b for a, b in zip(["", *sections], sections, strict=False)
    )


def reasons(path: Path) -> Iterator[str]:
    """Reasons of the stream errors that a module raises."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        if getattr(node.func, "id", "") in ERRORS and isinstance(first, ast.Constant):
            yield str(first.value)


def test_every_check_of_the_reader_refuses_a_vector(table: Table) -> None:
    found = {
        key.rpartition(".")[2] for item in table for key in [item.key] if "refused." in item.key
    }
    raised = {reason for path in READERS for reason in reasons(path)} - NOT_IN_STREAMS
    assert len(raised) > 25
    assert raised - found - {"illegal value"} == set()


def test_an_uncovered_item_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = generate.made
    monkeypatch.setattr(generate, "made", lambda suite: made(suite)[:1])
    generate.generate(tmp_path)
    small = project_table(tmp_path)
    assert "n_frames.max" in {item.key for item in uncovered(small)}
    assert "| 0 | **none** |" in render(small)
    assert render({Item("1", "a", "text"): ("x", "y", "z", "w")}).endswith(
        "| text | 4 | x, y, z |\n"
    )


def test_facts_of_a_worked_stream() -> None:
    facts = stream_facts((FOLDER / "vectors" / "stills" / "coder-one-symbol.cool").read_bytes())
    assert {"still", "grids.one", "coder.words.one", "img_size.height.min"} <= facts
    assert not {"video", "coder.renormalisation.again", "order.wavefront"} & facts
    refused = stream_facts((FOLDER / "vectors" / "malformed" / "ups-k-size-5.cool").read_bytes())
    assert refused == {
        "illegal.ups_k_size=5",
        "refused.CorruptError.ups_k_size.illegal value",
    }
