# SPDX-License-Identifier: BSD-3-Clause
"""Run every check of the project: ``python tests/check.py [NAME ...]``.

Names: lint, types, imports, tests, coverage, bounds. Without names all of them, one after the
other; the exit status is 0 only if all of them pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-m", "pytest", "-q"]
KERNELS = ["tests/bitstream", "tests/decoder", "--deselect", "tests/decoder/test_hostile.py"]

CHECKS: dict[str, tuple[list[list[str]], dict[str, str]]] = {
    "lint": ([["ruff", "check"], ["ruff", "format", "--check"]], {}),
    "types": ([["mypy"]], {}),
    "imports": ([["lint-imports"]], {}),
    # Kernels as plain Python, which is what coverage can see.
    "coverage": (
        [[*PYTEST, *KERNELS, "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=95"]],
        {"NUMBA_DISABLE_JIT": "1"},
    ),
    # Compiled kernels with every index checked.
    "bounds": ([[*PYTEST, *KERNELS, "tests/fuzz"]], {"NUMBA_BOUNDSCHECK": "1"}),
    "tests": ([PYTEST], {}),
}


def main() -> int:
    """Run the checks named on the command line."""
    failed = []
    for name in sys.argv[1:] or CHECKS:
        commands, variables = CHECKS[name]
        for command in commands:
            print(f"== {name}: {' '.join(command)}", flush=True)
            start = time.monotonic()
            status = subprocess.run(
                command, cwd=ROOT, env=os.environ | variables, check=False
            ).returncode
            print(f"== {name}: {time.monotonic() - start:.0f} s, status {status}", flush=True)
            if status:
                failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
