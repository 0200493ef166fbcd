# SPDX-License-Identifier: BSD-3-Clause
"""Threads that share the parts of a work.

A work has fixed parts, which depend on sizes alone, and every part writes to places of its own;
what has to be added up over parts is added in their order afterwards. So results do not depend on
the number of threads.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
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


class Workers:
    """A number of threads, the calling one included.

    Parameters
    ----------
    n_threads : int
        At least 1. With 1 there is no other thread.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        """Nothing is started before there is work."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def run(self, work: Callable[[int], None], n_parts: int) -> None:
        """Call ``work`` with every number of a part; return when all are done.

        ``work`` should spend its time in kernels, which hold no lock. If it raises, no new part is
        begun, and the exception is raised here after those under way have ended.
        """
        n_helpers = min(self.n_threads, n_parts) - 1
        if n_helpers < 1:
            for part in range(n_parts):
                work(part)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n_threads - 1, "numchic")
        left = itertools.count()  # taking the next number is one step under Python's lock
        stopped: list[bool] = []

        def take() -> None:
            try:
                while not stopped and (part := next(left)) < n_parts:
                    work(part)
            except BaseException:
                stopped.append(True)
                raise

        helpers: list[Future[None]] = [self._pool.submit(take) for _ in range(n_helpers)]
        try:
            take()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()
