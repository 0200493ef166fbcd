# SPDX-License-Identifier: BSD-3-Clause
"""Object files -> a library that needs nothing but the system itself."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from numchic_build.targets import Target

_FLAGS = ("-O2", "-s", "-ffreestanding")
_SOURCE = Path(__file__).with_name("library.c")


def link(
    objects: Sequence[bytes], identity: str, target: Target, compiler: Sequence[str], output: Path
) -> None:
    """Write a library, and its checksum beside it.

    Parameters
    ----------
    objects : sequence of bytes
        From :func:`numchic_build.emit.emit`.
    identity : str
        What the library says of itself.
    target : Target
    compiler : sequence of str
        Command of a C compiler for the target, gcc or clang.
    output : Path

    Raises
    ------
    subprocess.CalledProcessError, OSError
        The compiler fails, or there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.o") for i in range(len(objects))]
        for path, data in zip(paths, objects, strict=True):
            path.write_bytes(data)
        made = Path(folder, output.name)  # some linkers write more files beside it
        highest = max(int(code.suffix.removeprefix("_v") or 1) for code in target.codes)
        subprocess.run(
            [*compiler, *_FLAGS, *target.flags, f'-DNUMCHIC_IDENTITY="{identity}"',
             f"-DNUMCHIC_HIGHEST_LEVEL={highest}", _SOURCE, *paths, "-o", made],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        shutil.move(made, output)
    checksum = hashlib.sha256(output.read_bytes()).hexdigest()
    output.with_suffix(".sha256").write_text(checksum, encoding="ascii")
