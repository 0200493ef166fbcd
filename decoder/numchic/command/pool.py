# SPDX-License-Identifier: BSD-3-Clause
"""Many tasks in other processes.

A process has one pipe, and its end is the only signal: whether the parent is interrupted, killed or
done, the system closes the pipe, and the process ends. A process that is killed loses its task, and
another one takes its place.

This module loads nothing heavy, so that a new process listens at once.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from numchic_bitstream.errors import NumchicError

Task = TypeVar("Task")
Result = TypeVar("Result")

Heed = Callable[..., None]
"""Raises KeyboardInterrupt when the work is not wanted any more; to be called now and then."""

FAILURES = (NumchicError, OSError, MemoryError)
"""What a task may raise without harm to others."""

_GRACE_SECONDS = 0.7
_PATIENCE_SECONDS = 20.0  # for what is being saved


def text_of(error: Exception | str) -> str:
    """What to tell of an error; of one that nobody expected, also its kind."""
    if isinstance(error, NumchicError | OSError | str):
        return str(error)
    return f"{type(error).__name__}: {error}"


def run_in_processes(
    work: Callable[[Task, Heed], Result], tasks: Iterable[Task | None], n_processes: int
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Do tasks in other processes and yield what became of them, as they finish.

    Parameters
    ----------
    work : callable
        Importable. What it raises is yielded: one of :data:`FAILURES`, or anything else as a
        :class:`NumchicError`.
    tasks : iterable
        The next one is taken when there is a process for it. None says that there is none before
        another task has been done; then the next one is asked for again.
    n_processes : int

    Notes
    -----
    The generator has to be closed (:func:`contextlib.closing`); the processes then end within about
    a second, or when they have saved their work.
    """
    waiting = iter(tasks)
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Task]] = {}
    try:
        while True:
            while len(busy) < n_processes and (task := next(waiting, None)) is not None:
                idle = [worker for worker in idle if worker.process.is_alive()]
                worker = idle.pop() if idle else _Worker()
                busy[worker.connection] = worker, task
                worker.give(work, task)
            if not busy:
                return
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker, task = busy.pop(connection)
                answer = worker.take()
                idle.append(worker)
                yield task, answer
    finally:
        workers = [*idle, *(worker for worker, _ in busy.values())]
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.end()


class _Worker:
    """A process that does one task at a time."""

    def __init__(self) -> None:
        # A fresh interpreter: a fork would copy locks that other threads hold, and others' pipes.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _interrupts_blocked():
            self.process.start()
        theirs.close()

    def give(self, work: Callable[..., Any], task: object) -> None:
        """Start on a task; if the process is dead, that is found when the answer is taken."""
        with suppress(BrokenPipeError):
            self.connection.send_bytes(pickle.dumps((work, task)))

    def take(self) -> Any:
        """Result of the task, or the exception that stands for it."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return NumchicError(f"its process has ended ({_cause(self.process.exitcode or 0)})")

    def end(self) -> None:
        """Wait until the process, whose pipe is closed, has saved its work."""
        self.process.join(_PATIENCE_SECONDS)
        self.process.kill()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block interrupts from the keyboard, also in processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    name = signal.strsignal(-status) or str(-status)
    return name + ("; out of memory?" if name == "Killed" else "")


def _serve(connection: Connection) -> None:
    """Do what comes through the pipe, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and closes the pipe
    orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    unwanted, heeded = threading.Event(), threading.Event()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                orders.put(connection.recv_bytes())
        unwanted.set()
        orders.put(None)
        if not heeded.wait(_GRACE_SECONDS):
            os._exit(1)

    def heed(*_: object) -> None:
        if unwanted.is_set():
            heeded.set()
            raise KeyboardInterrupt

    threading.Thread(target=listen, daemon=True).start()
    while (order := orders.get()) is not None:
        answer: object
        try:
            work, task = pickle.loads(order)
            answer = work(task, heed)
        except KeyboardInterrupt:
            break
        except FAILURES as error:
            answer = error
        except Exception as error:
            answer = NumchicError(text_of(error))
        with suppress(OSError):
            connection.send(answer)
    os._exit(0)  # the interpreter would take seconds to clear everything away
