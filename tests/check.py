# SPDX-License-Identifier: BSD-3-Clause
"""Run every check of the project: ``python tests/check.py [NAME ...]``.

Names: tests, trainer, coverage, native, packaging, bounds, types, docs, lint, imports. Without
names all of them, two at a time, the longest first; the exit status is 0 only if all of them pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-m", "pytest", "-q"]
KERNELS = ["tests/bitstream", "tests/decoder", "--deselect", "tests/decoder/test_hostile.py"]
# Modules of torch have no kernels of a library.
NO_TORCH = ["--deselect", "tests/conformance/test_suites.py::test_the_torch_side"]
SUITES = ["tests/conformance/test_suites.py", "tests/test_findings.py", *NO_TORCH]
TRAINER = ["--cov", "--cov-config=tests/trainer/coverage.toml", "--cov-report=term:skip-covered"]
NATIVE = ["-o", "pythonpath=build/native trainer conformance tests tools"]

# What is the same Python code however kernels are run: reading a stream up to its payloads, memory,
# files, commands.
NO_KERNELS = [
    *(f"--ignore=tests/bitstream/test_{name}.py" for name in ("headers", "stream", "trailer")),
    "--ignore=tests/bitstream/v4/test_detection.py",
    *(
        f"--ignore=tests/decoder/test_{name}.py"
        for name in ("cli", "images", "limits_hold", "pillow", "pool", "schedule")
    ),
]
PACKAGING = "tests/house/test_packaging.py"
# What other checks run: a library is made once, in "native".
ELSEWHERE = [
    f"--ignore={path}" for path in ("tests/trainer", "tests/native", "tests/fuzz", PACKAGING)
]

CHECKS: dict[str, tuple[list[list[str]], dict[str, str]]] = {
    "tests": ([[*PYTEST, *ELSEWHERE]], {}),
    # With coverage of what is not a kernel: kernels are compared with plain torch.
    "trainer": (
        [[*PYTEST, "tests/trainer", "trainer", *TRAINER, "--cov-fail-under=95"]],
        {"COVERAGE_FILE": ".coverage.trainer"},
    ),
    # Kernels as plain Python, which is what coverage can see.
    "coverage": (
        [[*PYTEST, *KERNELS, "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=95"]],
        {"NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": ".coverage.decoder"},
    ),
    # A library of kernels, as a package has it that was installed where there is a C compiler.
    "native": (
        [
            [sys.executable, "tests/native_packages.py", "build/native"],
            [*PYTEST, *NATIVE, *KERNELS, *NO_KERNELS, *SUITES, "tests/native", "tests/fuzz"],
        ],
        {"NUMCHIC_KERNELS": "native"},
    ),
    # Distributions, which take a package index: only where CI is set.
    "packaging": ([[*PYTEST, PACKAGING]], {}),
    # Compiled kernels with every index checked.
    "bounds": ([[*PYTEST, *KERNELS, *NO_KERNELS, "tests/fuzz"]], {"NUMBA_BOUNDSCHECK": "1"}),
    "types": ([["mypy"]], {}),
    # Pages, links and anchors, docstrings, commands. With --quiet warnings would not count.
    "docs": ([["mkdocs", "build", "--strict"]], {"NO_MKDOCS_2_WARNING": "1"}),
    "lint": ([["ruff", "check"], ["ruff", "format", "--check"]], {}),
    "imports": ([["lint-imports"]], {}),
}

# Hundreds of processes compile the same modules where Python is told not to keep bytecode.
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


def run(name: str) -> bool:
    """Run one check, print all its output at its end, and tell whether it passed."""
    commands, variables = CHECKS[name]
    passed = True
    for command in commands:
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | BYTECODE | variables, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        seconds = time.monotonic() - start
        title = f"== {name}: {' '.join(command)}: {seconds:.0f} s, status {done.returncode}"
        print(f"{done.stdout}{title}\n", flush=True)
        passed = passed and not done.returncode
    return passed


def main() -> int:
    """Run the checks named on the command line, two at a time."""
    names = sys.argv[1:] or list(CHECKS)
    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(run, names))
    failed = [name for name, good in zip(names, passed, strict=True) if not good]
    print("failed: " + ", ".join(failed) if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
