# SPDX-License-Identifier: BSD-3-Clause
"""``numchic study``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import is_terminal
from numchic_bitstream import NumchicError
from numchic_trainer.config import TrainConfig
from numchic_trainer.kernels.workers import available_cores
from numchic_trainer.study.anchors import parse_anchors
from numchic_trainer.study.config import AXES, StudyConfig
from numchic_trainer.study.names import printable
from numchic_trainer.study.run import run_study
from numchic_trainer.study.session import StudyEvent

_NONE = "none"


def study(
    folder: Path,
    out: Path,
    settings: dict[str, Any],
    anchors: Sequence[str],
    qualities: Sequence[str],
    crops: str | None,
    jobs: int | None,
    scheduler: str | None,
    **more: Any,
) -> None:
    """Compare codecs on the pictures of a folder."""
    axes = {name: settings.pop(name) for name in AXES if name in settings}
    config = StudyConfig(**axes, common=TrainConfig(**settings))
    wanted = [] if tuple(anchors) == (_NONE,) else anchors
    codecs = parse_anchors(wanted, [_listed(text) for text in qualities])
    with progress_line() as progress:
        result = run_study(
            folder,
            out,
            config,
            anchors=codecs if anchors else None,
            crops=None if crops is None else () if crops == _NONE else _listed(crops),
            jobs=jobs or (1 if scheduler else available_cores()),
            scheduler=scheduler,
            progress=progress,
            **more,
        )
    for remark in result.remarks:
        click.echo(f"numchic: {printable(remark)}", err=True)
    n_points = len(result.points)
    click.echo(f"{n_points} point{'' if n_points == 1 else 's'}: {result.files[-1]}", err=True)
    if result.n_failed:
        raise NumchicError(f"{result.n_failed} points or pictures could not be measured")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


@contextmanager
def progress_line() -> Iterator[Callable[[StudyEvent], None]]:
    """Give a callback that draws a bar if there is a terminal, and otherwise writes lines."""
    if not is_terminal():

        def say(event: StudyEvent) -> None:
            words = event.point if event.error is None else f"{event.point}: {event.error}"
            click.echo(f"{event.n_done} of {event.n_points}: {printable(words)}", err=True)

        yield say
        return
    latest: list[str] = []

    def words(_: object) -> str | None:
        return latest[-1] if latest else None

    with click.progressbar(
        length=1, label="points", show_pos=True, file=sys.stderr, item_show_func=words
    ) as bar:

        def update(event: StudyEvent) -> None:
            latest[:] = [printable(event.point)]
            bar.length = event.n_points
            bar.update(event.n_done - bar.pos, None)

        yield update
