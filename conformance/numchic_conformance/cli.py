# SPDX-License-Identifier: BSD-3-Clause
"""``numchic conformance``: run, list and describe vectors, and make them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import exit_status, is_terminal
from numchic.files.images import write_file
from numchic_bitstream import UsageError
from numchic_conformance.manifest import Level, Suite, Vector, select

_PATH = click.Path(path_type=Path)


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """Arguments and options that choose vectors."""
    for decorator in (
        click.option(
            "--filter",
            "patterns",
            multiple=True,
            metavar="PATTERN",
            help="Take only vectors with an id or a feature that matches, such as 'arm-*'. The "
            "option may be repeated.",
        ),
        click.option(
            "--level",
            type=click.Choice([level.value for level in Level]),
            default=Level.CORE.value,
            show_default=True,
            help="core is quick, full is everything that matters, stress takes long.",
        ),
        click.argument("places", metavar="[SUITE|DIR]...", nargs=-1, type=_PATH),
    ):
        command = decorator(command)
    return command


def _chosen(places: tuple[Path, ...], level: str, patterns: tuple[str, ...]) -> list[Vector]:
    from numchic_conformance.library import load_suites

    vectors = [vector for suite in load_suites(places) for vector in suite.vectors]
    chosen = select(vectors, Level(level), patterns)
    if not chosen:
        raise UsageError(
            f"no vector is chosen at level {level}", "filter", None, ", ".join(patterns) or None
        )
    return chosen


@click.group("conformance")
def conformance_command() -> None:
    """Test decoders with streams whose results are known.

    SUITE is a file, or the name of a suite of the project, such as stills. A DIR may also hold
    vectors of others, if their index is of a known form. Without SUITE or DIR all suites of the
    project are used.
    """


@conformance_command.command("run")
@_selection
@click.option(
    "--decoder",
    metavar="COMMAND",
    help="Test this command line, which has {input}, {output} and perhaps {stages} in it. Without "
    "it numchic itself is tested.",
)
@click.option(
    "--side",
    default="numchic",
    show_default=True,
    help="Test another decoder of this Python, such as trainer, the torch modules of the encoder.",
)
@click.option(
    "--generation",
    "generations",
    multiple=True,
    metavar="GENERATION",
    help="Say which generation of the format the decoder knows, such as 4.2. The option may be "
    "repeated; vectors of other generations count as not supported. Default: 5.0, and all for "
    "numchic itself.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Run this many vectors at a time. Default: one per processor.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Give up on a vector after this many seconds.",
)
@click.option(
    "--unsupported-status",
    type=click.IntRange(1, 127),
    default=3,
    show_default=True,
    help="Take this exit status of the command to mean that it does not support the stream.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=_PATH,
    help="Write a report to this file: .json, .xml (JUnit), .md or .html. The option may be "
    "repeated.",
)
@click.option("-v", "--verbose", is_flag=True, help="List the vectors that passed as well.")
def run_command(**arguments: Any) -> None:
    """Run a decoder on vectors.

    Exit status: 0 nothing failed, 1 a vector failed, 2 usage, 5 a file cannot be read or written.
    """
    with exit_status():
        passed = _run(**arguments)
    sys.exit(0 if passed else 1)


def _run(
    places: tuple[Path, ...],
    level: str,
    patterns: tuple[str, ...],
    decoder: str | None,
    side: str,
    generations: tuple[str, ...],
    jobs: int | None,
    timeout: float,
    unsupported_status: int,
    reports: tuple[Path, ...],
    verbose: bool,
) -> bool:
    from numchic_conformance.command import CommandDecoder
    from numchic_conformance.outcome import Result
    from numchic_conformance.report import EXTENSIONS, Report, describe, write_report
    from numchic_conformance.runner import run_vectors

    for path in reports:
        if path.suffix.lower() not in EXTENSIONS:
            allowed = ", ".join(EXTENSIONS)
            raise UsageError("unknown kind of report", "report", None, path.name, allowed)
    vectors = _chosen(places, level, patterns)
    command: CommandDecoder | None = None
    if decoder is not None:
        command = CommandDecoder(decoder, timeout, unsupported_status)
    running: Iterable[Result] = run_vectors(
        vectors,
        command=command,
        side=side,
        timeout=timeout,
        jobs=jobs or os.cpu_count() or 1,
        generations=generations,
    )
    with ExitStack() as stack:
        if is_terminal():
            bar = click.progressbar(running, length=len(vectors), file=sys.stderr)
            running = stack.enter_context(bar)
        results = list(running)
    for result in results:
        if verbose or result.outcome not in {"pass", "not supported"}:
            description = describe(result)
            click.echo(
                f"{result.outcome:13s} {result.id}" + (f": {description}" * bool(description))
            )
    report = Report(decoder or side, vectors, results)
    click.echo(report.summary())
    for path in reports:
        write_report(report, path)
    return report.passed


@conformance_command.command("list")
@_selection
def list_command(places: tuple[Path, ...], level: str, patterns: tuple[str, ...]) -> None:
    """List vectors: id, level, what a decoder has to do, what is exercised."""
    with exit_status():
        for vector in _chosen(places, level, patterns):
            click.echo(
                f"{vector.id:44s} {vector.level:6s} {vector.expect:16s} {vector.description}"
            )


@conformance_command.command("describe")
@click.argument("identifier", metavar="ID")
@click.argument("places", metavar="[SUITE|DIR]...", nargs=-1, type=_PATH)
def describe_command(identifier: str, places: tuple[Path, ...]) -> None:
    """Tell everything that is known of a vector."""
    with exit_status():
        from numchic_conformance.library import load_suites

        found = [(s, v) for s in load_suites(places) for v in s.vectors if v.id == identifier]
        if not found:
            raise UsageError("no such vector", "id", None, identifier)
        for suite, vector in found:
            _describe(suite, vector)


def _describe(suite: Suite, vector: Vector) -> None:
    facts: dict[str, object] = {
        "suite": suite.name,
        "file": vector.path,
        "sha256": vector.sha256,
        "level": vector.level,
        "generation": vector.generation,
        "source": vector.source,
        "licence": vector.licence,
        "features": ", ".join(vector.features),
        "expected": vector.expect,
    }
    if vector.picture is not None:
        p = vector.picture
        size = f"{p.width}x{p.height}, {p.data_type}, {p.bitdepth} bits"
        facts["picture"] = f"{size}, {p.frames} frames" if p.frames > 1 else size
    if vector.error is not None:
        facts["error"] = f"{vector.error.error}, field {vector.error.field}"
    if vector.bounds is not None:
        b = vector.bounds
        facts["bounds"] = f"{b.changed_samples} samples, by {b.max_abs_diff}: {b.reason}"
    click.echo(f"{vector.id}: {vector.description}")
    for name, value in (facts | dict(vector.digests)).items():
        if value:
            click.echo(f"  {name:28s} {value}")


@conformance_command.command("stages")
@click.argument("stream", metavar="IN", type=_PATH)
@click.argument("folder", metavar="DIR", type=_PATH)
def stages_command(stream: Path, folder: Path) -> None:
    """Write every stage of decoding IN as an array into DIR: NAME.npy.

    parameters.M_K (int64), latents.K (int8, in 4.x int32; 0 is the finest), dense, synthesis and,
    in 4.x, prediction (float32), samples (uint8 or uint16).
    """
    with exit_status():
        from numchic_conformance.stages import decode_samples, decode_stages, write_stages

        data = stream.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        write_stages(decode_stages(data), folder)
        samples = decode_samples(data, check_integrity=False)
        write_stages(iter([("samples", samples)]), folder)


def _require_development_install() -> None:
    """Raise an error where the modules that make vectors have been left out."""
    if importlib.util.find_spec("numchic_conformance.synthetic") is None:
        raise UsageError("this needs a development install: pip install -e . in a checkout")


@conformance_command.command("coverage")
@click.argument("folder", metavar="[DIR]", required=False, type=_PATH)
@click.option(
    "--json", "as_json", is_flag=True, help="Print every item with all its vectors, as JSON."
)
@click.option("--write", is_flag=True, help="Write the table to DIR/coverage.md.")
def coverage_command(folder: Path | None, as_json: bool, write: bool) -> None:
    """Compute which vectors exercise which part of the format.

    DIR is a folder like conformance of the project, which is the default. Exit status 1 if
    something is not covered.
    """
    with exit_status():
        _require_development_install()
        from numchic_conformance.coverage.table import project_table, render, uncovered
        from numchic_conformance.library import default_folder

        place = folder or default_folder()
        table = project_table(place)
        if as_json:
            items = [
                {"section": item.section, "item": item.text, "vectors": ids}
                for item, ids in table.items()
            ]
            click.echo(json.dumps(items, indent=1))
        if write:
            write_file(place / "coverage.md", render(table).encode())
        missing = uncovered(table)
        for item in missing:
            click.echo(f"not covered: {item.section}: {item.text}", err=True)
        click.echo(f"{len(table)} items, {len(missing)} not covered", err=as_json)
    sys.exit(1 if missing else 0)


@conformance_command.command("generate")
@click.argument("folder", metavar="[DIR]", required=False, type=_PATH)
@click.option("--check", is_flag=True, help="Write nothing; compare with what is there.")
def generate_command(folder: Path | None, check: bool) -> None:
    """Make the synthetic vectors and their suites again, in DIR or the project's own folder.

    With --check the exit status is 1 if a file differs.
    """
    differing: list[str] = []
    with exit_status():
        _require_development_install()
        from numchic_conformance.library import default_folder
        from numchic_conformance.synthetic.generate import check as compare
        from numchic_conformance.synthetic.generate import generate

        place = folder or default_folder()
        if check:
            differing = compare(place)
        else:
            generate(place)
    for name in differing:
        click.echo(f"differs: {name}")
    sys.exit(1 if differing else 0)


@conformance_command.command("export-fluster")
@click.argument("output", metavar="OUT", type=_PATH)
@_selection
@click.option("--name", default="numchic", show_default=True, help="The name of the suite.")
@click.option(
    "--base-url",
    required=True,
    help="The address of the folder that holds the folders of the streams.",
)
def export_fluster_command(
    output: Path,
    places: tuple[Path, ...],
    level: str,
    patterns: tuple[str, ...],
    name: str,
    base_url: str,
) -> None:
    """Write the vectors as a test suite for fluster.

    Fluster has no name for Cool-chic, so that the codec is its "None", and not for all pixel
    formats: RGB is written as planes (gbrp); vectors that it cannot express, and those that must or
    may be refused, are left out.
    """
    with exit_status():
        from numchic_conformance.fluster import fluster_suite

        vectors = _chosen(places, level, patterns)
        document = fluster_suite(name, vectors, base_url)
        write_file(output, (json.dumps(document, indent=4) + "\n").encode())
        n = len(document["test_vectors"])
        click.echo(f"{n} vectors written, {len(vectors) - n} left out")
