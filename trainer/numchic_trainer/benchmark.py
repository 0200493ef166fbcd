# SPDX-License-Identifier: BSD-3-Clause
"""Speed, memory and quality of training: ``python -m numchic_trainer.benchmark TABLE``.

``iterations`` is about one iteration, ``encodes`` about whole files, ``videos`` about clips. Rows
can be kept (``--save``) and compared with those of another time or version (``--against``). Times
are CPU seconds of this process.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from torch import nn

from numchic.command.options import FrameRange
from numchic.picture import Picture
from numchic_bitstream.arrays import F32
from numchic_trainer.architecture import architecture
from numchic_trainer.config import PRESETS, Preset, TrainConfig
from numchic_trainer.encoding import encode
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import as_array
from numchic_trainer.model.encoder import CoolChicEncoder, picture_parameters, rate_parameters
from numchic_trainer.pictures import read_picture
from numchic_trainer.surroundings import surroundings
from numchic_trainer.training.plan import plan
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Training
from numchic_trainer.video.benchmark import KEYS, measure_clip, parse_settings

Row = dict[str, Any]

_WARM_UP = 5
_FIXED = ("start", "quantise", "rdoq", "write")


def _picture(height: int, width: int) -> Picture:
    """Something with edges, ramps and texture."""
    y, x = np.mgrid[:height, :width]
    texture = np.random.default_rng(0).normal(0, 8, (3, height, width))
    shapes = 60 * np.stack([np.sin(x / 9), np.sin(y / 7), np.sign(np.sin((x + y) / 23))])
    planes = np.clip(128 + shapes + texture, 0, 255).astype(np.uint8)
    return Picture((planes[0], planes[1], planes[2]), "rgb", 8)


def _median(work: Callable[[], object], n: int) -> tuple[float, float]:
    """Median milliseconds on the clock and of CPU time."""
    walls, cpus = [], []
    for _ in range(_WARM_UP + n):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    return statistics.median(walls[_WARM_UP:]), statistics.median(cpus[_WARM_UP:])


def measure_iteration(preset: Preset, height: int, width: int, threads: int, n: int = 40) -> Row:
    """Time of an iteration of the main phase, evaluations left out."""
    config = TrainConfig(preset=preset, iterations=100 * n)
    with surroundings("cpu"), Workers(threads) as workers:
        model = CoolChicEncoder(architecture(config, preset, (height, width)))
        target = Target.of_picture(_picture(height, width), config.lmbda)
        training = Training(model, target, 0, workers)
        training.begin("zero", plan(config, preset, "zero")[-1:], [model.get_param()])
        wall, cpu = _median(training.advance, n)
        stages = {name: _median(work, n)[1] for name, work in _stages(model, workers).items()}
    return {
        "preset": preset,
        "size": f"{width}x{height}",
        "threads": threads,
        "per_second": round(1000 / wall, 2),
        "wall_ms": round(wall, 3),
        "cpu_ms": round(cpu, 3),
        "cpu_ns_per_pixel": round(1e6 * cpu / (height * width), 1),
        **{f"{name}_cpu_ms": round(ms, 3) for name, ms in stages.items()},
    }


def _stages(model: CoolChicEncoder, workers: Workers) -> dict[str, Callable[[], object]]:
    """Forward and backward of the two large stages; the rest is noise, loss and optimiser."""
    header = model.header
    random = np.random.default_rng(0)
    symbols: F32 = random.normal(0, 0.5, header.derived.n_samples).astype(np.float32)
    rate, picture = RateSweep(header, workers), PictureSweep(header, None, workers)
    by_rate, by_picture = map(_arrays, (rate_parameters(model), picture_parameters(model)))
    d_rate, d_picture = ([np.empty_like(a) for a in arrays] for arrays in (by_rate, by_picture))
    d_symbols = np.zeros_like(symbols)
    d_raw = np.full((3, *model.param.img_size), 1e-6, np.float32)

    def both_ways() -> None:
        picture.render(symbols, by_picture)
        picture.differentiate(symbols, d_raw, d_symbols, d_picture)

    return {
        "rate": lambda: rate.differentiate(symbols, by_rate, 1e-9, d_symbols, d_rate),
        "picture": both_ways,
    }


def _arrays(parameters: list[nn.Parameter]) -> list[F32]:
    return [as_array(parameter) for parameter in parameters]


def measure_encode(name: str, **settings: Any) -> Row:
    """Quality, size, time and memory of a file; a crop of 256 x 256 is named PICTURE@X,Y."""
    import resource  # not on Windows, which has iterations only

    picture = _read(name)
    result = encode(picture, TrainConfig(**settings))
    seconds = result.cpu_seconds
    total = sum(seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    return {
        "picture": Path(name).name,
        **{key: value for key, value in settings.items() if value is not None},
        "chosen": f"{result.preset} from {result.start}",
        "bytes": len(result.stream) - result.trailer_bytes,
        "bpp": round(result.bits_per_pixel, 5),
        "psnr_db": round(result.psnr_db, 4),
        "j_x1000": round(1000 * result.loss, 5),
        "cpu_s": round(total, 2),
        "fixed_s": round(sum(seconds.get(phase, 0.0) for phase in _FIXED), 2),
        "peak_mb": round(peak / 1e6),
    }


def _read(name: str) -> Picture:
    path, _, corner = name.partition("@")
    whole = read_picture(path)
    if not corner:
        return whole
    x, y = map(int, corner.split(","))
    first, second, third = (plane[y : y + 256, x : x + 256] for plane in whole.planes)
    return Picture((first, second, third), whole.data_type, whole.bitdepth)


def _report(
    rows: Iterator[Row], keys: tuple[str, ...], save: Path | None, against: Path | None
) -> None:
    """Print rows as they come, with the ratio to those of an earlier run, and keep them."""
    before = (
        {} if against is None else {_key(row, keys): row for row in json.loads(against.read_text())}
    )
    kept: list[Row] = []
    for row in rows:
        kept.append(row)
        click.echo("  ".join(f"{name}={value}" for name, value in row.items()))
        old = before.get(_key(row, keys))
        if old is not None:
            ratios = {
                name: value / old[name]
                for name, value in row.items()
                if name not in keys and isinstance(value, int | float) and old.get(name)
            }
            click.echo("  x " + "  ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()))
        if save is not None:
            save.write_text(json.dumps(kept, indent=1) + "\n")


def _key(row: Row, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in keys)


def _listed(kind: Any) -> Any:
    """Callback of an option whose values are separated by commas."""
    return lambda _, __, text: [kind(value) for value in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(height), int(width)


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(help=__doc__.partition("\n\n")[2])
def main() -> None:
    """Measure."""


@main.command()
@click.argument("presets", nargs=-1, type=click.Choice(get_args(Preset)))
@click.option(
    "--sizes", default="128x128,256x256,512x512", show_default=True, callback=_listed(_size)
)
@click.option("--threads", default="1", show_default=True, callback=_listed(int))
@click.option("--save", type=_FILE)
@click.option("--against", type=_FILE)
def iterations(
    presets: tuple[Preset, ...],
    sizes: list[tuple[int, int]],
    threads: list[int],
    save: Path | None,
    against: Path | None,
) -> None:
    """Time of an iteration by preset, size and number of threads."""
    cases = itertools.product(presets or tuple(PRESETS), sizes, threads)
    rows = (measure_iteration(preset, *size, n) for preset, size, n in cases)
    _report(rows, ("preset", "size", "threads"), save, against)


@main.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--presets", default="lop", show_default=True, callback=_listed(str))
@click.option("--efforts", default="medium", show_default=True, callback=_listed(str))
@click.option(
    "--iterations", callback=lambda _, __, text: text and [int(n) for n in text.split(",")]
)
@click.option("--inits", default="auto", show_default=True, callback=_listed(str))
@click.option("--lambdas", default="1e-3", show_default=True, callback=_listed(float))
@click.option("--seeds", default="0", show_default=True, callback=_listed(int))
@click.option("--threads", default=1, show_default=True)
@click.option("--save", type=_FILE)
@click.option("--against", type=_FILE)
def encodes(
    pictures: tuple[str, ...],
    threads: int,
    save: Path | None,
    against: Path | None,
    iterations: list[int] | None,
    **axes: list[Any],
) -> None:
    """Whole encodes: J, size, time, of which fixed, and the largest memory of the process."""
    names = {
        "presets": "preset",
        "efforts": "effort",
        "inits": "init",
        "lambdas": "lmbda",
        "seeds": "seed",
    }
    cases = itertools.product(pictures, [*(iterations or (None,))], *(axes[name] for name in names))
    rows = (
        measure_encode(
            picture, iterations=n, threads=threads, **dict(zip(names.values(), case, strict=True))
        )
        for picture, n, *case in cases
    )
    _report(rows, ("picture", "iterations", *names.values()), save, against)


@main.command()
@click.argument("clips", nargs=-1, required=True, type=_FILE)
@click.option("--frames", type=FrameRange())
@click.option("--structures", default="low-delay", show_default=True, callback=_listed(str))
@click.option(
    "--settings",
    default="",
    metavar="NAME=VALUE,...",
    callback=lambda _, __, text: parse_settings(text),
)
@click.option("--ablations", is_flag=True, help="Also encode without one thing after the other.")
@click.option("--anchors", type=_FILE, help="Table of other encoders.")
@click.option("--save", type=_FILE)
@click.option("--against", type=_FILE)
def videos(
    clips: tuple[Path, ...],
    frames: int | slice | None,
    save: Path | None,
    against: Path | None,
    **arguments: Any,
) -> None:
    """Encodes of clips: size, quality, loss with a lambda of 1e-3, time."""
    wanted = slice(frames, frames + 1) if isinstance(frames, int) else frames
    rows = (row for clip in clips for row in measure_clip(clip, wanted, **arguments))
    _report(rows, KEYS, save, against)


if __name__ == "__main__":
    main()
