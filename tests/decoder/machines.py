# SPDX-License-Identifier: BSD-3-Clause
"""Decode streams as different machines would, and compare digests of every stage.

``python tests/decoder/machines.py FILE ... [--settings NAME,NAME]``

Every setting is a process of its own, and all but the first one compile everything anew: kernels
as plain Python, with every index checked, not optimised, for the smallest processor that Numba can
compile for, for others in between, without fused operations; and NumPy restricted to its smallest
instruction set. Compared are latents, dense latents, synthesis output, resized signal, and samples
with 1, 2 and 4 threads. The exit status is 0 if all settings agree.

Common randomness is the one stage that may differ, in some 10^-8 of its samples, when NumPy has
another logarithm and cosine.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import numchic
from numchic.v5.latents import decode_latents
from numchic.v5.noise import common_randomness
from numchic.v5.resize import resize
from numchic.v5.synthesis import synthesise
from numchic.v5.upsampling import upsample
from numchic_bitstream import read_parameters, read_stream

THREADS = (1, 2, 4)
MAX_INTERPRETED_PIXELS = 1_500

HOST = "host"
INTERPRETED = "plain Python"
SETTINGS: dict[str, dict[str, str]] = {
    HOST: {},
    INTERPRETED: {"NUMBA_DISABLE_JIT": "1"},
    "indices checked": {"NUMBA_BOUNDSCHECK": "1"},
    "generic": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "not optimised": {"NUMBA_OPT": "0"},
}
if platform.machine() in ("x86_64", "AMD64"):
    # The levels of the x86-64 psABI.
    _V2 = "+cx16,+popcnt,+sse3,+ssse3,+sse4.1,+sse4.2"
    _V3 = _V2 + ",+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
    SETTINGS |= {
        "x86-64-v2": {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": _V2},
        "x86-64-v3": {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": _V3},
        "x86-64-v3 without fma": {
            "NUMBA_CPU_NAME": "x86-64-v3",
            "NUMBA_CPU_FEATURES": _V3.replace("+fma", "-fma"),
        },
    }


def numpy_features() -> str:
    """Instruction sets that NumPy may use here beyond what it was built for."""
    core: Any = importlib.import_module("numpy._core._multiarray_umath")
    return ",".join(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name])


def stages(data: bytes) -> dict[str, str]:
    """Digests of all stages of a still; of the error if it is refused."""

    def digest(arrays: Iterable[Any]) -> str:
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
        ).hexdigest()

    try:
        residue = read_stream(data).frames[0].residue
        header, parameters = residue.header, read_parameters(residue.header, residue.nn_payload)
        grids = decode_latents(residue, parameters)
        latents = header.derived.latents(grids)
        dense = upsample(header, parameters.upsampling, latents)
        if header.flag_common_randomness:
            noise = common_randomness(header.img_size, *header.latent_resolution)
            dense = np.concatenate([dense, noise])
        with np.errstate(over="ignore", invalid="ignore"):
            signal = synthesise(header, parameters.synthesis, dense)
            resized = resize(signal, header.img_size, header.final_upsampling_type)
        found = {
            "latents": digest(grids),
            "dense": digest(dense),
            "synthesis": digest(signal),
            "resized": digest(resized),
        }
        for threads in THREADS:
            picture = numchic.decode(data, threads=threads)
            found[f"samples, {threads} threads"] = digest(picture.planes)
    except numchic.NumchicError as error:
        return {"error": repr(error)}
    return found


def is_small(data: bytes) -> bool:
    """Whether a stream can be decoded without a compiler in bearable time."""
    try:
        height, width = read_stream(data).img_size
    except numchic.NumchicError:
        return True
    return height * width <= MAX_INTERPRETED_PIXELS


def run_setting(name: str, files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Digests of all files under a setting, by file."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    with tempfile.TemporaryDirectory() as cache:
        if name != HOST:
            variables |= all_settings()[name] | {"NUMCHIC_CACHE_DIR": cache}
        result = subprocess.run(
            [sys.executable, __file__, "--worker", *map(str, files)],
            env=variables,
            stdout=subprocess.PIPE,
            check=True,
        )
    digests: dict[str, dict[str, str]] = json.loads(result.stdout)
    return digests


def all_settings() -> dict[str, dict[str, str]]:
    """Settings that depend on the machine included."""
    features = numpy_features()
    return SETTINGS | (
        {"smallest NumPy": {"NPY_DISABLE_CPU_FEATURES": features}} if features else {}
    )


def compare(files: Sequence[Path], names: Sequence[str]) -> int:
    """Print what every setting found; number of differences."""
    expected = run_setting(HOST, files)
    n_differences = 0
    for name in names:
        chosen = [f for f in files if name != INTERPRETED or is_small(f.read_bytes())]
        begin = time.monotonic()
        found = run_setting(name, chosen)
        n_digests, differences = 0, []
        for file, digests in found.items():
            n_digests += len(digests)
            known = expected[file]
            differences += [
                f"{file}: {stage}"
                for stage in digests.keys() | known.keys()
                if digests.get(stage) != known.get(stage)
            ]
        seconds = time.monotonic() - begin
        print(
            f"{name}: {len(chosen)} streams, {n_digests} digests, "
            f"{len(differences)} differences ({seconds:.0f} s)",
            flush=True,
        )
        for line in differences:
            print(f"  {line}")
        n_differences += len(differences)
    return n_differences


def main() -> int:
    parser = argparse.ArgumentParser(description="decode as different machines would")
    parser.add_argument("files", nargs="+", type=Path)
    names = list(all_settings())
    parser.add_argument("--settings", default=",".join(names), help=f"of: {', '.join(names)}")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump({str(file): stages(file.read_bytes()) for file in options.files}, sys.stdout)
        return 0
    return 1 if compare(options.files, options.settings.split(",")) else 0


if __name__ == "__main__":
    sys.exit(main())
