# SPDX-License-Identifier: BSD-3-Clause
"""Look at pages in a real browser: ``python tests/browser.py [PAGE ...] --shots DIR``.

Pages are files, or folders with ``index.html``; without any, the page of a study is made of points
that were never measured. Each is opened in Chromium, without a window, as a file: there must be no
error in the console and no request to the network, every plot must be visible, tables must sort by
a click, links within the page and to files beside it must lead somewhere, and nothing may be wider
than a telephone or a desk's screen. The screenshots are for people. Needs the extra ``browser`` and
a Chromium, which is looked for on the path.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urldefrag, urlparse

import numpy as np

from numchic_trainer.study.crops import Sample
from numchic_trainer.study.output import write_output
from study_points import study_points

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
Scheme = Literal["light", "dark"]
VIEWS: dict[str, tuple[int, Scheme]] = {
    "desk": (1280, "light"),
    "dark": (1280, "dark"),
    "telephone": (400, "light"),
}
# A site may hide a picture of its own will: the one for the other colours.
BLANK = """img => !img.naturalWidth
    || getComputedStyle(img).display !== "none" && !img.getBoundingClientRect().width"""


def main() -> int:
    """Look at all pages named on the command line."""
    from playwright.sync_api import sync_playwright  # an extra that other tests do without

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    parser.add_argument("--shots", type=Path, metavar="DIR", help="folder for screenshots")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's file")
    arguments = parser.parse_args()
    if not arguments.chromium:
        parser.error("there is no chromium on the path: name it with --chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        pages = arguments.pages or [synthetic_study(Path(scratch) / "study")]
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, headless=True, args=list(FLAGS)
        )
        faults = [
            f"{page}: {fault}"
            for page in pages
            for fault in look_at(browser, page.resolve(), arguments.shots)
        ]
        browser.close()
    print("\n".join(faults) or f"{len(pages)} looked at, nothing found")
    return 1 if faults else 0


def synthetic_study(folder: Path) -> Path:
    """Make the page of a study."""
    points = study_points()
    y, x = np.mgrid[:256, :384]
    source = np.stack([x % 256, y, (x * y) // 97 % 256], axis=2).astype(np.uint8)
    sample = Sample(points[0].picture, source, [(p, source // 8 * 8) for p in points[1:60:13]])
    folder.mkdir()
    (folder / "results.csv").touch()
    remarks = ["broken.png was left out: it is not a PNG file."]
    write_output(folder, points, [sample], remarks, {"made of": "invented points"})
    return folder


def look_at(browser: Browser, page: Path, shots: Path | None) -> Iterator[str]:
    """All faults of a page."""
    file = page / "index.html" if page.is_dir() else page
    for view, (width, scheme) in VIEWS.items():
        for fault in _view(browser, file, view, width, scheme, shots):
            yield f"{view}: {fault}"


def _view(
    browser: Browser, file: Path, view: str, width: int, scheme: Scheme, shots: Path | None
) -> Iterator[str]:
    faults: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(f"script: {error}"))
    tab.on("request", lambda r: faults.append(f"request: {r.url}") if _is_remote(r.url) else None)
    tab.on("requestfailed", lambda r: faults.append(f"not loaded: {r.url[:200]}"))
    tab.goto(file.as_uri(), wait_until="load")
    _shoot(tab, shots, file, view)
    tab.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    tab.locator("img").evaluate_all("all => all.forEach(one => one.loading = 'eager')")
    tab.wait_for_load_state("networkidle")
    _shoot(tab, shots, file, f"{view}-open")
    yield from faults
    yield from _images(tab)
    yield from _links(tab, file)
    if tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        yield "wider than the window"
    if view == "desk":
        tables = tab.locator("table.sortable")
        for k in range(tables.count()):
            yield from _sorting(tables.nth(k))
    tab.close()


def _is_remote(address: str) -> bool:
    return urlparse(address).scheme not in ("file", "data", "blob")


def _shoot(tab: Page, shots: Path | None, file: Path, view: str) -> None:
    if shots is not None:
        shots.mkdir(parents=True, exist_ok=True)
        name = "-".join((*file.parts[-3:-1], file.stem, view))
        tab.screenshot(path=shots / f"{name}.png", full_page=True)


def _images(tab: Page) -> Iterator[str]:
    """Images that are not shown."""
    blank = f"all => all.filter({BLANK}).map(one => one.alt || one.src.slice(0, 200))"
    for name in tab.locator("img").evaluate_all(blank):
        yield f"image not visible: {name}"


def _links(tab: Page, file: Path) -> Iterator[str]:
    """Links that lead nowhere: in the page, or to files."""
    for link in tab.locator("a[href]").evaluate_all("all => all.map(one => one.href)"):
        address, fragment = urldefrag(link)
        if urlparse(address).scheme != "file":
            continue
        target = Path(unquote(urlparse(address).path))
        if not target.exists():
            yield f"link to nothing: {link}"
        elif target == file and fragment:
            known = "name => document.getElementById(name) !== null"
            if not tab.evaluate(known, unquote(fragment)):
                yield f"link to no part of the page: {link}"


def _sorting(table: Locator) -> Iterator[str]:
    """Columns that a click on their heading does not sort, or a second one the other way."""
    heads = table.locator("thead tr:last-child > *")
    for column in range(heads.count()):
        head = heads.nth(column)
        before = sorted(_cells(table, column))
        for direction in ("ascending", "descending"):
            head.locator("button").click()
            cells = _cells(table, column)
            number = "number" in (head.get_attribute("class") or "")
            sorts = table.locator("[aria-sort]")
            if sorts.count() != 1 or head.get_attribute("aria-sort") != direction:
                yield f"{head.inner_text()}: aria-sort is not {direction}"
            if sorted(cells) != before or not _sorted(cells, number, direction == "descending"):
                yield f"{head.inner_text()}: not sorted, {direction}: {cells[:8]}"


def _cells(table: Locator, column: int) -> list[str]:
    rows = f"all => all.map(row => row.cells[{column}].textContent)"
    cells: list[str] = table.locator("tbody tr").evaluate_all(rows)
    return cells


def _sorted(cells: list[str], number: bool, reverse: bool) -> bool:
    """Whether cells are in order, empty ones last; texts by the browser's language, so not here."""
    filled = [cell for cell in cells if cell]
    if cells[: len(filled)] != filled:
        return False
    if not number:
        return True
    values = [float(cell.split()[0]) for cell in filled]
    return values == sorted(values, reverse=reverse)


if __name__ == "__main__":
    sys.exit(main())
