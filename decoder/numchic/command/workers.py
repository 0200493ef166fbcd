# SPDX-License-Identifier: BSD-3-Clause
"""Processes that do jobs; one that dies costs the job that it had, and no other."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeVar

from numchic_bitstream.errors import NumchicError

_PATIENCE = 5.0  # seconds that a process has to notice that nobody waits for it

J = TypeVar("J")
Check = Callable[..., None]
"""Has to be called often, with any arguments; raises when the result is no longer wanted."""

FAILURES = (NumchicError, OSError, MemoryError)
"""What a job may raise without harm to others."""


def run_jobs(
    function: Callable[[J, Check], None], jobs: Iterable[J], n_processes: int
) -> Generator[tuple[J, Exception | None], None, None]:
    """Call a function for every job in other processes.

    When the generator is closed, or this process ends for whatever reason, the others end as soon
    as they check. They heed no interrupt from the keyboard.

    Parameters
    ----------
    function : callable
        A function of a module; it takes a job and a :data:`Check`.
    jobs : iterable
    n_processes : int

    Yields
    ------
    (job, exception or None)
        Each as soon as it is done, with what the function has raised, see :data:`FAILURES`; a
        MemoryError if the process died, for which want of memory is the usual reason.
    """
    waiting = iter(jobs)
    idle: list[tuple[SpawnProcess, Connection]] = []
    busy: dict[Connection, tuple[SpawnProcess, J]] = {}
    try:
        while True:
            while len(busy) < n_processes and (job := next(waiting, None)) is not None:
                process, connection = idle.pop() if idle else _start(function)
                busy[connection] = process, job
                with suppress(OSError):  # it is dead, which is noticed below
                    connection.send(job)
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                process, job = busy.pop(ready)
                error: Exception | None
                try:
                    error = ready.recv()
                    idle.append((process, ready))
                except (EOFError, OSError):
                    ready.close()
                    process.join()
                    error = MemoryError(f"its process died, exit code {process.exitcode}")
                yield job, error
    finally:
        workers = idle + [(process, connection) for connection, (process, _) in busy.items()]
        for _, connection in workers:
            connection.close()
        for process, _ in workers:
            process.join(_PATIENCE)
            process.kill()
            process.join()


def _start(function: Callable[[J, Check], None]) -> tuple[SpawnProcess, Connection]:
    context = get_context("spawn")  # a fork would copy locks that other threads hold
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs), daemon=True)
    with _interrupts_blocked():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block interrupts from the keyboard, also in processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(function: Callable[[J, Check], None], connection: Connection) -> None:
    """Do the jobs that come, until nobody is at the other end."""

    def check(*_: object) -> None:
        if connection.poll():  # there is no other message before a result
            raise EOFError

    with suppress(EOFError, OSError):
        while True:
            job = connection.recv()
            error = None
            try:
                function(job, check)
            except FAILURES as failure:
                error = failure
            connection.send(error)
