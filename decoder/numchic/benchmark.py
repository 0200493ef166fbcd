# SPDX-License-Identifier: BSD-3-Clause
"""``python -m numchic.benchmark FILE``: time the stages of decoding a picture.

Kernels are warm; the median of several runs is shown. Stages are timed one after the other in one
thread; the whole decoding, in which they overlap, with each of the given numbers of threads.
"""

from __future__ import annotations

import functools
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numba
import numpy as np

from numchic._version import __version__
from numchic.api import decode, read_info
from numchic.frame import to_samples
from numchic.latents import decode_latents
from numchic.noise import common_randomness
from numchic.resize import resize
from numchic.synthesis import synthesise
from numchic.upsampling import upsample
from numchic_bitstream.grids import grid_list
from numchic_bitstream.parameters import read_parameters
from numchic_bitstream.stream import read_stream


def _median_seconds(function: Callable[[], object], runs: int) -> float:
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _stages(data: bytes) -> dict[str, Callable[[], object]]:
    """Build functions that run one stage each, on the results of the stages before."""
    frame = read_stream(data).frames[0]
    coolchic, header = frame.residue, frame.residue.header
    parameters = read_parameters(header, coolchic.nn_payload)
    grids = decode_latents(coolchic, parameters)
    latents = [g for g, kind in zip(grids, grid_list(header), strict=True) if not kind.hyper]
    stages: dict[str, Callable[[], object]] = {
        "headers": lambda: read_stream(data),
        "parameters": lambda: read_parameters(header, coolchic.nn_payload),
        "latents": lambda: decode_latents(coolchic, parameters),
        "upsampling": lambda: upsample(header, parameters.upsampling, latents),
    }
    dense = upsample(header, parameters.upsampling, latents)
    if header.flag_common_randomness:
        levels = header.latent_resolution
        stages["noise"] = lambda: common_randomness(header.img_size, *levels)
        dense = np.concatenate([dense, common_randomness(header.img_size, *levels)])
    stages["synthesis"] = lambda: synthesise(header, parameters.synthesis, dense)
    output = synthesise(header, parameters.synthesis, dense)
    kind = header.final_upsampling_type
    stages["resize"] = lambda: resize(output, header.img_size, kind)
    signal = resize(output, header.img_size, kind)
    data_type, bitdepth = frame.header.frame_data_type, frame.header.bitdepth
    stages["samples"] = lambda: to_samples(signal, data_type, bitdepth)
    return stages


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=9, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=[1, 2], show_default=True, multiple=True, type=int)
def main(file: Path, runs: int, threads: tuple[int, ...]) -> None:
    """Time the stages of decoding FILE."""
    data = file.read_bytes()
    info = read_info(data)
    n_pixels = info.width * info.height
    n_symbols = sum(h * w for h, w in info.frames[0].parts[0].grids)
    click.echo(
        f"numchic {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"Numba {numba.__version__}, {platform.machine()}"
    )
    click.echo(
        f"{file.name}: {info.width}x{info.height}, {n_symbols} symbols, "
        f"{info.macs_per_pixel:.0f} MAC per pixel; median of {runs} runs"
    )
    click.echo(f"{'stage':22s} {'ms':>8s} {'ns/pixel':>9s} {'ns/symbol':>10s}")

    def show(name: str, seconds: float) -> None:
        ns = 1e9 * seconds
        click.echo(f"{name:22s} {1e3 * seconds:8.2f} {ns / n_pixels:9.2f} {ns / n_symbols:10.2f}")

    for name, function in _stages(data).items():
        show(name, _median_seconds(function, runs))
    for n in threads:
        whole = functools.partial(decode, data, threads=n)
        show(f"decode, {n} thread(s)", _median_seconds(whole, runs))


if __name__ == "__main__":
    main()
