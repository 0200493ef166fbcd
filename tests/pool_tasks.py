# SPDX-License-Identifier: BSD-3-Clause
"""Work for processes of a pool, which must be able to import it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing

from numchic_trainer.command.pool import run_in_processes


def work(task: str, heed: Callable[[object], None]) -> object:
    """Do what the task says."""
    name, _, value = task.partition(" ")
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raise":
        raise KeyError(value)
    if name == "wait":  # until it is not wanted
        print(os.getpid(), flush=True)
        try:
            while True:
                time.sleep(0.01)
                heed(None)
        except KeyboardInterrupt:
            time.sleep(2)  # as long as it takes
            print("saved", flush=True)
            raise
    if name == "hang":  # and never ask
        print(os.getpid(), flush=True)
        time.sleep(1000)
    return os.getpid() if name == "pid" else value


if __name__ == "__main__":
    with closing(run_in_processes(work, sys.argv[1:], len(sys.argv) - 1)) as outcomes:
        for outcome in outcomes:
            print(outcome)
