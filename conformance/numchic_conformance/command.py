# SPDX-License-Identifier: BSD-3-Clause
"""Any decoder that can be started as a command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from numchic_bitstream import UsageError
from numchic_conformance.check import check_output, check_refusal
from numchic_conformance.manifest import Expect, Vector
from numchic_conformance.outcome import Outcome, Result
from numchic_conformance.samples import output_extension

try:
    import resource
except ImportError:  # not on Windows
    resource: Any = None  # type: ignore[no-redef]

_FIRST_SIGNAL_STATUS = 128  # a shell's way to tell that a program was killed by a signal
_MAX_TIMEOUT = 1e6
_LOG_TAIL = 1 << 16  # bytes of what the decoder printed that are looked at
_MESSAGE = 200  # characters of what the decoder printed


@dataclass(frozen=True)
class CommandDecoder:
    """A command line that decodes one stream.

    Parameters
    ----------
    command : str
        Words as a shell splits them. ``{input}`` is the stream; ``{output}`` the file to write,
        ``.ppm`` for RGB and ``.yuv`` for YUV; ``{stages}``, if it occurs, a folder in which the
        decoder may write what it has computed, see :mod:`numchic_conformance.stages`.
    timeout : float
        Seconds for one vector.
    unsupported_status : int
        Exit status that means "valid, but I do not do this". 0 is success, any other status up to
        127 a refusal, everything else a crash.
    """

    command: str
    timeout: float = 60.0
    unsupported_status: int = 3
    _running: set[subprocess.Popen[bytes]] = field(
        default_factory=set, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in ("{input}", "{output}"):
            if name not in self.command:
                raise UsageError("the command does not say where to put it", "decoder", None, name)
        try:
            shlex.split(self.command)
        except ValueError as error:
            reason = f"not a command line: {error}"
            raise UsageError(reason, "decoder", None, self.command) from error
        check_timeout(self.timeout)

    def stop(self) -> None:
        """Kill whatever runs at the moment."""
        for process in list(self._running):
            _kill(process)

    def __call__(self, vector: Vector) -> Result:
        """Run the command on a vector."""
        try:
            vector.read()
        except (OSError, UsageError) as error:
            return Result(vector.id, Outcome.NOT_RUN, str(error))
        with tempfile.TemporaryDirectory(prefix="numchic-conformance-") as name:
            folder = Path(name)
            output = folder / f"output{output_extension(vector.picture)}"
            stages = folder / "stages"
            stages.mkdir()
            places = {"{input}": vector.path, "{output}": output, "{stages}": stages}
            words = [_fill(word, places) for word in shlex.split(self.command)]
            with (folder / "log").open("w+b") as log:
                start = time.perf_counter()
                status, memory = self._run(words, log)
                seconds = time.perf_counter() - start
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
                message = _last_line(log.read().decode(errors="replace"))
            result = self._judge(vector, status, message, output, stages)
            return replace(result, seconds=seconds, memory_bytes=memory)

    def _run(self, words: list[str], log: IO[bytes]) -> tuple[int | None, int | None]:
        """Run a program; exit status (None when it took too long) and peak memory in bytes."""
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            reason = f"cannot start the decoder: {error}"
            raise UsageError(reason, "decoder", None, words[0]) from error
        self._running.add(process)
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            _kill(process)

        timer = threading.Timer(self.timeout, stop)
        timer.start()
        try:
            memory = _wait(process)
        finally:
            timer.cancel()
            self._running.discard(process)
            _kill(process)  # what it has left behind
        return None if timed_out.is_set() else process.returncode, memory

    def _judge(
        self, vector: Vector, status: int | None, message: str, output: Path, stages: Path
    ) -> Result:
        if status is None:
            return Result(vector.id, Outcome.TIMEOUT, f"after {self.timeout:g} s")
        if not 0 <= status < _FIRST_SIGNAL_STATUS:
            return Result(vector.id, Outcome.CRASH, _exit(status, message))
        if status == self.unsupported_status and vector.expect is not Expect.REFUSE:
            return Result(vector.id, Outcome.NOT_SUPPORTED, message)
        if status == 0:
            return check_output(vector, output, stages)
        return check_refusal(vector, _exit(status, message), stages)


def _fill(word: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        word = word.replace(name, str(path))
    return word


def _exit(status: int, message: str) -> str:
    return f"exit status {status}: {message or 'it printed nothing'}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:_MESSAGE] if lines else ""


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the end of a process; its peak memory in bytes, if that is known.

    A process starts with the memory of its parent, so that less than that is not seen.
    """
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        return None
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def check_timeout(seconds: float) -> None:
    """Raise :class:`UsageError` unless a number of seconds is one to wait for."""
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise UsageError("not a time", "timeout", None, seconds, f"> 0, <= {_MAX_TIMEOUT:g}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass  # it has just ended
