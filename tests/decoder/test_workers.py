# SPDX-License-Identifier: BSD-3-Clause
"""Processes that do jobs: one that dies, interrupts, a parent that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from children import ROOT, environment, linux_only, obey
from numchic.command.workers import run_jobs
from numchic_bitstream import CorruptError

pytestmark = linux_only

# Tells its process and goes on until nobody waits.
ENDLESS = """
import os, pathlib, time
pathlib.Path({folder!r}, str(os.getpid())).touch()
while True:
    check("stage", 0, 1)
    time.sleep(0.01)
"""


def wait_for(number: int, folder: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while len(pids := [int(path.name) for path in folder.iterdir()]) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pids


def wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_results_and_failures() -> None:
    failing = "from numchic_bitstream import CorruptError; raise CorruptError('a', 'b', 1)"
    jobs = ["pass", failing, "open('/no/such/file')", "[0] * (1 << 62)", *["pass"] * 5]
    results = dict(run_jobs(obey, jobs, 2))
    kinds = [CorruptError, FileNotFoundError, MemoryError]
    assert [type(results[job]) for job in jobs[1:4]] == kinds
    assert results["pass"] is None
    assert results[failing].args == ("a", "b", 1, None, None)  # type: ignore[union-attr]
    assert list(run_jobs(obey, [], 2)) == []


def test_a_process_that_dies_costs_its_own_job() -> None:
    dying = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    jobs = ["0", dying, "1", dying, "2", "3"]
    results = list(run_jobs(obey, jobs, 2))
    assert sorted(job for job, error in results if error is None) == ["0", "1", "2", "3"]
    assert [str(error) for _, error in results if error] == ["its process died, exit code -9"] * 2


def test_closing_ends_all_processes(tmp_path: Path) -> None:
    endless = ENDLESS.format(folder=str(tmp_path))
    with closing(run_jobs(obey, ["pass", endless, endless], 2)) as results:
        assert next(results) == ("pass", None)
        pids = wait_for(1, tmp_path)
    wait_for_the_end_of(pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_do_not_outlive_their_parent(number: int, tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.append({str(ROOT / "tests")!r})
from children import obey
from numchic.command.workers import run_jobs
if __name__ == "__main__":
    list(run_jobs(obey, 2 * [{ENDLESS.format(folder=str(tmp_path))!r}], 2))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE
    )
    pids = wait_for(2, tmp_path)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    wait_for_the_end_of(pids)
