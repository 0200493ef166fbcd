# SPDX-License-Identifier: BSD-3-Clause
"""What documents link to is there: files of the project, and headings in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "examples", "conformance", "trainer", "tests")
DOCUMENTS = [*ROOT.glob("*.md"), *(path for f in FOLDERS for path in (ROOT / f).rglob("*.md"))]
LINK = re.compile(r"\]\((?!\w+://)([^)#\s]*)(?:#([^)\s]*))?\)")


def text_of(path: Path) -> str:
    """Give a document without its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document: Path) -> None:
    for name, anchor in LINK.findall(text_of(document)):
        target = document.parent / name if name else document
        assert target.exists(), f"{name} is not there"
        assert not anchor or anchor in anchors_of(target), f"{name} has no heading {anchor}"
