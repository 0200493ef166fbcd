# SPDX-License-Identifier: BSD-3-Clause
"""Run vectors, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from numchic_conformance.command import CommandDecoder
from numchic_conformance.compare import CURRENT_GENERATION
from numchic_conformance.manifest import Vector
from numchic_conformance.outcome import Outcome, Result
from numchic_conformance.worker import OURS, Worker

Decoder = Callable[[Vector], Result]


def run_vectors(
    vectors: Sequence[Vector],
    *,
    command: CommandDecoder | None = None,
    side: str = OURS,
    timeout: float = 60.0,
    jobs: int = 1,
    generations: Collection[str] = (),
) -> Iterator[Result]:
    """Run a decoder on vectors and yield the results in the order of the vectors.

    Parameters
    ----------
    vectors : sequence of Vector
    command : CommandDecoder, optional
        Instead of a decoder of this Python.
    side : str
        ``numchic``, or another one of :func:`numchic_conformance.worker.side_names`.
    timeout : float
        Seconds for one vector of a decoder of this Python.
    jobs : int
        Vectors at the same time, each in a process.
    generations : collection of str
        Of the format, that the decoder claims to know; vectors of others are not supported. By
        default our own decoder gets all of them, any other one those of 5.0.

    Raises
    ------
    UsageError
        The decoder cannot be started.
    """
    is_ours = command is None and side == OURS
    claimed = generations or ({CURRENT_GENERATION} if not is_ours else ())
    local = threading.local()
    workers: list[Worker] = []

    def run(vector: Vector) -> Result:
        if claimed and vector.generation not in claimed:
            reason = f"the decoder is not said to know generation {vector.generation}"
            return Result(vector.id, Outcome.NOT_SUPPORTED, reason)
        if command is not None:
            return command(vector)
        if not hasattr(local, "worker"):
            local.worker = Worker(side, timeout)
            workers.append(local.worker)
        worker: Worker = local.worker
        return worker(vector)

    pool = ThreadPoolExecutor(jobs)
    try:
        yield from pool.map(run, vectors)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if command is not None:
            command.stop()
        for worker in workers:
            worker.stop()
        pool.shutdown()
        for worker in workers:
            worker.close()
