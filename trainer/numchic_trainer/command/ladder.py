# SPDX-License-Identifier: BSD-3-Clause
"""``numchic train-ladder`` and ``numchic ladder inspect``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch

from numchic.command.cli import is_terminal
from numchic_bitstream import UsageError
from numchic_trainer.command.encode import progress_bar
from numchic_trainer.command.job import complain, interruptible
from numchic_trainer.command.names import (
    check_output,
    input_of,
    open_checkpoint,
    write_output,
)
from numchic_trainer.command.table import check_table_name, write_table
from numchic_trainer.config import Preset
from numchic_trainer.ladder.config import LadderConfig
from numchic_trainer.ladder.crops import Crops
from numchic_trainer.ladder.pack import Pack, read_pack, shipped_pack
from numchic_trainer.ladder.training import LadderTraining
from numchic_trainer.pictures import read_picture

_SAVE_SECONDS = 60.0


def train_ladder(
    images: Path,
    out: Path,
    config: LadderConfig,
    threads: int,
    log: Path | None,
    resume: bool,
    restart: bool,
) -> None:
    """Train a ladder and write its pack."""
    if log is not None:
        check_table_name(log)
        check_output(log, [])
    check_output(out, [])
    if out.exists():
        read_pack(out)  # nothing else is replaced by a pack
    checkpoint = open_checkpoint(out, resume, restart)
    if checkpoint is None:
        raise UsageError("a pack needs a file", "out", None, str(out))
    torch.set_num_threads(threads)
    training = LadderTraining(Crops(images, complain), config)
    if checkpoint.exists():
        training.load(checkpoint)
    else:
        with progress_bar("first networks") as tell:
            training.prepare(tell)
        training.save(checkpoint)
    with _progress_bar() as update, interruptible(update) as watched:
        saved_at = time.monotonic()
        while training.progress < 1:
            training.advance()
            try:
                watched(training)
            except KeyboardInterrupt:  # anywhere else it is a second one, amid a step
                training.save(checkpoint)
                raise
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                training.save(checkpoint)
                saved_at = time.monotonic()
    training.pack().write(out)
    if log is not None:
        write_table(log, training.log)
    checkpoint.unlink(missing_ok=True)
    click.echo(
        f"{out.name}: {out.stat().st_size} bytes, {training.step} steps on "
        f"{len(training.crops.names)} pictures, {training.seconds / 60:.1f} minutes",
        err=True,
    )


@contextmanager
def _progress_bar() -> Iterator[Callable[[LadderTraining], None] | None]:
    """Give a callback that draws loss, rate, error and the time left, if there is a terminal."""
    if not is_terminal():
        yield None
        return
    shown: list[dict[str, float]] = []

    def numbers(_: object) -> str | None:
        form = "step {step:.0f}  loss {loss:.4f}  {bpp:.3f} bpp  error {mse:.5f}"
        return form.format(**shown[-1]) if shown else None

    with click.progressbar(
        length=1000, label="training", file=sys.stderr, item_show_func=numbers
    ) as bar:

        def update(training: LadderTraining) -> None:
            shown[:] = training.log[-1:]
            bar.update(int(1000 * training.progress) - bar.pos, None)

        yield update


def inspect_ladder(
    picture: Path, out: Path, pack: Path | None, preset: Preset, lmbda: float
) -> None:
    """Draw what a ladder makes of a picture, and tell what the pack is."""
    from numchic_trainer.figures import png
    from numchic_trainer.ladder.inspect import draw, inspect

    check_output(out, [picture] if pack is None else [picture, pack])
    source = read_picture(input_of(picture))
    found = shipped_pack(preset) if pack is None else read_pack(pack)
    write_output(out, png(draw(source, inspect(found, source, preset, lmbda))))
    click.echo(_description(found), err=True)


def _description(pack: Pack) -> str:
    low, high = pack.lambdas
    meta = pack.meta
    return (
        f"pack for lambda {low:g} to {high:g} and the presets {', '.join(pack.decoders)}, "
        f"{meta['steps']} steps on {', '.join(meta['pictures'])}"
    )
