# SPDX-License-Identifier: BSD-3-Clause
"""Commands in a pseudo-terminal, where they draw what nobody sees in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from children import environment

has_terminals = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")


class Outcome(NamedTuple):
    """Exit status of a command and everything that it has written, ends of lines as ``\\n``."""

    status: int
    text: str


def run_in_terminal(*arguments: Any, before: str = "") -> Outcome:
    """Run ``numchic`` with some arguments, after some code; all three streams are a terminal."""
    import pty

    code = f"{before}\nfrom numchic.command.cli import run\nrun()"
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment(COLUMNS=120),
        ) as process:  # fmt: skip
            os.close(theirs)
            text = _read_all(ours)
        return Outcome(process.returncode, text.replace("\r\n", "\n"))
    finally:
        os.close(ours)


def _read_all(terminal: int) -> str:
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so that nobody has the other end open
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)
