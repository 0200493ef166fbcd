# SPDX-License-Identifier: BSD-3-Clause
"""Pages of the site that are not in ``docs``, for MkDocs: they stay where readers of code look.

In the site a page has the path that it has in the repository, without the leading ``docs/``. Links
are rewritten to that, so that they lead to the same page in both.
"""

from __future__ import annotations

import logging
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "conformance/README.md",
    "conformance/coverage.md",
    "conformance/numchic_conformance/schema.json",
    "examples/README.md",
)
_LOADED = re.compile(r"<(?!a\b)\w[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
_LOG = logging.getLogger("mkdocs.hooks")
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_startup(**_: Any) -> None:
    """Let plugins import what is beside this file."""
    sys.path.append(str(Path(__file__).parent))


def on_files(files: Files, /, *, config: MkDocsConfig, **_: Any) -> Files:
    """Add the files that are not in ``docs``."""
    root = Path(config.config_file_path).parent
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, /, *, page: Page, **_: Any) -> str:
    """Let links lead to where their targets are in the site."""
    here = page.file.src_uri
    return move_links(markdown, here if here in OUTSIDE else f"docs/{here}")


def on_post_page(output: str, /, *, page: Page, **_: Any) -> str:
    """Warn of what a page would load from elsewhere: readers are nobody else's business."""
    for address in loaded_from_elsewhere(output):
        _LOG.warning("%s loads %s", page.file.src_uri, address)
    return output


def loaded_from_elsewhere(html: str) -> list[str]:
    """Give the addresses of scripts, styles and pictures that are not of the site."""
    return _LOADED.findall(html)


def move_links(markdown: str, path: str) -> str:
    """Rewrite the relative links of the document that is at ``path`` in the repository."""

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link[0]))
        home = posixpath.dirname(path.removeprefix("docs/"))
        return posixpath.relpath(target.removeprefix("docs/"), home or ".")

    return _LINK.sub(moved, markdown)
