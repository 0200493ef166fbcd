# SPDX-License-Identifier: BSD-3-Clause
"""Fuzz one target: ``python tests/fuzz/run.py TARGET [--engine atheris|random] ...``.

Without ``--seconds`` or ``--runs`` it goes on until it is interrupted. ``--corpus`` is a folder
that is read and extended; the committed corpus and the first seeds are always used. Inputs that
show a bug are stored in ``--findings`` and the exit status is 1. A file ``running-*`` that stays
there holds the input that killed the process: its size in four bytes, then itself.

The engine ``atheris`` (``pip install atheris``) is guided by coverage of the Python code; with
NUMBA_DISABLE_JIT=1 that includes the kernels. The engine ``random`` is faster by far and only looks
for inputs with a new outcome. With NUMBA_BOUNDSCHECK=1 kernels check their indices.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import gc
import hashlib
import importlib
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutator import Mutator
from fuzz.seeds import corpus, seeds
from fuzz.targets import TARGETS
from numchic import opened

SECONDS_PER_INPUT = 10
ADDRESS_SPACE = 4_000_000_000  # mostly the libraries'
SAME_FINDING = 3  # how many inputs of one finding are stored


class Campaign:
    """Runs inputs, counts outcomes, stores findings and knows when to stop.

    Parameters
    ----------
    target : str
    findings : Path
        Folder for inputs that show a bug.
    runs, seconds : float
        Budget.
    """

    def __init__(self, target: str, findings: Path, runs: float, seconds: float) -> None:
        self.target = TARGETS[target]
        self.name = target
        self.folder = findings
        self.runs = runs
        self.start = time.monotonic()
        self.deadline = self.start + seconds
        self.executions = 0
        self.outcomes: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.current = b""
        findings.mkdir(parents=True, exist_ok=True)
        self._running_path = findings / f"running-{target}-{os.getpid()}"
        self._running_path.write_bytes(bytes(1 << 16))
        with self._running_path.open("r+b") as file:
            self._running = mmap.mmap(file.fileno(), 0)
        self._reported = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, data: bytes) -> tuple[str, bool]:
        """Run an input; return its outcome and whether that is new."""
        self.current = data
        self._running[: len(data) + 4] = len(data).to_bytes(4, "big") + data
        self.executions += 1
        try:
            outcome = self.target.run(data)
        except Exception as error:
            self._store(data, error)
            return "Error", False
        self.outcomes[outcome] += 1
        return outcome, self.outcomes[outcome] == 1

    def _store(self, data: bytes, error: Exception) -> None:
        what = re.sub(r"\d+", "N", f"{type(error).__name__}: {error}")[:100]
        self.findings[what] += 1
        if self.findings[what] <= SAME_FINDING:
            path = self.folder / f"{self.name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"FINDING {what}: {error}\n  {path}", flush=True)
            traceback.print_exception(error)

    def _watch(self) -> None:
        """End the process when an input takes too long."""
        seen, since = -1, 0.0
        while not self._reported.wait(1):
            if self.executions != seen:
                seen, since = self.executions, time.monotonic()
            elif self.executions and time.monotonic() - since > SECONDS_PER_INPUT:
                self._store(self.current, TimeoutError("input takes too long"))
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)

    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.executions >= self.runs or time.monotonic() >= self.deadline

    def stop(self, *_: object) -> None:
        """Finish after the current input."""
        self.deadline = 0.0

    def report(self, engine: str, summary: Path | None) -> int:
        """Print what happened; return the exit status."""
        self._reported.set()
        seconds = time.monotonic() - self.start
        rate = self.executions / seconds
        for outcome, n in self.outcomes.most_common():
            print(f"{n:10d}  {outcome}")
        for finding, n in self.findings.most_common():
            print(f"{n:10d}  FINDING {finding}")
        print(
            f"{self.name}, {engine}: {self.executions} executions in {seconds:.1f} s, "
            f"{rate:.0f}/s, {len(self.outcomes)} outcomes, {len(self.findings)} findings",
            flush=True,
        )
        if summary is not None:
            row = (self.name, engine, self.executions, f"{seconds:.1f}", len(self.findings))
            with summary.open("a") as file:
                file.write("\t".join(map(str, row)) + "\n")
        self._running_path.unlink()
        return 1 if self.findings else 0


def run_random(campaign: Campaign, pool: list[bytes], folder: Path | None, seed: int) -> None:
    """Mutate inputs of the pool, and add to it those with a new outcome.

    A mutation that is no error is mutated again, up to eight times.
    """
    max_size = campaign.target.max_size
    mutate = Mutator(campaign.name, pool)
    rng = Random(seed)
    for data in list(pool):
        campaign.run(data)
    while not campaign.finished():
        data = min(rng.choice(pool), rng.choice(pool), key=len)  # small ones are quicker
        for _ in range(8):
            data = mutate(data, max_size, rng.getrandbits(32))
            outcome, is_new = campaign.run(data)
            if is_new:
                pool.append(data)
                if folder is not None:
                    _add(folder, data)
            if "Error" in outcome:
                break


def _add(folder: Path, data: bytes) -> None:
    (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def run_atheris(
    campaign: Campaign,
    pool: list[bytes],
    folder: Path,
    seed: int,
    finish: Callable[[], None],
) -> None:
    """Hand over to libFuzzer, which never returns."""
    atheris: Any = importlib.import_module("atheris")
    for function in plain_functions():
        function.__code__ = atheris.patch_code(function.__code__, False)
    for data in pool:
        _add(folder, data)

    def native(data: bytes, max_size: int) -> bytes:
        mutated: bytes = atheris.Mutate(data, max_size)  # looked up late: Setup replaces it
        return mutated

    mutator = Mutator(campaign.name, pool, native)

    def one(data: bytes) -> None:
        campaign.run(data)
        if campaign.finished():
            finish()

    options = {
        "seed": seed % (1 << 31) or 1,
        "max_len": campaign.target.max_size,
        "timeout": SECONDS_PER_INPUT,
        "rss_limit_mb": ADDRESS_SPACE // 1_000_000,
        "artifact_prefix": f"{campaign.folder}/",
        "handle_int": 0,
        "handle_term": 0,
        "reload": 60,
        "print_final_stats": 1,
    }
    arguments = [sys.argv[0], str(folder), *(f"-{key}={value}" for key, value in options.items())]
    atheris.Setup(
        arguments, one, custom_mutator=mutator.__call__, custom_crossover=mutator.crossover
    )
    atheris.Fuzz()


def plain_functions() -> list[types.FunctionType]:
    """Functions and methods of the packages under test that are not compiled kernels."""
    found: dict[int, types.FunctionType] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(("numchic.", "numchic_bitstream.")):
            continue
        own = [m for m in vars(module).values() if getattr(m, "__module__", "") == name]
        members = [
            *own,
            *(m for owner in own if isinstance(owner, type) for m in vars(owner).values()),
        ]
        for member in members:
            function = member.fget if isinstance(member, property) else member
            if isinstance(function, types.FunctionType) and function.__module__ == name:
                found[id(function)] = function
    return list(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--engine", choices=("atheris", "random"), default="random")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--runs", type=int, default=sys.maxsize)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="a table to which a row is added")
    arguments = parser.parse_args()
    if arguments.jobs > 1:
        return run_jobs(arguments.jobs)
    seed = time.time_ns() & 0xFFFFFFFF if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)

    pool = corpus(arguments.target) + seeds(arguments.target)
    if arguments.corpus is not None:
        arguments.corpus.mkdir(parents=True, exist_ok=True)
        pool += [path.read_bytes() for path in sorted(arguments.corpus.iterdir())]
    pool = list(dict.fromkeys(pool))
    for data in pool[:50]:
        # Compile before the clock runs; what goes wrong here goes wrong again.
        with contextlib.suppress(Exception):
            TARGETS[arguments.target].run(data)
    # The Pillow plugin has no argument for it; starting threads would be most of the work.
    opened._MAX_DEFAULT_THREADS = 1
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    faulthandler.enable()
    gc.freeze()
    campaign = Campaign(arguments.target, arguments.findings, arguments.runs, arguments.seconds)
    signal.signal(signal.SIGTERM, campaign.stop)
    signal.signal(signal.SIGINT, campaign.stop)
    report = functools.partial(campaign.report, arguments.engine, arguments.summary)
    if arguments.engine == "atheris":
        folder = arguments.corpus or arguments.findings / f"corpus-{arguments.target}"
        folder.mkdir(parents=True, exist_ok=True)
        run_atheris(campaign, pool, folder, seed, lambda: os._exit(report()))
    run_random(campaign, pool, arguments.corpus, seed)
    return report()


def run_jobs(n_jobs: int) -> int:
    """Run the same command several times at once."""
    command = [sys.executable, *sys.argv, "--jobs", "1"]
    jobs = [subprocess.Popen(command) for _ in range(n_jobs)]
    return max(abs(job.wait()) for job in jobs)


if __name__ == "__main__":
    sys.exit(main())
