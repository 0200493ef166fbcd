# SPDX-License-Identifier: BSD-3-Clause
"""Processes: one that is lost costs one task, and none outlives its parent."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pool_tasks
from children import environment, linux_only
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.command.pool import run_in_processes, run_on_cluster

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


# --- clusters


@pytest.fixture
def quiet() -> Iterator[None]:
    logger = logging.getLogger("distributed")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("address", ["nonsense", "", "tcp://:x"])
def test_addresses_that_are_none(address: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="scheduler"):
        list(run_on_cluster(str, [1], address, None))


def started(name: str, *arguments: str) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    scheduler = started("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    try:
        while not file.exists():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        threading.Timer(1.0, scheduler.kill).start()  # no worker ever comes
        with pytest.raises(NumchicError, match="scheduler was lost"):
            list(run_on_cluster(str, [1], address, None))
    finally:
        scheduler.kill()
        scheduler.wait()
