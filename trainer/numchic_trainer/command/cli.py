# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode`` and ``numchic encode-batch``: options; the work is in the modules beside.

This module does not load torch, so that help is quick and works without it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from numchic.cli import exit_status
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
        ("--iterations",),
        {"type": click.IntRange(min=20), "default": 1000, "help": "More are better and slower."},
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
            "default": "shared",
            "help": "Networks to start from: random, shared (trained on other pictures), or a "
            "stream.",
        },
    ),
    (
        ("--latents", "latent_resolution"),
        {"metavar": "LO:HI", "default": "auto", "help": "Log2 down-sampling of the latents."},
    ),
    (
        ("--hyper-latents", "hyper_latent_resolution"),
        {"metavar": "LO:HI", "default": "auto", "help": "Of the hyperlatents, or none."},
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
    """Arguments of TrainConfig."""
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
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
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
    pictures OUT is a folder. The stream is decoded again and compared before it is written.

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
    missing: pictures that are new or changed, or whose settings are others.
    """
    with exit_status():
        _require_torch()
        from numchic_trainer.command.batch import encode_batch

        arguments["settings"] = _settings(arguments["settings"])
        encode_batch(**arguments)
