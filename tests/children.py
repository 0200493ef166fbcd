# SPDX-License-Identifier: BSD-3-Clause
"""Interpreters of their own, for tests of what surrounds a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import numchic
import numchic_bitstream
from numchic_bitstream import kernels

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [Path(package.__path__[0]) for package in (numchic, numchic_bitstream)]
EXAMPLE = ROOT / "examples" / "rings.cool"

# These tests say nothing new with kernels in plain Python or with every index checked.
compiled_only = pytest.mark.skipif(
    kernels.describe() == "python" or "NUMBA_BOUNDSCHECK" in os.environ,
    reason="about the surroundings of compiled kernels",
)
jit_only = pytest.mark.skipif(
    not kernels.describe().startswith("jit") or "NUMBA_BOUNDSCHECK" in os.environ,
    reason="about kernels that are compiled at run time",
)
needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")
needs_trainer = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def ends(pid: int, patience: float = 30.0) -> bool:
    """Whether a process is dead or soon will be: what has been killed needs a moment for it."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if status.rpartition(")")[2].split()[0] in "ZX":
            return True
        time.sleep(0.02)
    return False


# Prints the digest of the example.
DECODE = f"""
import hashlib, numchic
picture = numchic.decode({str(EXAMPLE)!r})
print(hashlib.sha256(picture.to_bytes()).hexdigest())
"""

# Calls one kernel; prints its result and how often it came from the cache.
CALL_A_KERNEL = """
from numchic_bitstream.v5.laplace import left
print(left(0, 16384, 1.0), sum(left.stats.cache_hits.values()))
"""

# Root ignores access rights as long as it has this capability.
WITHOUT_PRIVILEGES = """
import ctypes, os
if os.geteuid() == 0:
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
"""

# Files cannot grow beyond some bytes, as if the disk were full.
SMALL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


def environment(**variables: Any) -> dict[str, str]:
    """Variables of a child: none that change kernels or their cache, those given."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "NUMCHIC_"))}
    path = os.pathsep.join(str(package.parent) for package in PACKAGES)
    return inherited | {"PYTHONPATH": path} | {k: str(v) for k, v in variables.items()}


def run_python(code: str, **variables: Any) -> str:
    """Output of an interpreter that must succeed without a warning."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def run_command(
    *arguments: Any, before: str = "", **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run ``numchic`` with some arguments, after some code."""
    code = f"{before}\nfrom numchic.command.cli import run\nrun()"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        check=False,
        timeout=300,
        **options,
    )
