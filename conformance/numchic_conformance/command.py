# SPDX-License-Identifier: BSD-3-Clause
"""Any decoder that can be started as a command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from numchic_bitstream import UsageError
from numchic_conformance.check import check_output
from numchic_conformance.manifest import Expect, Vector
from numchic_conformance.outcome import Outcome, Result
from numchic_conformance.samples import output_extension

_FIRST_SIGNAL_STATUS = 128  # a shell's way to tell that a program was killed by a signal
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

    def __post_init__(self) -> None:
        for name in ("{input}", "{output}"):
            if name not in self.command:
                raise UsageError("the command does not say where to put it", "decoder", None, name)

    def __call__(self, vector: Vector) -> Result:
        """Run the command on a vector."""
        with tempfile.TemporaryDirectory(prefix="numchic-conformance-") as name:
            folder = Path(name)
            output = folder / f"output{output_extension(vector.picture)}"
            stages = folder / "stages"
            stages.mkdir()
            places = {"{input}": vector.path, "{output}": output, "{stages}": stages}
            words = [_fill(word, places) for word in shlex.split(self.command)]
            with (folder / "log").open("w+b") as log:
                start = time.perf_counter()
                status, memory = _run(words, log, self.timeout)
                seconds = time.perf_counter() - start
                log.seek(0)
                message = _last_line(log.read().decode(errors="replace"))
            result = self._judge(vector, status, message, output, stages)
            return replace(result, seconds=seconds, memory_bytes=memory)

    def _judge(
        self, vector: Vector, status: int | None, message: str, output: Path, stages: Path
    ) -> Result:
        if status is None:
            return Result(vector.id, Outcome.TIMEOUT, f"after {self.timeout:g} s")
        if not 0 <= status < _FIRST_SIGNAL_STATUS:
            return Result(vector.id, Outcome.CRASH, f"exit status {status}: {message}")
        if status == self.unsupported_status and vector.expect is not Expect.REFUSE:
            return Result(vector.id, Outcome.NOT_SUPPORTED, message)
        if status == 0:
            return self._judge_output(vector, output, stages)
        outcome = Outcome.FAIL if vector.expect is Expect.DECODE else Outcome.PASS
        return Result(vector.id, outcome, f"exit status {status}: {message}")

    @staticmethod
    def _judge_output(vector: Vector, output: Path, stages: Path) -> Result:
        if vector.expect is Expect.REFUSE:
            return Result(vector.id, Outcome.FAIL, "decoded, although it must be refused")
        return check_output(vector, output, stages)


def _fill(word: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        word = word.replace(name, str(path))
    return word


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:_MESSAGE] if lines else ""


def _run(words: list[str], log: IO[bytes], timeout: float) -> tuple[int | None, int | None]:
    """Run a program; exit status (None when it took too long) and peak memory in bytes."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    except OSError as error:
        raise UsageError(f"cannot start the decoder: {error}", "decoder", None, words[0]) from error
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        _kill(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    memory = None
    try:
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            memory = usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
        else:
            process.wait()
    finally:
        timer.cancel()
    return None if timed_out.is_set() else process.returncode, memory


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass  # it has just ended
