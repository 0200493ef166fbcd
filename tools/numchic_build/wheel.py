# SPDX-License-Identifier: BSD-3-Clause
"""The parts of a wheel that differ between platforms: library, tag, and whether Numba is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from numchic_build.targets import MARKER

NUMBA = "numba>=0.61"
# In wheels that are published: all must have the same metadata, so that installers and lock files
# can take any of them for all. Numba is needed where there is none with a library.
PUBLISHED = f"{NUMBA}; {MARKER}"

_KERNELS = Path("numchic_bitstream", "kernels")


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel into a folder; give the folder with the packages."""
    _run("unpack", "--dest", folder, wheel)
    (content,) = folder.iterdir()
    return content


def pack(
    content: Path,
    output: Path,
    *,
    numba: str | None,
    library: Path | None = None,
    tag: str = "any",
    reason: str = "",
) -> str:
    """Make a wheel of an unpacked one, which is left as it is.

    Parameters
    ----------
    content : Path
        From :func:`unpack`.
    output : Path
        Folder for the wheel.
    numba : str or None
        Requirement to add.
    library : Path, optional
    tag : str
        Platform of the wheel.
    reason : str
        Why there is no library, in one line.

    Returns
    -------
    str
        Name of the wheel.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, content.name)
        shutil.copytree(content, copy)
        if library is not None:
            shutil.copy(library, copy / _KERNELS)
            shutil.copy(library.with_suffix(".sha256"), copy / _KERNELS)
        if reason:
            (copy / _KERNELS / "no_library.txt").write_text(f"{reason}\n", encoding="utf-8")
        (info,) = copy.glob("*.dist-info")
        _edit(info / "WHEEL", r"^Tag: .*\n", f"Tag: py3-none-{tag}\n")
        _edit(info / "WHEEL", r"^Root-Is-Purelib: .*\n", f"Root-Is-Purelib: {_bool(not library)}\n")
        if numba:
            _edit(info / "METADATA", r"\n\n", f"\nRequires-Dist: {numba}\n\n")
        made = Path(folder, "wheel")
        made.mkdir()
        _run("pack", "--dest-dir", made, copy)
        (wheel,) = made.iterdir()
        shutil.move(wheel, output / wheel.name)
    return wheel.name


def _bool(value: object) -> str:
    return str(bool(value)).lower()


def _edit(path: Path, pattern: str, text: str) -> None:
    old = path.read_text(encoding="utf-8")
    new, n = re.subn(pattern, lambda _: text, old, count=1, flags=re.MULTILINE)
    if n != 1:
        raise ValueError(f"{path.name} has no {pattern!r}")
    path.write_text(new, encoding="utf-8")


def _run(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "wheel", *arguments], check=True, stdout=subprocess.DEVNULL
    )
