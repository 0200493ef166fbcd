# SPDX-License-Identifier: BSD-3-Clause
"""Processes: one that is lost costs one task, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

import pool_tasks
from children import environment, linux_only
from numchic.command.pool import run_in_processes
from numchic_bitstream import CorruptError, NumchicError

if sys.platform == "win32":
    pytest.skip("there are no such signals", allow_module_level=True)

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE]


def outcomes(tasks: list[str], n: int = 2) -> dict[str, object]:
    with closing(run_in_processes(pool_tasks.work, tasks, n)) as found:
        return dict(found)


@linux_only
@pytest.mark.parametrize("n", [1, 3])
def test_a_process_that_is_killed_costs_one_task(n: int) -> None:
    handlers = [signal.getsignal(s) for s in SIGNALS]
    tasks = ["say a", "die 1", "say b", "raise c", "die 2", "say d"]
    found = outcomes(tasks, n)
    assert sorted(found) == sorted(tasks)
    assert [found[f"say {x}"] for x in "abd"] == ["a", "b", "d"]
    assert (
        str(found["die 1"])
        == str(found["die 2"])
        == ("its process has ended (Killed; out of memory?)")
    )
    assert isinstance(found["raise c"], NumchicError)
    assert str(found["raise c"]) == "KeyError: 'c'"
    assert [signal.getsignal(s) for s in SIGNALS] == handlers


def test_failures_keep_their_kind() -> None:
    found = outcomes(["damaged 1", "missing", "say a"])
    assert isinstance(found["damaged 1"], CorruptError)
    assert found["damaged 1"].args == ("damaged", "field", 1, None, None)
    assert isinstance(found["missing"], FileNotFoundError)
    assert found["say a"] == "a"


@linux_only
def test_a_process_that_is_killed_between_two_tasks_costs_none() -> None:
    def tasks() -> Iterator[str]:
        yield "pid 1"
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(0.3)
        yield "say b"

    pids: list[int] = []
    with closing(run_in_processes(pool_tasks.work, tasks(), 1)) as found:
        pids.append(next(found)[1])  # type: ignore[arg-type]
        assert dict(found) == {"say b": "b"}


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("task", ["wait", "hang"])
def test_no_process_outlives_its_parent(number: signal.Signals, task: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, pool_tasks.__file__, f"{task} 1", f"{task} 2"],
        env=environment(PYTHONPATH=os.pathsep.join(sys.path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert all(parent.stdout.readline() for _ in range(2))  # both are at work
    parent.send_signal(number)  # to it alone
    # The pipe ends when the last of them does.
    output, errors = parent.communicate(timeout=60)
    assert output.count("saved") == (2 if task == "wait" else 0)
    assert errors.count("Traceback") == (number == signal.SIGINT)  # that of the parent


def test_tasks_that_wait_for_others() -> None:
    done: list[object] = []

    def tasks() -> Iterator[str | None]:
        yield "give 1"
        while not done:
            yield None
        yield "give 2"
        yield "give 3"

    with closing(run_in_processes(pool_tasks.work, tasks(), 2)) as found:
        for _, result in found:
            done.append(result)
    assert done[0] == "1"
    assert sorted(map(str, done)) == ["1", "2", "3"]
