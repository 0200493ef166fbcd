# SPDX-License-Identifier: BSD-3-Clause
"""Names of files: where a stream goes, what is not overwritten, and standard input and output."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from numchic import read_info
from numchic.command.decode import is_folder
from numchic.files.output import write
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.pictures import is_picture
from numchic_trainer.video.records import discard as discard_frames

SUFFIX = ".cool"
CHECKPOINT_SUFFIX = ".training"
STANDARD = Path("-")
SUMMARY = "summary.csv"
"""Table of what a folder of streams holds."""


def output_paths(inputs: Sequence[Path], output: str) -> list[Path]:
    """Where the streams of pictures go: to a folder, which is made, or one to a file.

    A folder is meant if it is there, if the name ends in a slash, or if there are several pictures.
    """
    folder = Path(output)
    if folder == STANDARD or not (len(inputs) > 1 or is_folder(output)):
        names = [folder]
    else:
        names = [folder / name for name in stream_names(inputs)]
    if len(names) < len(inputs) or (STANDARD in inputs and names != [folder]):
        raise UsageError("this is for one picture and its stream", "inputs", None, "-")
    if names != [folder]:
        if folder.exists() and not folder.is_dir():
            raise UsageError("with several pictures OUT is a folder", "output", None, output)
        folder.mkdir(parents=True, exist_ok=True)
    return names


def stream_names(paths: Sequence[Path]) -> list[str]:
    """Names of the streams of pictures: a.cool of a.png, but a.png.cool if there is a.jpg as well.

    Raises
    ------
    UsageError
        Two of them are the same even so.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    names = [(p.stem if stems[p.stem.casefold()] == 1 else p.name) + SUFFIX for p in paths]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UsageError("two pictures would be written to the same stream", "inputs", None, name)
    return names


def pictures_in(folder: Path) -> tuple[list[Path], str]:
    """Pictures of a folder, and what else there is that nobody made here, in words.

    Raises
    ------
    UsageError
        There are no pictures.
    OSError
        The folder cannot be read.
    """
    paths, others = [], Counter[str]()
    for path in sorted(folder.iterdir()):
        if is_picture(path) and not path.is_dir():
            paths.append(path)
        elif path.is_dir():
            others["sub-folders"] += 1
        elif path.suffix != SUFFIX and path.name != SUMMARY and not path.name.startswith("."):
            others[path.suffix or path.name] += 1
    if not paths:
        raise UsageError("no pictures", "folder", None, str(folder))
    return paths, ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))


def check_output(output: Path, inputs: Collection[Path]) -> None:
    """Fail before the work rather than after it; an input is no output."""
    folder = output.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {output.parent}")
    if output.exists():
        if any(path.exists() and output.samefile(path) for path in inputs):
            raise UsageError("the output would replace an input", "output", None, str(output))
    elif output.resolve() in {path.resolve() for path in inputs}:
        # That is the name of numbered pictures, which a file would hide.
        raise UsageError("the output would replace an input", "output", None, str(output))
    elif not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder cannot be written to: {output.parent}")


def check_folder(folder: Path) -> None:
    """Fail before the work rather than after it, if a folder is not there and cannot be made."""
    whole = folder.resolve()
    there = next(path for path in (whole, *whole.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"not a folder: {there}")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"the folder cannot be written to: {there}")


def check_stream(output: Path, inputs: Collection[Path]) -> None:
    """Also refuse to replace something else than a stream by a stream."""
    if output == STANDARD:
        return
    check_output(output, inputs)
    if output.is_file() and output.stat().st_size:
        try:
            read_info(output)
        except NumchicError as error:
            raise UsageError(
                "the output is there and is no Cool-chic stream", "output", None, str(output),
                "a new file, or a stream to be replaced",
            ) from error  # fmt: skip


def open_checkpoint(output: Path, resume: bool, restart: bool) -> Path | None:
    """Place beside the output for an interrupted training; it must be wanted if it is there.

    Beside standard output, a pipe or a device there is none.
    """
    if resume and restart:
        reason = "an interrupted training goes on or is thrown away"
        raise UsageError(reason, "restart", None, "with resume", "one of them")
    if output == STANDARD or (output.exists() and not output.is_file()):
        if resume or restart:
            raise UsageError("no training is kept beside this", "output", None, str(output))
        return None
    path = output.with_name(output.name + CHECKPOINT_SUFFIX)
    if restart and path.exists():
        discard(path)  # be it of a picture or of a video
    elif path.exists() and not resume:
        raise UsageError(
            "an interrupted training is there: --resume goes on with it, --restart throws it away",
            "output", None, path.name,
        )  # fmt: skip
    return path


def discard(checkpoint: Path) -> None:
    """Remove what a training has kept: a file, of a video a folder of frames."""
    if checkpoint.is_dir():
        discard_frames(checkpoint)
    else:
        checkpoint.unlink()


def input_of(path: Path) -> Path | BinaryIO:
    """What an input stands for: a file, or standard input."""
    return _standard(sys.stdin) if path == STANDARD else path


def write_output(path: Path, contents: bytes) -> None:
    """Write a whole file, or to standard output."""
    write(str(path), contents, _standard(sys.stdout) if path == STANDARD else None)


def _standard(stream: TextIO | None) -> BinaryIO:
    if stream is None:
        raise UsageError("it is closed", "standard input or output")
    return stream.buffer
