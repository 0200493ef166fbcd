# SPDX-License-Identifier: BSD-3-Clause
"""Decode streams as different machines would, and compare digests of every stage.

``python tests/decoder/machines.py [FILE ...] [--settings NAME,NAME]``

Every setting is a process of its own, and all but the first one compile everything anew: kernels
as plain Python, with every index checked, not optimised, for the smallest processor that Numba can
compile for, for others in between, without fused operations; the library of kernels for all it has
code for; and NumPy restricted to its smallest instruction set. Compared are the digests of
``stage_digests.py``. The exit status is 0 if all settings agree. Without files: the sound streams
of ``soak.py``.

Common randomness is the one stage that may differ, in some 10^-8 of its samples, when NumPy has
another logarithm and cosine.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numchic
from numchic_bitstream.generations import read_any

# The helpers of the tests lie one folder up; pytest knows that by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import stage_digests
from native_packages import make
from vectors import sound_streams

_NUMPY: Any = importlib.import_module("numpy._core._multiarray_umath")
MAX_INTERPRETED_PIXELS = 2_500  # of all frames

HOST = "host"
INTERPRETED = "plain Python"
# What the environment says otherwise about the variables of this table is left out.
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
    _LEVELS = ("v2", "v3", "v4") if _NUMPY.__cpu_features__.get("AVX512VL") else ("v2", "v3")
    SETTINGS |= {f"native x86-64-{v}": {"NUMCHIC_KERNELS": f"native-{v}"} for v in _LEVELS}
else:
    SETTINGS |= {"native": {"NUMCHIC_KERNELS": "native"}}


def numpy_features() -> str:
    """Instruction sets that NumPy may use here beyond what it was built for."""
    return ",".join(name for name in _NUMPY.__cpu_dispatch__ if _NUMPY.__cpu_features__[name])


def is_small(data: bytes) -> bool:
    """Whether a stream can be decoded without a compiler in bearable time."""
    try:
        stream = read_any(data)
    except numchic.NumchicError:
        return True
    height, width = stream.img_size
    return height * width * len(stream.places) <= MAX_INTERPRETED_PIXELS


def run_setting(name: str, files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Digests of all files under a setting, by file."""
    settings = all_settings()
    switches = {variable for setting in settings.values() for variable in setting}
    variables = {k: v for k, v in os.environ.items() if k not in switches}
    with tempfile.TemporaryDirectory() as cache:
        if name != HOST:
            variables |= settings[name] | {"NUMCHIC_CACHE_DIR": cache}
        if "NUMCHIC_KERNELS" in settings[name]:
            path = [str(native_packages()), os.environ.get("PYTHONPATH", "")]
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        result = subprocess.run(
            [sys.executable, stage_digests.__file__, *map(str, files)],
            env=variables,
            stdout=subprocess.PIPE,
            check=True,
        )
    digests: dict[str, dict[str, str]] = json.loads(result.stdout)
    return digests


@functools.cache
def native_packages() -> Path:
    """Folder with the packages and a library of their kernels."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    make(Path(folder.name))
    return Path(folder.name)


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
    parser.add_argument("files", nargs="*", type=Path)
    names = list(all_settings())
    parser.add_argument("--settings", default=",".join(names), help=f"of: {', '.join(names)}")
    options = parser.parse_args()
    files = options.files or sound_streams()
    return 1 if compare(files, options.settings.split(",")) else 0


if __name__ == "__main__":
    sys.exit(main())
