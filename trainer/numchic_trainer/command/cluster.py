# SPDX-License-Identifier: BSD-3-Clause
"""Many tasks on a Dask cluster; in processes of this machine: :mod:`numchic.command.pool`."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, TypeVar

from numchic_bitstream.errors import NumchicError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_on_cluster(
    work: Callable[[Task], Result],
    tasks: Iterable[Task | None],
    address: str,
    n_at_once: int | None,
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Do tasks and yield what became of them, as they finish.

    None among the tasks says that there is none before another one has been done.

    What runs on the cluster when this is closed runs to its end.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise UsageError(
            "a cluster needs Dask: pip install 'numchic[cluster]'", "scheduler"
        ) from error
    waiting = iter(tasks)
    running: dict[Any, Task] = {}
    with _silent(), _client(distributed, address) as client:
        # One more than can run, so that no worker waits for us.
        n_at_once = n_at_once or sum(client.nthreads().values()) + 1
        try:
            while True:
                while len(running) < n_at_once and (task := next(waiting, None)) is not None:
                    running[client.submit(work, task, pure=False)] = task
                if not running:
                    return
                for future in distributed.wait(list(running), None, "FIRST_COMPLETED").done:
                    yield running.pop(future), future.exception() or future.result()
        except CancelledError as error:
            raise NumchicError("the scheduler was lost", "scheduler", None, address) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Dask from logging, with tracebacks, what is an error or an interrupt here."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address)
    except (ValueError, AssertionError) as error:
        raise UsageError(
            f"not the address of a scheduler: {error}", "scheduler", None, address,
            "such as tcp://host:8786",
        ) from error  # fmt: skip
