# SPDX-License-Identifier: BSD-3-Clause
"""Measure what ``draw_front.py`` draws: ``pip install -e ".[study]" pillow-jxl-plugin``.

``python docs/figures/measure_front.py curves DATA`` writes ``front.csv``: numchic and four other
codecs on two crops of the Kodak suite, and points of the official encoder. DATA has ``images/``
and ``rd-anchor-public.tsv``.

``python docs/figures/measure_front.py decoding STREAM SOURCE`` writes ``front_decoding.csv``:
times of decoding STREAM, and files of other codecs of about the same size, made of SOURCE. It
needs Linux, which can keep a process on one core; the least CPU time of all runs counts, since that
depends least on what else the machine does.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import functools
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_jxl  # noqa: F401  (registers JPEG XL)
from PIL import AvifImagePlugin, Image

import numchic
from numchic_trainer.study.point import Point, write_points

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CROPS = ("kodim05_crop256_y128_x256.png", "kodim23_crop256_y128_x64.png")
LAMBDAS = (4e-3, 1e-3, 4e-4, 2e-4, 1e-4)
EFFORTS = ("medium", "slow")
ITERATIONS = 1000

# Name and settings of what Pillow writes; of several settings with one name the best counts.
CODECS: list[tuple[str, str, dict[str, Any]]] = [
    ("jpeg", "JPEG", {"optimize": True, "progressive": True, "subsampling": "4:2:0"}),
    ("jpeg", "JPEG", {"optimize": True, "progressive": True, "subsampling": "4:4:4"}),
    ("webp", "WEBP", {"method": 6}),
    ("avif", "AVIF", {"speed": 2, "max_threads": 1, "subsampling": "4:2:0"}),
    ("avif", "AVIF", {"speed": 2, "max_threads": 1, "subsampling": "4:4:4"}),
    ("jxl", "JXL", {"effort": 9, "num_threads": 1}),
]
QUALITIES = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 88, 90, 92, 94, 96)

ROUNDS, RUNS = 5, 9

Samples = npt.NDArray[np.uint8]


def psnr(decoded: Samples, source: Samples) -> float:
    """Peak signal-to-noise ratio over all samples, in dB."""
    error = decoded.astype(np.float64) - source
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def save(source: Samples, form: str, settings: dict[str, Any], quality: int) -> bytes:
    """Give the file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(source).save(file, form, quality=quality, **settings)
    return file.getvalue()


def load(data: bytes) -> Samples:
    """Decode a file that Pillow reads."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result and CPU seconds of a call."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def point(path: Path, source: Samples, size: int, **values: Any) -> Point:
    """Give a row whose rate follows from its bytes."""
    height, width = source.shape[:2]
    return Point(path.name, width, height, bytes=size, bpp=8 * size / (width * height), **values)


def encode_ours(path: Path, source: Samples) -> Iterator[Point]:
    """Encode with every effort and lambda."""
    from numchic_trainer import TrainConfig, encode

    for effort in EFFORTS:
        for lmbda in LAMBDAS:
            config = TrainConfig(effort=effort, lmbda=lmbda)
            result, seconds = timed(functools.partial(encode, source, config))
            decoded, decode_seconds = timed(functools.partial(numchic.decode, result.stream))
            row = point(
                path, source, len(result.stream) - result.trailer_bytes,
                curve=f"numchic auto {effort}", codec="numchic", setting=f"{lmbda:g}",
                psnr_db=psnr(decoded.to_rgb(), source), preset=result.preset, effort=effort,
                encode_cpu_s=round(seconds, 2), decode_cpu_s=round(decode_seconds, 4),
                timing="call", macs_per_pixel=numchic.read_info(result.stream).macs_per_pixel,
            )  # fmt: skip
            yield row


def encode_others(path: Path, source: Samples) -> Iterator[Point]:
    """Encode with every codec and quality; of settings with one name those nobody beats."""
    made: dict[str, list[Point]] = {}
    for name, form, settings in CODECS:
        for quality in QUALITIES:
            data, seconds = timed(functools.partial(save, source, form, settings, quality))
            decoded, decode_seconds = timed(functools.partial(load, data))
            row = point(
                path, source, len(data),
                curve=name, codec=name, setting=f"{quality} {settings.get('subsampling', '')}",
                psnr_db=psnr(decoded, source), encode_cpu_s=round(seconds, 3),
                decode_cpu_s=round(decode_seconds, 4), timing="call",
            )  # fmt: skip
            made.setdefault(name, []).append(row)
    for rows in made.values():
        yield from unbeaten(rows)


def unbeaten(rows: list[Point]) -> list[Point]:
    """Rows that no smaller file is at least as good as, by size."""
    best: list[Point] = []
    for row in sorted(rows, key=lambda row: (row.bytes, -row.psnr_db)):
        if not best or row.psnr_db > best[-1].psnr_db:
            best.append(row)
    return best


def read_official(table: Path, path: Path, source: Samples) -> Iterator[Point]:
    """Rows of the official encoder with as many iterations as are drawn, each once."""
    lines = (line for line in table.read_text().splitlines() if not line.startswith("#"))
    seen = set()
    for row in csv.DictReader(lines, delimiter="\t"):
        key = (row["preset"], row["lambda"])
        if row["image"] != path.name or int(row["n_itr"]) != ITERATIONS or key in seen:
            continue
        seen.add(key)
        yield point(
            path, source, int(row["bytes"]),
            curve=f"Cool-chic 5.0.1 {row['preset']}, {ITERATIONS} iterations", codec="cool-chic",
            setting=row["lambda"], psnr_db=float(row["psnr_db"]),
            encode_cpu_s=float(row["reference_cpu_s"]),
        )  # fmt: skip


def measure_curves(data: Path) -> None:
    """Write ``front.csv``."""
    rows: list[Point] = []
    for path in (data / "images" / name for name in CROPS):
        source = np.asarray(Image.open(path))
        rows += encode_ours(path, source)
        rows += encode_others(path, source)
        rows += read_official(data / "rd-anchor-public.tsv", path, source)
    write_points(HERE / "front.csv", rows)


def not_below(size: int, name: str, source: Samples, **changes: Any) -> bytes:
    """Give a codec's file of the lowest quality that has a size; of several settings the best."""

    def smallest(form: str, settings: dict[str, Any]) -> bytes:
        make = functools.partial(save, source, form, settings | changes)
        quality = bisect.bisect_left(range(100), size, key=lambda quality: len(make(quality)))
        return make(quality)

    files = [smallest(form, settings) for codec, form, settings in CODECS if codec == name]
    return max(files, key=lambda data: psnr(load(data), source))


