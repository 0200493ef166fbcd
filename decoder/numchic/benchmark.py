# SPDX-License-Identifier: BSD-3-Clause
"""``python -m numchic.benchmark FILE``: time the stages of decoding a picture or a video.

Kernels are warm; the median of several runs is shown. Stages are timed one after the other in one
thread, those of a video for one frame of each type; the whole decoding, in which they overlap, with
each of the given numbers of threads. Of the older generations only the whole is timed.
"""

from __future__ import annotations

import functools
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np

from numchic._version import __version__
from numchic.api import decode_frames, read_info
from numchic.info import StreamInfo
from numchic.picture import Picture
from numchic.schedule import Meter
from numchic.v5.frame import to_samples
from numchic.v5.latents import decode_latents
from numchic.v5.noise import common_randomness
from numchic.v5.prediction import predict
from numchic.v5.resize import resize
from numchic.v5.synthesis import synthesise
from numchic.v5.upsampling import upsample
from numchic_bitstream import kernels
from numchic_bitstream.arrays import F32
from numchic_bitstream.generations import read_any
from numchic_bitstream.limits import Limits
from numchic_bitstream.v5.parameters import read_parameters
from numchic_bitstream.v5.stream import CoolChic, Frame, Stream, read_stream

Stage = tuple[str, Callable[[], object]]

# A benchmark may take its time.
_LIMITS = Limits(work=1 << 62, total_work=1 << 62)


def _median_seconds(function: Callable[[], object], runs: int) -> float:
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _part_stages(part: CoolChic) -> tuple[list[Stage], F32]:
    """Build functions that run one stage each, on the results of the stages before; the signal."""
    header = part.header
    parameters = read_parameters(header, part.nn_payload)
    grids = decode_latents(part, parameters)
    latents = header.derived.latents(grids)
    stages: list[Stage] = [
        ("parameters", lambda: read_parameters(header, part.nn_payload)),
        ("latents", lambda: decode_latents(part, parameters)),
        ("upsampling", lambda: upsample(header, parameters.upsampling, latents)),
    ]
    dense = upsample(header, parameters.upsampling, latents)
    if header.flag_common_randomness:
        levels = header.latent_resolution
        stages.append(("noise", lambda: common_randomness(header.img_size, *levels)))
        dense = np.concatenate([dense, common_randomness(header.img_size, *levels)])
    stages.append(("synthesis", lambda: synthesise(header, parameters.synthesis, dense)))
    output = synthesise(header, parameters.synthesis, dense)
    kind = header.final_upsampling_type
    stages.append(("resize", lambda: resize(output, header.img_size, kind)))
    return stages, resize(output, header.img_size, kind)


def _frame_stages(frame: Frame) -> Iterator[Stage]:
    """Stages of all decoders of a frame, then prediction and rounding."""
    signals = []
    for part in frame.parts:
        stages, signal = _part_stages(part)
        signals.append(signal)
        yield from stages
    header = frame.header
    data_type, bitdepth = header.frame_data_type, header.bitdepth
    planes = to_samples(signals[0], data_type, bitdepth)
    yield "samples", lambda: to_samples(signals[0], data_type, bitdepth)
    if frame.motion is not None:
        # Which picture is warped makes no difference.
        references = [Picture(planes, data_type, bitdepth)] * len(header.index_references)
        residue, motion = signals
        yield (
            "prediction",
            lambda: predict(header, residue, motion, references, lambda *_: None, Meter()),
        )


class _Table:
    """Prints times per picture, pixel and symbol."""

    def __init__(self, info: StreamInfo, runs: int) -> None:
        self.info = info
        self.runs = runs
        click.echo(f"{'stage':22s} {'ms':>8s} {'ns/pixel':>9s} {'ns/symbol':>10s}")

    def show(self, name: str, seconds: float, frames: int = 1, of: int = 0) -> None:
        """Print one line: of a whole stream, or of the frame with an index."""
        symbols = sum(
            height * width
            for frame in (self.info.frames if frames > 1 else self.info.frames[of : of + 1])
            for part in frame.parts
            for height, width in part.grids
        )
        ns, pixels = 1e9 * seconds, frames * self.info.width * self.info.height
        rate = f"   {frames / seconds:.1f} frames/s" if frames > 1 else ""
        click.echo(f"{name:22s} {1e3 * seconds:8.2f} {ns / pixels:9.2f} {ns / symbols:10.2f}{rate}")

    def stages(self, stream: Stream, data: bytes) -> None:
        """Time the stages of the first frame of every type."""
        self.show("headers", _median_seconds(lambda: read_stream(data, _LIMITS), self.runs))
        types = [frame.header.frame_type for frame in stream.frames]
        for kind in sorted(set(types), key=types.index):
            index = types.index(kind)
            times: dict[str, float] = {}
            for name, function in _frame_stages(stream.frames[index]):
                times[name] = times.get(name, 0) + _median_seconds(function, self.runs)
            for name, seconds in times.items():
                prefix = f"{kind} frame: " if len(types) > 1 else ""
                self.show(prefix + name, seconds, of=index)


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=9, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=[1, 2], show_default=True, multiple=True, type=int)
def main(file: Path, runs: int, threads: tuple[int, ...]) -> None:
    """Time the stages of decoding FILE."""
    data = file.read_bytes()
    info, stream = read_info(data, limits=_LIMITS), read_any(data, _LIMITS)
    n_symbols = sum(
        height * width for f in info.frames for part in f.parts for height, width in part.grids
    )
    click.echo(
        f"numchic {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"kernels {kernels.describe()}, {platform.machine()}"
    )
    frames = "" if info.n_frames == 1 else f"{info.n_frames} frames, "
    click.echo(
        f"{file.name}: Cool-chic {info.generation}, {frames}{info.width}x{info.height}, "
        f"{n_symbols} symbols, {info.macs_per_pixel:.0f} MAC per pixel; median of {runs} runs"
    )
    table = _Table(info, runs)
    if isinstance(stream, Stream):
        table.stages(stream, data)
    for n in threads:
        whole = functools.partial(_decode_all, data, n)
        table.show(f"decode, {n} thread(s)", _median_seconds(whole, runs), info.n_frames)


def _decode_all(data: bytes, threads: int) -> None:
    for _ in decode_frames(data, threads=threads, limits=_LIMITS):
        pass


if __name__ == "__main__":
    main()
