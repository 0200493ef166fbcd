# SPDX-License-Identifier: BSD-3-Clause
"""Commands of the trainer: options; the work is in the modules beside.

This module does not load torch, so that help is quick and works without it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import exit_status
from numchic.command.options import FrameRange
from numchic_trainer.command.options import (
    option,
    options,
    source_options,
    study_options,
    table_of,
    train_options,
    video_options,
)
from numchic_trainer.config import LMBDA, PRESETS, THREADS
from numchic_trainer.ladder.config import LadderConfig
from numchic_trainer.settings import Setting, choice


def _require_torch() -> None:
    """Raise an error that says what to install."""
    importlib.import_module("numchic_trainer").encode  # noqa: B018


def _require_study() -> None:
    """Raise an error that says what to install."""
    importlib.import_module("numchic_trainer.study").run_study  # noqa: B018


@click.command("encode")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=str))
@video_options
@source_options
@click.option(
    "--frames",
    type=FrameRange(),
    help="Only frame N, or frames A to B - 1 of a video are encoded, counted from 0.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="So many pictures, or frames of a video, are encoded at the same time, each in a process "
    "of its own.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="The frames of a video are encoded on this Dask cluster.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="The training log, of a video what became of every frame, goes into this file: .csv or "
    ".jsonl.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    help="This folder gets pictures of what was done, in index.html.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted encode.")
@click.option("--restart", is_flag=True, help="Throw an interrupted encode away.")
def encode_command(**arguments: Any) -> None:
    """Encode the picture or video IN to the Cool-chic 5.0 stream OUT.

    IN is any picture that Pillow reads, PNG, TIFF, PPM and .npy of up to 16 bits, a planar .yuv or
    .y4m file of one frame or more, or numbered pictures such as frame-%04d.png. With several
    pictures, or if its name ends in a slash, OUT is a folder. "-" is standard input or output. The
    stream is decoded again and compared before it is written.

    What an interrupted encode has learned is kept beside OUT, in a file that ends in .training; of
    a video the frames that are finished, in a folder.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.encode import encode_files

        encode_files(**arguments)


@click.command("encode-batch")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@train_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="The streams and summary.csv go into this folder. The default is DIR.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="The pictures are encoded on this Dask cluster. The default is this machine.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="So many pictures are encoded at the same time. The default is one per processor or "
    "thread of a worker.",
)
def encode_batch_command(**arguments: Any) -> None:
    """Encode all pictures of the folder DIR.

    Streams and the table summary.csv are written as they come. Called again, it encodes what is
    missing: pictures that are new or changed, or whose settings are others. Sub-folders are not
    looked at.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.batch import encode_batch

        encode_batch(**arguments)


@click.command("study")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="This folder gets index.html, summary.md, results.csv, figures and streams. What it holds "
    "from before is not measured again.",
)
@study_options
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="CODEC",
    help="A codec to compare: jpeg, jpeg-444, webp, avif, avif-444, jxl, with other qualities "
    'than the usual ones as "avif:30,60", or any codec by its commands, as "NAME=enc {input} '
    '{output} -q {q}; dec {output} {decoded}". May be given several times. The default is jpeg, '
    "webp, avif and, with a plugin of Pillow, jxl; none is none.",
)
@click.option(
    "--q",
    "qualities",
    multiple=True,
    metavar="A,B,...",
    help="{q} stands for these values, in all commands or, given as often, in one after the other.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A CSV file with curves of others: columns picture, bpp or bytes, psnr_db, and more.",
)
@click.option(
    "--crops",
    metavar="NAME,...",
    help="Parts of these pictures are shown side by side at equal size; none is none. The default "
    "is the first picture.",
)
@click.option(
    "--reference",
    metavar="CURVE",
    help="BD figures are against this curve. The default is the first anchor.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="This Dask cluster measures. The default is this machine.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="So many points are measured at the same time. The default is one per processor or "
    "thread of a worker; with one, times are those of an idle machine.",
)
def study_command(**arguments: Any) -> None:
    """Compare settings and codecs on all pictures of the folder DIR.

    Every picture is encoded for every lambda, preset and effort, decoded, and measured: size, PSNR,
    MS-SSIM, CPU time. The same goes for other codecs. The page index.html shows curves, BD figures,
    times and pictures; results.csv has all numbers. A study that was interrupted goes on when it is
    called again. Sub-folders are not looked at.
    """
    with exit_status():
        _require_study()
        from numchic_trainer.command.study import study

        study(**arguments)


@click.command("train-ladder")
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The photographs to learn from are in this folder; a dozen are enough.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The pack goes into this file: .npz.",
)
@options("settings", table_of(LadderConfig))
@option("threads", Setting(THREADS, "The training uses this many threads."), 1)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="The training log goes into this file: .csv or .jsonl.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@click.option("--restart", is_flag=True, help="Throw an interrupted training away.")
def train_ladder_command(
    images: Path, out: Path, settings: dict[str, Any], **arguments: Any
) -> None:
    """Learn from pictures how encodes should start.

    The pack is for encode --init-pack. What an interrupted training has learned is kept beside it,
    in a file that ends in .training.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.ladder import train_ladder

        train_ladder(images, out, LadderConfig(**settings), **arguments)


@click.group("ladder")
def ladder_command() -> None:
    """Look at what encodes start from."""


@ladder_command.command("inspect")
@click.argument("picture", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--pack",
    type=click.Path(path_type=Path),
    help="This pack is looked at. The default is the one that is shipped.",
)
@option("preset", Setting(choice(*PRESETS), "These networks decode the latents."), "hop")
@option("lmbda", Setting(LMBDA, "The latents are for this price of a bit."), 1e-3)
def inspect_command(**arguments: Any) -> None:
    """Draw to OUT (.png) where the ladder spends bits on the picture IN."""
    with exit_status():
        _require_torch()
        from numchic_trainer.command.ladder import inspect_ladder

        inspect_ladder(**arguments)
