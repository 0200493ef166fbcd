# SPDX-License-Identifier: BSD-3-Clause
"""Commands of the trainer: options; the work is in the modules beside.

This module does not load torch, so that help is quick and works without it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from numchic.command.cli import exit_status
from numchic_bitstream import UsageError

_SETTINGS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (
        ("--preset",),
        {
            "type": click.Choice(["auto", "lop", "mop", "hop", "vhop"]),
            "default": "auto",
            "help": "Size of the networks: decoding costs about 500, 1000, 2000 or 3000 "
            "multiplications per pixel.",
        },
    ),
    (
        ("--lmbda",),
        {
            "type": click.FloatRange(min=0, min_open=True),
            "default": 1e-3,
            "help": "Price of a bit per pixel in mean squared error: 1e-4 for high rates, 2e-2 for "
            "low ones.",
        },
    ),
    (
        ("--target-bpp",),
        {
            "type": click.FloatRange(min=0, min_open=True),
            "help": "Find the lambda that gives this rate, trailer not counted, within 2 %.",
        },
    ),
    (
        ("--target-psnr",),
        {
            "type": click.FloatRange(min=0, max=100, min_open=True, max_open=True),
            "help": "Find the lambda that gives this quality, within 0.1 dB.",
        },
    ),
    (
        ("--effort",),
        {
            "type": click.Choice(["fast", "medium", "slow", "best"]),
            "default": "medium",
            "help": "Time to be spent: 80, 400, 2000 or 10000 iterations; fast also leaves the "
            "last optimisation of the networks out.",
        },
    ),
    (
        ("--iterations",),
        {"type": click.IntRange(min=0), "help": "Instead of those of the effort."},
    ),
    (("--seed",), {"type": click.IntRange(min=0), "default": 0, "help": "Of all random numbers."}),
    (
        ("--tune",),
        {
            "type": click.Choice(["mse", "wasserstein"]),
            "default": "mse",
            "help": "What to optimise for: least squared error, or natural texture.",
        },
    ),
    (
        ("--init",),
        {
            "default": "auto",
            "help": "Where to start: zero (nothing is known), shared (networks that were trained "
            "on other pictures), ladder (also latents predicted from the picture), auto (ladder "
            "for short encodes if it fits, else shared), or a stream, whose networks are taken.",
        },
    ),
    (
        ("--init-pack",),
        {
            "type": click.Path(path_type=str, dir_okay=False),
            "help": "File of numchic train-ladder to start from, not the one that is shipped.",
        },
    ),
    (
        ("--latents", "latent_resolution"),
        {"metavar": "LO:HI", "default": "auto", "help": "Log2 down-sampling of the latents."},
    ),
    (
        ("--hyper-latents", "hyper_latent_resolution"),
        {"metavar": "LO:HI", "default": "none", "help": "Of the hyperlatents, auto or none."},
    ),
    (
        ("--ifce", "ifce_resolution"),
        {
            "metavar": "LO:HI",
            "default": "0:2",
            "help": "Of the latents with inter-feature contexts, or none.",
        },
    ),
    (
        ("--common-randomness/--no-common-randomness",),
        {"default": None, "help": "Feed noise to the synthesis; default: if tuned for texture."},
    ),
    (
        ("--final-upsampling", "final_upsampling_type"),
        {
            "type": click.Choice(["nearest", "bilinear", "bicubic"]),
            "default": "bicubic",
            "help": "Used if the finest latent is smaller than the picture.",
        },
    ),
    (
        ("--trailer/--no-trailer",),
        {"default": True, "help": "Append digests by which damage is noticed: 45 bytes."},
    ),
    (
        ("--metadata",),
        {
            "is_flag": True,
            "help": "Carry colour profile, Exif data and texts of the picture in the trailer.",
        },
    ),
    (("--device",), {"default": "cpu", "help": "cpu, cuda, or another device of torch."}),
    (("--threads",), {"type": click.IntRange(min=1), "default": 1, "help": "Of one encode."}),
]
_RANGES = ("latent_resolution", "hyper_latent_resolution", "ifce_resolution")

_SOURCE: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--size",), {"metavar": "WxH", "help": "Of a .yuv file."}),
    (
        ("--data-type",),
        {"type": click.Choice(["yuv420", "yuv444"]), "help": "Of a .yuv file."},
    ),
    (("--bitdepth",), {"type": click.IntRange(8, 16), "help": "Of a .yuv file."}),
]


def _options(
    table: list[tuple[tuple[str, ...], dict[str, Any]]], argument: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the options of a table, collected into one dictionary."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        names = [_argument_of(declarations) for declarations, _ in table]

        @functools.wraps(command)
        def collected(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in names}
            command(**{argument: values}, **arguments)

        decorated: Callable[..., None] = collected
        for declarations, attributes in reversed(table):
            shown = attributes.get("default") is not None
            decorated = click.option(*declarations, show_default=shown, **attributes)(decorated)
        return decorated

    return decorate


def _argument_of(declarations: tuple[str, ...]) -> str:
    return declarations[-1].split("/")[0].removeprefix("--").replace("-", "_")


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of TrainConfig.of_effort."""
    return values | {name: _range(name, values[name]) for name in _RANGES}


