# SPDX-License-Identifier: BSD-3-Clause
"""Run decoders of this Python in processes of their own, so that a crash or hang harms nobody.

A side is named by what is in the entry point group ``numchic.conformance`` (a
:data:`numchic_conformance.check.StageDecoder`), or ``numchic`` for our own decoder.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from typing import cast

from numchic_bitstream import UsageError
from numchic_conformance.check import StageDecoder, check_ours, check_stages
from numchic_conformance.command import check_timeout
from numchic_conformance.manifest import Vector
from numchic_conformance.outcome import Outcome, Result

OURS = "numchic"
_GROUP = "numchic.conformance"
_STARTING = 120.0  # seconds to import and compile


def side_names() -> list[str]:
    """Names of all sides that are installed."""
    return [OURS, *sorted(point.name for point in entry_points(group=_GROUP))]


def _load_side(name: str) -> StageDecoder:
    for point in entry_points(group=_GROUP, name=name):
        return cast("StageDecoder", point.load())
    raise UsageError("no such side", "side", None, name, ", ".join(side_names()))


class Worker:
    """One process that runs a side on vectors, one after the other.

    Parameters
    ----------
    side : str
    timeout : float
        Seconds for one vector.
    """

    def __init__(self, side: str, timeout: float) -> None:
        check_timeout(timeout)
        self.side = side
        self.timeout = timeout
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def __call__(self, vector: Vector) -> Result:
        """Run the side on a vector."""
        if self._connection is None:
            self._start()
        assert self._connection is not None
        assert self._process is not None
        try:
            self._connection.send(vector)
            if self._connection.poll(self.timeout):
                return cast("Result", self._connection.recv())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            status = self._process.exitcode
            self.close()
            return Result(vector.id, Outcome.CRASH, f"the process died with exit status {status}")
        self.close()
        return Result(vector.id, Outcome.TIMEOUT, f"after {self.timeout:g} s")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.side), daemon=True)
        process.start()
        self._process = process
        theirs.close()
        try:
            ready = self._connection.poll(_STARTING) and self._connection.recv()
        except EOFError:
            ready = None
        if ready is not True:
            self.close()
            reason = f"the side does not start: {ready or 'it gave no answer'}"
            raise UsageError(reason, "side", None, self.side)

    def stop(self) -> None:
        """Kill the process, whatever it does; another thread may wait for its answer."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process and forget it."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, side: str) -> None:
    """Answer vectors with results until the other end closes."""
    warnings.simplefilter("error")
    try:
        if side == OURS:
            from numchic.warmup import warm_up

            warm_up()
            check = check_ours
        else:
            decoder = _load_side(side)

            def check(vector: Vector) -> Result:
                return check_stages(vector, decoder)

    except Exception as error:
        connection.send(str(error))
        return
    connection.send(True)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            connection.send(check(connection.recv()))