def measure_one(path: Path) -> float:
    """CPU milliseconds of decoding a file in this process, on one core; the least, warm."""
    os.sched_setaffinity(0, {0})
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    data = path.read_bytes()
    ours = functools.partial(numchic.decode, data, threads=1)
    decode = ours if path.suffix == ".cool" else functools.partial(load, data)
    decode()
    return 1000 * min(timed(decode)[1] for _ in range(RUNS))


def measure_decoding(stream: Path, picture: Path) -> None:
    """Write ``front_decoding.csv``: processes of all decoders in turn."""
    source = np.asarray(Image.open(picture))
    size = numchic.read_info(stream).n_bytes
    with tempfile.TemporaryDirectory() as folder:
        native = Path(folder, "native")
        subprocess.run([sys.executable, ROOT / "tests" / "native_packages.py", native], check=True)
        compiled = {"NUMCHIC_KERNELS": "native", "PYTHONPATH": str(native)}
        decoders: list[tuple[str, Path, dict[str, str]]] = [
            ("numchic, compiled kernels", stream, compiled),
            ("numchic, Numba", stream, {"NUMCHIC_KERNELS": "jit"}),
        ]
        for name in ("jxl", "avif", "webp", "jpeg"):
            file = Path(folder, f"picture.{name}")
            file.write_bytes(not_below(size, name, source, speed=8, effort=5))  # of the encoder
            decoders.append((name, file, {}))
        times: dict[str, list[float]] = {name: [] for name, _, _ in decoders}
        for _ in range(ROUNDS):
            for name, file, variables in decoders:
                done = subprocess.run(
                    [sys.executable, __file__, "one", file],
                    env=os.environ | variables, check=True, text=True, stdout=subprocess.PIPE,
                )  # fmt: skip
                times[name].append(float(done.stdout))
        rows = [
            {"decoder": name, "bytes": file.stat().st_size, "cpu_ms": round(min(times[name]), 1)}
            for name, file, _ in decoders
        ]
    with (HERE / "front_decoding.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["decoder", "bytes", "cpu_ms"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="measure what draw_front.py draws")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("curves").add_argument("data", type=Path)
    decoding = commands.add_parser("decoding")
    decoding.add_argument("stream", type=Path)
    decoding.add_argument("picture", type=Path)
    one = commands.add_parser("one", help="what decoding calls")
    one.add_argument("path", type=Path)
    options = parser.parse_args()
    if options.command == "curves":
        measure_curves(options.data)
    elif options.command == "decoding":
        measure_decoding(options.stream, options.picture)
    else:
        print(measure_one(options.path))


if __name__ == "__main__":
    main()
