# SPDX-License-Identifier: BSD-3-Clause
"""The site of the documentation: no page or public name is left out, no module invented."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import griffe
import pytest

import site_commands
import site_docstrings
import site_pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGES = {
    "numchic": "numchic",
    "numchic_bitstream": "numchic_bitstream",
    "numchic_conformance": "numchic_conformance",
    "numchic_trainer": "numchic_trainer",
    "numchic_trainer.study": "numchic_trainer",
}
"""The page of each."""
DIRECTIVE = re.compile(r"^::: (numchic[\w.]*\.\w+)$", re.M)
MODULE = re.compile(r"\bnumchic(?:_\w+)?(?:\.[a-z]\w*)+")


def navigation() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"^ +- (?:.*: )?(\S+\.md)$", text, re.M)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    pages += [name for name in site_pages.OUTSIDE if name.endswith(".md")]
    assert sorted(navigation()) == sorted(pages)


@pytest.mark.parametrize("name", site_pages.OUTSIDE)
def test_pages_that_are_not_in_docs_exist(name: str) -> None:
    assert (ROOT / name).is_file()


def test_public_names_are_described_once() -> None:
    described = [
        name
        for page in sorted(set(PACKAGES.values()))
        for name in DIRECTIVE.findall((DOCS / f"api/{page}.md").read_text(encoding="utf-8"))
    ]
    public = {
        package: {n for n in importlib.import_module(package).__all__ if n != "__version__"}
        for package in PACKAGES
    }
    public["numchic_bitstream"] -= public["numchic"]  # its page says where these are
    assert sorted(described) == sorted(f"{p}.{name}" for p in PACKAGES for name in public[p])


def test_commands_of_other_packages_are_described() -> None:
    assert {"decode", "conformance", "encode", "train-ladder"} <= set(
        site_commands.numchic.commands
    )


def load(name: str, folder: str) -> griffe.Module:
    found = griffe.load(
        name,
        search_paths=[ROOT / folder],
        docstring_parser="numpy",
        extensions=griffe.Extensions(site_docstrings.Docstrings()),
    )
    assert isinstance(found, griffe.Module)
    return found


def test_settings_are_shown_as_they_are_at_run_time() -> None:
    settings = load("numchic_trainer.config", "trainer").classes["TrainConfig"]
    assert str(settings.attributes["lmbda"].value) == "0.001"
    assert settings.docstring is not None
    assert "lmbda : a number" in settings.docstring.value


def test_docstrings_have_links_and_one_entry_for_every_name() -> None:
    docstring = load("numchic.api", "decoder").functions["open"].docstring
    assert docstring is not None
    assert "\nsource\n    See <autoref identifier" in docstring.value
    assert "\nlimits\n    See <autoref identifier" in docstring.value
    assert 'identifier="numchic.api.decode"' in docstring.value


@pytest.mark.parametrize("document", ["inside.md", "figures/inside.svg"])
def test_modules_of_the_inside_exist(document: str) -> None:
    modules = set(MODULE.findall((DOCS / document).read_text(encoding="utf-8")))
    assert len(modules) > 20
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []


def test_pictures_load_nothing_from_elsewhere() -> None:
    for path in (DOCS / "figures").glob("*.svg"):
        assert site_pages.loaded_from_elsewhere(path.read_text("utf-8")) == [], path


def test_what_is_loaded_from_elsewhere_is_found() -> None:
    page = '<a href="https://a.org/"><img src="b.png"><script src="https://c.org/d.js"></script>'
    assert site_pages.loaded_from_elsewhere(page) == ["https://c.org/d.js"]
    assert site_pages.loaded_from_elsewhere("<link href=//e.org/f.css>") == ["//e.org/f.css"]


@pytest.mark.parametrize(
    ("path", "link", "moved"),
    [
        ("docs/index.md", "../conformance/README.md", "conformance/README.md"),
        ("docs/api/numchic.md", "../python.md#encoding", "../python.md#encoding"),
        ("conformance/README.md", "../docs/spec/coolchic-5.md", "../spec/coolchic-5.md"),
        ("conformance/README.md", "coverage.md", "coverage.md"),
        ("CHANGELOG.md", "docs/trailer.md#34-texts", "trailer.md#34-texts"),
        ("docs/video.md", "#targets", "#targets"),
        ("CHANGELOG.md", "https://example.org/docs/a.md", "https://example.org/docs/a.md"),
    ],
)
def test_links_lead_to_the_same_page_in_the_site(path: str, link: str, moved: str) -> None:
    assert site_pages.move_links(f"see [this]({link}).", path) == f"see [this]({moved})."
