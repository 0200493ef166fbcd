# SPDX-License-Identifier: BSD-3-Clause
"""Threads that share the parts of a work."""

from __future__ import annotations

import itertools
import threading

import pytest

from numchic_trainer.kernels.workers import Workers, available_cores, partition


@pytest.mark.parametrize("n", [0, 1, 7, 100, 12345, 1 << 24])
@pytest.mark.parametrize("least", [1, 8, 8192])
def test_parts_are_everything_once_and_not_too_many(n: int, least: int) -> None:
    parts = partition(n, least)
    assert parts[0].start == 0
    assert parts[-1].end == n
    assert all(a.end == b.start for a, b in itertools.pairwise(parts))
    assert len(parts) <= 64
    assert len(parts) == 1 or min(part.end - part.start for part in parts) >= least


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_parts", [0, 1, 2, 40])
def test_every_part_is_done_once(n_threads: int, n_parts: int) -> None:
    done: list[int] = []
    with Workers(n_threads) as workers:
        for _ in range(3):
            workers.run(done.append, n_parts)
    assert sorted(done) == sorted(3 * list(range(n_parts)))


def test_several_threads_are_at_work() -> None:
    barrier = threading.Barrier(3, timeout=30)

    def wait() -> None:
        barrier.wait()

    with Workers(3) as workers:
        workers.run(lambda _: wait(), 3)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_comes_out_and_nothing_new_is_begun(
    n_threads: int, kind: type[BaseException]
) -> None:
    begun: list[int] = []

    def work(part: int) -> None:
        begun.append(part)
        if part == 1:
            raise kind

    with Workers(n_threads) as workers:
        with pytest.raises(kind):
            workers.run(work, 10_000)
        assert len(begun) < 10_000
        workers.run(lambda _: None, 10)  # they can go on


def test_threads_end_with_the_block() -> None:
    before = threading.active_count()
    with Workers(4) as workers:
        workers.run(lambda _: None, 100)
    assert threading.active_count() == before


def test_there_is_a_core() -> None:
    assert available_cores() >= 1
