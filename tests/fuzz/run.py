# SPDX-License-Identifier: BSD-3-Clause
"""Fuzz one target: ``python tests/fuzz/run.py TARGET [FOLDER ...] [-OPTION=VALUE ...]``.

The engine is libFuzzer by way of atheris (``pip install ".[fuzz]"``); folders of inputs and
options are its own: ``-max_total_time=600``, ``-runs=1000``, ``-jobs=2``, or ``-merge=1 NEW OLD``,
which puts few inputs with the coverage of many into the folder NEW. It is guided by coverage of the
Python code; with NUMBA_DISABLE_JIT=1 that includes the kernels. New inputs go to the first folder,
by default ``findings/corpus-TARGET``; the committed corpus always takes part. An input that shows a
bug ends the run and is stored in ``findings``.

``--random SECONDS`` does without the engine: it is faster by far and only looks for inputs with a
new outcome. An input that shows a bug ends it with a traceback that tells the input; the same
``--seed`` gives the same inputs. With NUMBA_BOUNDSCHECK=1 kernels check their indices.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import resource
import sys
import time
import types
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutator import Mutator
from fuzz.seeds import CORPUS, corpus, seeds
from fuzz.targets import TARGETS
from numchic import opened

SECONDS_PER_INPUT = 10
ADDRESS_SPACE = 4_000_000_000  # mostly the libraries'
FINDINGS = Path("findings")


def run_random(name: str, pool: list[bytes], seconds: float, seed: int) -> Counter[str]:
    """Mutate inputs of the pool, and add to it those with a new outcome; count the outcomes.

    A mutation that is no error is mutated again, up to eight times.
    """
    target = TARGETS[name]
    mutate, rng = Mutator(name, pool), Random(seed)
    outcomes = Counter(target.run(data) for data in pool)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        faulthandler.dump_traceback_later(8 * SECONDS_PER_INPUT, exit=True)
        data = min(rng.choice(pool), rng.choice(pool), key=len)  # small ones are quicker
        for _ in range(8):
            data = mutate(data, target.max_size, rng.getrandbits(32))
            try:
                outcome = target.run(data)
            except Exception as error:
                faulthandler.cancel_dump_traceback_later()
                error.add_note(f"input of {name}: {data.hex()}")
                raise
            outcomes[outcome] += 1
            if outcomes[outcome] == 1:
                pool.append(data)
            if "Error" in outcome:
                break
    faulthandler.cancel_dump_traceback_later()
    return outcomes


def run_atheris(name: str, pool: list[bytes], arguments: list[str]) -> None:
    """Hand over to libFuzzer, which never returns."""
    atheris: Any = importlib.import_module("atheris")
    for function in plain_functions():
        function.__code__ = atheris.patch_code(function.__code__, False)

    def native(data: bytes, max_size: int) -> bytes:
        mutated: bytes = atheris.Mutate(data, max_size)  # looked up late: Setup replaces it
        return mutated

    mutator = Mutator(name, pool, native)
    folder = FINDINGS / f"corpus-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    is_own = all(argument.startswith("-") for argument in arguments)
    words = [
        f"{sys.executable} {__file__} {name}",  # how it starts other processes
        f"-max_len={TARGETS[name].max_size}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={ADDRESS_SPACE // 1_000_000}",
        f"-artifact_prefix={FINDINGS}/",
        *arguments,
        *([str(folder)] if is_own else []),
        str(CORPUS / name),
    ]
    atheris.Setup(
        words,
        TARGETS[name].run,
        custom_mutator=mutator.__call__,
        custom_crossover=mutator.crossover,
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--random", type=float, metavar="SECONDS", help="do without the engine")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFFFF, help="of --random")
    arguments, others = parser.parse_known_args()
    name = arguments.target
    pool = list(dict.fromkeys(corpus(name) + seeds(name)))
    for data in pool[:50]:
        # Compile before the clock runs; what goes wrong here goes wrong again.
        with contextlib.suppress(Exception):
            TARGETS[name].run(data)
    # The Pillow plugin has no argument for it; starting threads would be most of the work.
    opened._MAX_DEFAULT_THREADS = 1
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    faulthandler.enable()
    if arguments.random is None:
        run_atheris(name, pool, others)
    print(f"seed {arguments.seed}", flush=True)
    outcomes = run_random(name, pool, arguments.random, arguments.seed)
    for outcome, n in outcomes.most_common():
        print(f"{n:10d}  {outcome}")
    print(f"{name}: {outcomes.total()} executions, {len(outcomes)} outcomes, no finding")


if __name__ == "__main__":
    main()
