# SPDX-License-Identifier: BSD-3-Clause
"""Any codec that two commands call: one that encodes, one that decodes."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from numchic.files.images import FORMATS, encode_image
from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_trainer.pictures import read_picture
from numchic_trainer.study.codec import Coded, Heed

_PLACE = re.compile(r"\{(\w*)(?:\.(\w+))?\}")
_ENDINGS = {"input": "png", "output": "bin", "decoded": "png"}
_FORM = "NAME=ENCODE {input} {output} {q}; DECODE {output} {decoded}"
_LAST_WORDS = 300  # bytes
_PATIENCE = 0.2  # seconds until somebody is asked whether it is still wanted


@dataclass(frozen=True)
class ProgramCodec:
    """A codec by command line; what ``{q}`` stands for moves along its curve.

    Commands are split like those of a shell, but no shell runs them. ``{input}`` is a PNG file,
    ``{input.ppm}`` one of that kind; ``{decoded}`` is to be a PNG file, or what ``{decoded.ppm}``
    says; ``{output.jxl}`` gives the stream's file an extension that the programs want.

    Attributes
    ----------
    name : str
    encoder, decoder : tuple of str
        Words of the commands, with their places.
    settings : tuple of str
        Values of ``{q}``.
    """

    name: str
    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    settings: tuple[str, ...]
    suffix: str = ".bin"
    timing: str = "process"

    @property
    def curve(self) -> str:
        """The name."""
        return self.name

    def identity(self, setting: str) -> str:
        """Both commands; whether their programs have become others nobody can tell."""
        commands = f"{shlex.join(self.encoder)}; {shlex.join(self.decoder)}"
        return f"{self.name}={commands} with q {setting}"

    def encode(
        self, picture: Picture, setting: str, _checkpoint: Path | None, heed: Heed, /
    ) -> Coded:
        """Run the command that encodes.

        Raises
        ------
        UsageError
            The program is not there, fails, or leaves no stream.
        """
        with tempfile.TemporaryDirectory(prefix="numchic-study-") as folder:
            files = self._files(Path(folder))
            bare = dataclasses.replace(picture, metadata=None)
            files["input"].write_bytes(encode_image(bare, files["input"].suffix[1:]))
            seconds = self._run(self.encoder, files, setting, heed)
            return Coded(self._contents(files["output"], "encoder"), seconds)

    def decode(self, stream: bytes, heed: Heed, /) -> tuple[Picture, float | None]:
        """Run the command that decodes.

        Raises
        ------
        UsageError
            The program is not there, fails, or leaves no picture.
        """
        with tempfile.TemporaryDirectory(prefix="numchic-study-") as folder:
            files = self._files(Path(folder))
            files["output"].write_bytes(stream)
            seconds = self._run(self.decoder, files, "", heed)
            self._contents(files["decoded"], "decoder")
            return read_picture(files["decoded"]), seconds

    def _files(self, folder: Path) -> dict[str, Path]:
        """Names of files for the places of both commands."""
        endings = dict(_ENDINGS)
        for word in (*self.encoder, *self.decoder):
            endings |= {name: ending for name, ending in _PLACE.findall(word) if ending}
        return {name: folder / f"{name}.{endings[name]}" for name in _ENDINGS}

    def _run(
        self, words: tuple[str, ...], files: dict[str, Path], setting: str, heed: Heed
    ) -> float | None:
        """Run a command to its end and return its CPU seconds."""
        values = {**{name: str(path) for name, path in files.items()}, "q": setting}
        command = [_PLACE.sub(lambda place: values[place[1]], word) for word in words]
        with tempfile.TemporaryFile() as said:
            before = _seconds_of_children()
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise UsageError(
                    f"the program cannot be run: {error.strerror}", self.name, None, command[0]
                ) from error
            _wait(process, heed)
            seconds = _seconds_of_children() - before
            last_words = _last_words(said)
        if process.returncode:
            raise UsageError(
                f"the program failed with status {process.returncode}: {last_words}",
                self.name, None, command[0],
            )  # fmt: skip
        return seconds or None  # which is what some systems say

    def _contents(self, path: Path, which: str) -> bytes:
        if not path.is_file() or not path.stat().st_size:
            raise UsageError(f"the {which} wrote no file", self.name, None, path.name)
        return path.read_bytes()


def _wait(process: subprocess.Popen[bytes], heed: Heed) -> None:
    """Wait for the end of a process, or kill it if it is not wanted any more."""
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
                return
            heed(None)
    finally:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and, where there are sessions, what it has started and left behind."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _seconds_of_children() -> float:
    """CPU seconds of all processes that were waited for; 0 where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _last_words(file: BinaryIO) -> str:
    """End of what a process has written, as one line."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _LAST_WORDS))
    return " ".join(file.read().decode(errors="replace").split()) or "no message"


def parse_program(text: str, settings: tuple[str, ...]) -> ProgramCodec:
    """Codec of ``NAME=ENCODE...; DECODE...``.

    Raises
    ------
    UsageError
        A command or a place is missing, or there is an unknown one.
    """
    name, _, commands = text.partition("=")
    name = name.strip()
    if not name or not settings:
        reason = "a name is needed" if not name else "values of {q} are needed: --q"
        raise UsageError(reason, "anchor", None, text, _FORM)
    try:
        words = _words(commands)
    except ValueError as error:
        raise UsageError(f"not a command: {error}", "anchor", None, commands, _FORM) from error
    if words.count(";") != 1:
        raise UsageError("two commands are needed", "anchor", None, commands, _FORM)
    middle = words.index(";")
    encoder, decoder = tuple(words[:middle]), tuple(words[middle + 1 :])
    _check_places(encoder, "encoder", {"input", "output", "q"})
    _check_places(decoder, "decoder", {"output", "decoded"})
    return ProgramCodec(name, encoder, decoder, settings)


def _words(commands: str) -> list[str]:
    """Split like a shell; semicolons outside of quotes are words of their own."""
    lexer = shlex.shlex(commands, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""  # names of files have backslashes
    return list(lexer)


def _check_places(words: tuple[str, ...], which: str, needed: set[str]) -> None:
    places = [place for word in words for place in _PLACE.findall(word)]
    names = {name for name, _ in places}
    for what, wrong in (("missing", needed - names), ("unknown", names - needed)):
        if wrong:
            listed = " ".join(f"{{{name}}}" for name in sorted(wrong))
            reason = f"{what} places in the {which}: {listed}"
            raise UsageError(reason, "anchor", None, " ".join(words), _FORM)
    for name, ending in places:
        if name == "input" and ending and ending not in FORMATS:
            raise UsageError("unknown kind of picture", "anchor", None, ending, ", ".join(FORMATS))
