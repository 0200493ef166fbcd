# SPDX-License-Identifier: BSD-3-Clause
"""Jobs of a decoding: who does them, in which order, and what happens when one fails."""

# ruff: noqa: PT012, SIM117 - adding jobs and leaving the block may both raise

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from numchic import CorruptError
from numchic.schedule import Bands, Job, Meter, Schedule


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_jobs_come_after_others(threads: int) -> None:
    order: list[int] = []
    with Schedule(threads, Meter()) as schedule:
        jobs: list[Job[Any]] = []
        for i in range(20):
            jobs.append(schedule.add(partial(order.append, i), jobs[-3:]))
    assert order == list(range(20)) or threads > 1
    assert sorted(order) == list(range(20))
    assert all(order.index(i) < order.index(i + 3) for i in range(17))


def test_the_caller_helps() -> None:
    seen: set[int] = set()

    def work() -> None:
        seen.add(threading.get_ident())
        time.sleep(0.02)

    with Schedule(2, Meter()) as schedule:
        for _ in range(6):
            schedule.add(work)
    assert threading.get_ident() in seen
    assert len(seen) == 2


def test_a_new_job_wakes_who_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only somebody who waits for a certain job, and came first."""
    gate, begun = threading.Event(), threading.Event()
    with Schedule(3, Meter()) as schedule:
        first = schedule.add(gate.wait)
        schedule.add(lambda: None)  # for a thread that is free afterwards
        time.sleep(0.05)
        monkeypatch.setattr("numchic.schedule._PATIENCE", 60)
        waiting = threading.Thread(target=schedule.wait, args=(first,), daemon=True)
        waiting.start()
        time.sleep(0.3)
        schedule.add(begun.set)
        found = begun.wait(5)
        gate.set()
        waiting.join()
    assert found


def test_no_more_threads_than_jobs() -> None:
    before = threading.active_count()
    with Schedule(1000, Meter()) as schedule:
        schedule.add(lambda: time.sleep(0.01))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_error_in_order_counts(threads: int) -> None:
    """Whatever is noticed first, a damaged stream always gives the same error."""
    first, second, own = (CorruptError(name) for name in ("first", "second", "own"))

    def slowly() -> None:
        time.sleep(0.05)
        raise first

    with pytest.raises(CorruptError) as caught, Schedule(threads, Meter()) as schedule:
        schedule.add(slowly)
        schedule.add(partial(fail, second))
        raise own
    assert caught.value is first


@pytest.mark.parametrize("threads", [1, 3])
def test_what_comes_after_a_failed_job_is_not_done(threads: int) -> None:
    done: list[int] = []
    damaged = CorruptError("damaged")
    with pytest.raises(CorruptError) as caught, Schedule(threads, Meter()) as schedule:
        job = schedule.add(partial(fail, damaged))
        schedule.add(partial(done.append, 1), [job])
    assert caught.value is damaged
    assert done == []


def test_an_interruption_of_the_caller_stops_at_once() -> None:
    """What is no error of the stream is not followed by another job."""
    gate = threading.Event()
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), Schedule(2, Meter()) as schedule:
        schedule.add(gate.wait)  # keeps the other thread busy
        time.sleep(0.05)
        interrupted = schedule.add(partial(fail, KeyboardInterrupt()))
        schedule.add(partial(done.append, 1))
        threading.Timer(0.2, gate.set).start()
        schedule.help(interrupted)
    assert done == []


def interrupt_after(n_calls: int) -> bool:
    """Interrupt a schedule after some call, which is where Python looks for signals.

    Returns whether there were as many calls.
    """
    interrupted = False
    patience = n_calls

    def profile(_frame: object, event: str, _function: object) -> None:
        nonlocal patience, interrupted
        patience -= event == "c_return"
        if patience == 0 and event == "c_return":
            interrupted = True
            raise KeyboardInterrupt

    def decode() -> None:
        # Where a condition is interrupted while it waits, the lock complains of that.
        with suppress(KeyboardInterrupt, RuntimeError), Schedule(2, Meter()) as schedule:
            schedule.add(lambda: None)
            sys.setprofile(profile)
            try:
                schedule.add(partial(time.sleep, 0.001))
                schedule.help(schedule.add(lambda: None))
            finally:
                sys.setprofile(None)

    before = set(threading.enumerate())
    caller = threading.Thread(target=decode, daemon=True)
    caller.start()
    caller.join(10)
    assert set(threading.enumerate()) == before
    return interrupted


def test_an_interruption_at_any_moment_blocks_nobody() -> None:
    assert all(map(interrupt_after, range(1, 30)))


def test_an_error_of_the_callback_is_none_of_the_stream() -> None:
    calls: list[int] = []

    def progress(*_: object) -> None:
        calls.append(1)
        raise CorruptError("of the caller")

    with pytest.raises(CorruptError, match="of the caller"):
        with Schedule(1, meter := Meter(progress, {"rendering": 3})) as schedule:
            for _ in range(3):
                schedule.add(lambda: meter.advance("rendering", 1))
    assert calls == [1]


def test_bands_wait_for_their_rows() -> None:
    rendered: list[tuple[int, int]] = []
    with Schedule(1, Meter()) as schedule:
        bands = Bands(schedule, 150, 5, lambda first, n: rendered.append((first, n)), [])
        for rows, n_bands in ((68, 0), (69, 1), (132, 1), (149, 2), (150, 3)):
            bands.advance(rows)
            assert len(rendered) == n_bands
    assert rendered == [(0, 64), (64, 64), (128, 22)]


def test_without_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have none left."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    with Schedule(4, Meter()) as schedule:
        for i in range(3):
            schedule.add(partial(done.append, i))
    assert done == [0, 1, 2]


def test_another_thread_may_collect_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of a generator that is garbage is left in whatever thread collects it."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: unraisable.append(error.exc_value))
    gate = threading.Event()

    def collect() -> None:
        gate.wait()
        gc.collect()

    def generate(cycle: list[Any]) -> Generator[None, None, None]:
        with Schedule(3, Meter()) as schedule:
            schedule.add(gate.wait)
            schedule.add(collect)
            yield
        cycle.clear()

    before = set(threading.enumerate())
    gc.disable()
    try:
        cycle: list[Any] = []
        cycle.append(generate(cycle))
        next(cycle[0])
        del cycle
        threads = set(threading.enumerate()) - before
        gate.set()
        for thread in threads:
            thread.join(10)
    finally:
        gc.enable()
    assert len(threads) == 2
    assert set(threading.enumerate()) == before
    assert unraisable == []


class Large:
    """Something like a picture."""


def leave_block(threads: int, ending: str) -> weakref.ref[Large]:
    """Leave a block of jobs that refer to something large, with an error or without."""
    large = Large()

    def progress(*_: object) -> None:
        if ending == "callback":
            raise CorruptError(ending)

    def work(_: Large, job: list[Job[Any]]) -> None:
        if ending == "job":
            raise CorruptError(ending)
        meter.advance("rendering", 1)

    meter = Meter(progress, {"rendering": 3})
    with suppress(CorruptError, GeneratorExit), Schedule(threads, meter) as schedule:
        jobs: list[Job[Any]] = []
        for _ in range(3):
            jobs.append(schedule.add(partial(work, large, jobs)))
        if ending == "close":
            raise GeneratorExit
        schedule.help(jobs[-1])
    return weakref.ref(large)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ending", ["end", "job", "callback", "close"])
def test_nothing_waits_for_the_garbage_collector(threads: int, ending: str) -> None:
    """It may be switched off, and does not know how large arrays are."""
    gc.disable()
    try:
        assert leave_block(threads, ending)() is None
    finally:
        gc.enable()