def _range(name: str, text: str) -> tuple[int, int] | str | None:
    if text == "none" and name != "latent_resolution":
        return None
    if text == "auto" and name != "ifce_resolution":
        return None if name == "latent_resolution" else "auto"
    low, _, high = text.partition(":")
    if not (low.isdecimal() and high.isdecimal()):
        raise UsageError("not a range of resolutions", name, None, text, "such as 0:6")
    return int(low), int(high)


def _source(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of read_picture."""
    size = values["size"]
    if size is None:
        return values
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError("not a size", "size", None, size, "such as 352x288")
    return values | {"size": (int(height), int(width))}


def _require_torch() -> None:
    """Raise an error that says what to install."""
    importlib.import_module("numchic_trainer").TrainConfig  # noqa: B018


@click.command("encode")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=str))
@_options(_SETTINGS, "settings")
@_options(_SOURCE, "source")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Encodes at the same time, each a process.",
)
@click.option(
    "--log", type=click.Path(path_type=Path), help="Write the training log: .csv or .jsonl."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pictures of what was done: index.html.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted encode.")
@click.option("--restart", is_flag=True, help="Throw an interrupted encode away.")
def encode_command(**arguments: Any) -> None:
    """Encode the picture IN to the Cool-chic 5.0 stream OUT.

    IN is any picture that Pillow reads, a PPM of up to 16 bits, or a planar .yuv file. With several
    pictures, or if its name ends in a slash, OUT is a folder. "-" is standard input or output. The
    stream is decoded again and compared before it is written.

    What an interrupted encode has learned is kept beside OUT, in a file that ends in .training.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.encode import encode_files

        arguments["settings"] = _settings(arguments["settings"])
        arguments["source"] = _source(arguments["source"])
        encode_files(**arguments)


@click.command("encode-batch")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_options(_SETTINGS, "settings")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the streams and summary.csv; default: DIR.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster; default: this machine.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Encodes at the same time; default: one per processor or worker thread.",
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

        arguments["settings"] = _settings(arguments["settings"])
        encode_batch(**arguments)


@click.command("train-ladder")
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Folder of photographs; a dozen are enough.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time to be spent.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Number of steps instead of a time; the result can then be reproduced.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The pack: .npz."
)
@click.option(
    "--presets",
    default="lop,mop,hop,vhop",
    show_default=True,
    help="Whose decoder networks are trained.",
)
@click.option(
    "--kappa",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Weight of the KL divergence beside the rate of the decoder.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--log", type=click.Path(path_type=Path), help="Write the training log: .csv or .jsonl."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@click.option("--restart", is_flag=True, help="Throw an interrupted training away.")
def train_ladder_command(
    images: Path,
    minutes: float,
    steps: int | None,
    out: Path,
    presets: str,
    kappa: float,
    seed: int,
    **arguments: Any,
) -> None:
    """Learn from pictures how encodes should start.

    The pack is for encode --init-pack. What an interrupted training has learned is kept beside it,
    in a file that ends in .training.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.ladder import train_ladder
        from numchic_trainer.ladder.training import LadderConfig

        names: Any = tuple(presets.split(","))
        config = LadderConfig(presets=names, minutes=minutes, steps=steps, kappa=kappa, seed=seed)
        train_ladder(images, out, config, **arguments)


@click.group("ladder")
def ladder_command() -> None:
    """Look at what encodes start from."""


@ladder_command.command("inspect")
@click.argument("picture", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--pack", type=click.Path(path_type=Path), help="Default: the one that is shipped.")
@click.option(
    "--preset",
    type=click.Choice(["lop", "mop", "hop", "vhop"]),
    default="hop",
    show_default=True,
    help="Networks that decode the latents.",
)
@click.option(
    "--lmbda",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Price of a bit that the latents are for.",
)
def inspect_command(**arguments: Any) -> None:
    """Draw to OUT (.png) where the ladder spends bits on the picture IN."""
    with exit_status():
        _require_torch()
        from numchic_trainer.command.ladder import inspect_ladder

        inspect_ladder(**arguments)
