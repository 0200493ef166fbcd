# SPDX-License-Identifier: BSD-3-Clause
"""What a start is worth: encode pictures from several starts, with several numbers of iterations.

``python measure_starts.py OUT.csv PICTURE[@X,Y]... [options]``. With ``@X,Y`` a crop of 256 x 256
is taken, its left upper corner at column X and row Y. Every encode is a schedule of its own. J is
mean squared error + lambda * bits per pixel of the decoded file, times 1000. Rows that OUT.csv
already has are not computed again.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from numchic_trainer import TrainConfig, encode, read_picture

KEYS = ("picture", "preset", "lmbda", "seed", "start", "iterations")
VALUES = ("j", "bpp", "psnr_db", "cpu_seconds", "found")
STARTS: dict[str, dict[str, Any]] = {
    "zero": {"init": "zero"},
    "zero1": {"init": "zero", "n_candidates": 1, "n_finalists": 1},  # no tournament
    "shared": {"init": "shared"},
    "ladder": {"init": "ladder"},
    "fast": {"init": "ladder", "rdoq": False},
}


def samples(name: str) -> NDArray[np.uint8]:
    """Read a picture or a crop of it."""
    path, _, corner = name.partition("@")
    whole = read_picture(path).to_rgb().astype(np.uint8)
    if not corner:
        return whole
    x, y = map(int, corner.split(","))
    return whole[y : y + 256, x : x + 256]


def measure(picture: NDArray[np.uint8], start: str, **settings: Any) -> list[Any]:
    """Encode once and return what VALUES says."""
    settings |= STARTS.get(start) or {"init": start}  # or a stream of another picture
    result = encode(picture, TrainConfig(**settings))
    seconds = round(sum(result.cpu_seconds.values()), 2)
    return [1000 * result.loss, result.bits_per_pixel, result.psnr_db, seconds, result.start]


def listed(kind: Any) -> Any:
    """Callback of an option whose values are separated by commas."""
    return lambda _, __, text: [kind(value) for value in text.split(",")]


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("pictures", nargs=-1, required=True)
@click.option("--presets", default="lop", callback=listed(str))
@click.option("--lambdas", default="1e-3", callback=listed(float))
@click.option("--seeds", default="0", callback=listed(int))
@click.option("--starts", default="zero,shared,ladder", callback=listed(str))
@click.option("--iterations", default="100,300,1000", callback=listed(int))
@click.option("--pack", help="Instead of the one that is shipped.")
def main(out: Path, pictures: tuple[str, ...], pack: str | None, **axes: list[Any]) -> None:
    """Measure every combination."""
    done = set()
    if out.exists():
        with out.open(newline="") as file:
            done = {tuple(row[key] for key in KEYS) for row in csv.DictReader(file)}
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(KEYS + VALUES)
        names = ("presets", "lambdas", "seeds", "starts", "iterations")
        for name in pictures:
            picture = samples(name)
            for preset, lmbda, seed, start, n in itertools.product(*(axes[k] for k in names)):
                row = (Path(name).name, preset, lmbda, seed, Path(start).stem, n)
                if tuple(map(str, row)) in done:
                    continue
                values = measure(
                    picture, start, preset=preset, lmbda=lmbda, seed=seed, iterations=n,
                    init_pack=pack,
                )  # fmt: skip
                writer.writerow([*row, *values])
                file.flush()


if __name__ == "__main__":
    main()
