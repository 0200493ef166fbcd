# SPDX-License-Identifier: BSD-3-Clause
"""Threads that share the parts of a work.

A work has fixed parts, which depend on sizes alone, and every part writes to places of its own;
what has to be added up over parts is added in their order afterwards. So results do not depend on
the number of threads.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

_MOST_PARTS = 64


class Part(NamedTuple):
    """Elements ``start`` to ``end`` - 1 of a work."""

    start: int
    end: int


def partition(n: int, least: int) -> list[Part]:
    """Split n elements into at most 64 parts of nearly equal size, of at least ``least`` elements.

    Examples
    --------
    >>> [tuple(part) for part in partition(10, 4)]
    [(0, 5), (5, 10)]
    """
    count = max(1, min(_MOST_PARTS, n // max(least, 1)))
    bounds = [n * i // count for i in range(count + 1)]
    return [Part(*pair) for pair in itertools.pairwise(bounds)]


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # only some systems have it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class _Round:
    """One work, whose parts threads take until none is left."""

    def __init__(self, work: Callable[[int], None], n_parts: int) -> None:
        self._work = work
        self._n_parts = n_parts
        self._taken = itertools.count()  # the next number is taken in one step of Python
        self._done = itertools.count(1)
        self._finished = threading.Lock()
        self._finished.acquire()
        self.error: BaseException | None = None

    def take_parts(self) -> None:
        """Do parts; after an error they are only taken."""
        while (part := next(self._taken)) < self._n_parts:
            try:
                if self.error is None:
                    self._work(part)
            except BaseException as error:
                self.error = error
            if next(self._done) == self._n_parts:
                self._finished.release()

    def wait(self) -> None:
        """Return when every part that was taken is done."""
        self._finished.acquire()
        if self.error is not None:
            raise self.error


class Workers:
    """A number of threads, the calling one included.

    Parameters
    ----------
    n_threads : int
        At least 1. With 1 there is no other thread.

    Notes
    -----
    A work of a millisecond is worth sharing: other threads sleep on a lock, and one that wakes up
    late finds nothing to do instead of being waited for.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads
        self._round: _Round | None = None
        self._sleep: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        self._is_open = True

    def __enter__(self) -> Workers:
        """Nothing is started before there is work."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self._is_open = False
        self._wake()
        for thread in self._threads:
            thread.join()

    def run(self, work: Callable[[int], None], n_parts: int) -> None:
        """Call ``work`` with every number of a part; return when all are done.

        ``work`` should spend its time in kernels, which hold no lock. If it raises, no new part is
        begun, and the exception is raised here after those under way have ended.
        """
        if self.n_threads == 1 or n_parts < 2:
            for part in range(n_parts):
                work(part)
            return
        if not self._threads:
            self._start()
        self._round = current = _Round(work, n_parts)
        self._wake()
        current.take_parts()
        try:
            current.wait()
        finally:
            self._round = None  # and with it what the work refers to

    def _start(self) -> None:
        for _ in range(self.n_threads - 1):
            lock = threading.Lock()
            lock.acquire()
            thread = threading.Thread(target=self._serve, args=(lock,), name="numchic", daemon=True)
            self._sleep.append(lock)
            self._threads.append(thread)
            thread.start()

    def _wake(self) -> None:
        for lock in self._sleep:
            if lock.locked():  # otherwise it is waking up
                lock.release()

    def _serve(self, sleep: threading.Lock) -> None:
        """Take parts whenever there is a work."""
        while True:
            sleep.acquire()
            if not self._is_open:
                return
            current = self._round
            if current is not None:
                current.take_parts()
            del current
