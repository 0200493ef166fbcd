# SPDX-License-Identifier: BSD-3-Clause
"""Reports of a run: JSON, JUnit XML, Markdown, HTML."""

from __future__ import annotations

import html
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numchic
from numchic.files.images import write_file
from numchic_bitstream import UsageError, kernels
from numchic_conformance.manifest import Vector
from numchic_conformance.outcome import Outcome, Result

_HEADINGS = ("vector", "outcome", "ms", "MB", "what")
_COLOURS = {Outcome.PASS: "#e6f4e6", Outcome.NOT_SUPPORTED: "#eee", Outcome.NOT_RUN: "#eee"}
_FAILURE_COLOUR = "#fbe3e3"


@dataclass(frozen=True)
class Report:
    """What a decoder made of vectors; ``results`` in the order of ``vectors``."""

    decoder: str
    vectors: Sequence[Vector]
    results: Sequence[Result]

    @property
    def counts(self) -> dict[Outcome, int]:
        """Number of vectors per outcome that occurs, in the order of :class:`Outcome`."""
        counter = Counter(result.outcome for result in self.results)
        return {outcome: counter[outcome] for outcome in Outcome if counter[outcome]}

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(result.outcome.is_failure for result in self.results)

    def summary(self) -> str:
        """One line: how many vectors had which outcome."""
        counts = ", ".join(f"{n} {outcome}" for outcome, n in self.counts.items())
        return f"{len(self.results)} vectors: {counts or 'none'}"


def describe(result: Result) -> str:
    """Say what a result means, in one line; empty for plain success."""
    return " - ".join(str(part) for part in (result.divergence, result.message) if part)


def _json(report: Report) -> str:
    document = {
        "decoder": report.decoder,
        "runner": f"numchic {numchic.__version__}, kernels: {kernels.describe()}",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "counts": report.counts,
        "results": [asdict(result) for result in report.results],
    }
    return json.dumps(document, indent=1) + "\n"


def _junit(report: Report) -> str:
    skipped = {Outcome.NOT_SUPPORTED, Outcome.NOT_RUN}
    failures = sum(result.outcome.is_failure for result in report.results)
    suite = ET.Element(
        "testsuite",
        name=f"numchic conformance: {report.decoder}",
        tests=str(len(report.results)),
        failures=str(failures),
        skipped=str(sum(result.outcome in skipped for result in report.results)),
    )
    for result in report.results:
        case = ET.SubElement(suite, "testcase", name=result.id, time=f"{result.seconds:.4f}")
        if result.outcome.is_failure:
            ET.SubElement(case, "failure", type=result.outcome, message=_printable(result))
        elif result.outcome in skipped:
            ET.SubElement(case, "skipped", message=_printable(result))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(result: Result) -> str:
    """Description without the control characters that XML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in describe(result))


def _rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            result.id,
            result.outcome,
            f"{1e3 * result.seconds:.1f}",
            "" if result.memory_bytes is None else f"{result.memory_bytes / 1e6:.1f}",
            _printable(result),
        )
        for result in report.results
    ]


def _markdown(report: Report) -> str:
    lines = [f"# Conformance of {report.decoder}", "", report.summary() + ".", ""]
    lines += ["| " + " | ".join(_HEADINGS) + " |", "|---|---|--:|--:|---|"]
    for row in _rows(report):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def _html(report: Report) -> str:
    descriptions = {vector.id: vector.description for vector in report.vectors}
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    body = []
    for result, row in zip(report.results, _rows(report), strict=True):
        colour = _COLOURS.get(result.outcome, _FAILURE_COLOUR)
        title = html.escape(descriptions.get(result.id, ""), quote=True)
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        body.append(f'<tr style="background:{colour}" title="{title}">{cells}</tr>')
    name = html.escape(report.decoder)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Conformance of {name}</title>
<style>
body {{ font: 14px/1.4 sans-serif; margin: 2em }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2em .7em; text-align: left; border-bottom: 1px solid #ccc }}
td:nth-child(3), td:nth-child(4) {{ text-align: right }}
</style>
<h1>Conformance of {name}</h1>
<p>{html.escape(report.summary())}.</p>
<table><thead><tr>{head}</tr></thead>
<tbody>
{chr(10).join(body)}
</tbody></table>
</html>
"""


_WRITERS = {".json": _json, ".xml": _junit, ".md": _markdown, ".html": _html}
EXTENSIONS = tuple(_WRITERS)


def write_report(report: Report, path: Path) -> None:
    """Write a report in the form that the extension of the file asks for.

    Raises
    ------
    UsageError
        The extension is not known.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError("unknown kind of report", "report", None, path.name, ", ".join(_WRITERS))
    write_file(path, writer(report).encode())
