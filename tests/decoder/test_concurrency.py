# SPDX-License-Identifier: BSD-3-Clause
"""Decoding from several threads and processes, and stopping it, at any moment."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import builders
import numchic
from children import EXAMPLE, compiled_only, linux_only, needs_numba, run_python
from numchic.schedule import BAND_ROWS
from numchic_bitstream import SynthesisLayer

HEIGHT = 2 * BAND_ROWS + 9
STREAMS = [
    builders.stream(img_size=(HEIGHT, 12)),
    builders.stream(1, img_size=(HEIGHT, 5), latent_resolution=(1, 2)),
    builders.stream(2, img_size=(HEIGHT, 3), flag_common_randomness=1),
]


def digest(picture: numchic.Picture) -> str:
    return hashlib.sha256(picture.to_bytes()).hexdigest()


DIGESTS = [digest(numchic.decode(data, threads=1)) for data in STREAMS]


# --- Threads and processes ---------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    assert [digest(numchic.decode(data, threads=threads)) for data in STREAMS] == DIGESTS


@compiled_only
def test_many_threads_decode_at_once() -> None:
    def decode(i: int) -> bool:
        which = i % len(STREAMS)
        return digest(numchic.decode(STREAMS[which], threads=1 + i % 3)) == DIGESTS[which]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(decode, range(48)))


@compiled_only
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_every_kind(method: Any) -> None:
    with warnings.catch_warnings():
        # Other tests may have left threads behind, which Python warns of when it forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            pictures = pool.map(numchic.decode, STREAMS * 2, 1)
    assert [digest(picture) for picture in pictures] == DIGESTS * 2


# Forks ten times while a thread does something; every child does it as well.
FORK = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore")  # of forks while there are threads
def in_a_thread():
    while not over:
        act()
over = False
thread = threading.Thread(target=in_a_thread, daemon=True)
thread.start()
for i in range(10):
    time.sleep(0.03 * i)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if act() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0, i
over = True
thread.join()
"""


@compiled_only
@linux_only
@pytest.mark.parametrize("threads", [1, 3])
def test_a_fork_while_another_thread_decodes(threads: int) -> None:
    decode = f"""
import hashlib, numchic
def act():
    picture = numchic.decode({str(EXAMPLE)!r}, threads={threads})
    return hashlib.sha256(picture.to_bytes()).hexdigest()
expected = act()
"""
    run_python(decode + FORK)


@needs_numba
@compiled_only
@linux_only
def test_a_fork_while_another_thread_compiles() -> None:
    """Without a cache every new kernel is compiled at its first call."""
    compile_ = """
from numchic_bitstream.kernels import kernel
kernels = []  # they live as long as the process, like those of a module
def add_one(a):
    return a + 1
def act():
    kernels.append(kernel()(add_one))
    return kernels[-1](2)
expected = act()
"""
    run_python(compile_ + FORK, NUMCHIC_CACHE_DIR="/dev/null/none")


# --- Stopping ----------------------------------------------------------------------------------


class Stop(Exception):  # noqa: N818 - not an error
    pass


@compiled_only
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("which", range(len(STREAMS)))
def test_the_callback_may_stop_at_every_call(which: int, threads: int) -> None:
    def decode(last: int) -> tuple[numchic.Picture | None, int]:
        """Decode and stop at the call ``last``; the picture, and the number of calls."""
        n_calls = 0

        def progress(*_: Any) -> None:
            nonlocal n_calls
            n_calls += 1
            assert n_calls <= last, "called again after it has raised"
            if n_calls == last:
                raise Stop

        try:
            return numchic.decode(STREAMS[which], threads=threads, progress=progress), n_calls
        except Stop:
            return None, n_calls

    before = set(threading.enumerate())
    _, total = decode(sys.maxsize)
    for last in range(1, total + 1):
        picture, _ = decode(last)
        assert set(threading.enumerate()) == before
        # Waiting for other threads is reported as well, so that there may have been fewer calls.
        assert picture is None or threads > 1
    picture, _ = decode(sys.maxsize)
    assert picture is not None
    assert digest(picture) == DIGESTS[which]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stopped_decoding_is_forgotten(threads: int) -> None:
    """Nothing keeps its arrays once the exception is gone."""

    def stop(*_: Any) -> None:
        raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            numchic.decode(STREAMS[0], threads=threads, progress=stop)
    gc.collect()
    kept = [
        type(o).__name__ for o in gc.get_objects() if type(o).__module__ == "numchic.v5.coolchic"
    ]
    assert not kept


HEAVY = builders.stream(
    img_size=(BAND_ROWS, 3),
    latent_resolution=(0, 0),
    hyperlatent_resolution=None,
    syn_layer=(SynthesisLayer(3, 3, "linear", "none"),) * 2,
)


def test_long_work_can_be_stopped_inside_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """One band, cut into many calls of the kernel."""
    monkeypatch.setattr("numchic.v5.synthesis._MACS_PER_CALL", 1)
    expected = digest(numchic.decode(HEAVY, threads=1))
    rows: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "rendering":
            rows.append(done)

    assert digest(numchic.decode(HEAVY, threads=1, progress=progress)) == expected
    assert len(rows) > BAND_ROWS
    assert rows == sorted(rows)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "rendering" and done == 0:
            raise Stop

    with pytest.raises(Stop):
        numchic.decode(HEAVY, threads=1, progress=stop)


def test_other_threads_stop_inside_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback is called while they work; when it raises they do not finish their band."""
    from numchic.v5 import synthesis

    run_stages, n_calls = synthesis.run_stages, 0

    def slow(*arguments: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        time.sleep(0.05)
        run_stages(*arguments)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "rendering" and n_calls > 1:
            raise Stop

    monkeypatch.setattr("numchic.v5.synthesis._MACS_PER_CALL", 1)
    monkeypatch.setattr("numchic.v5.synthesis.run_stages", slow)
    with pytest.raises(Stop):
        numchic.decode(HEAVY, threads=2, progress=stop)
    assert n_calls < BAND_ROWS // 2
