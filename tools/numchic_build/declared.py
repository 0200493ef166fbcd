# SPDX-License-Identifier: BSD-3-Clause
"""``python -m numchic_build.declared PACKAGES``: what a library of these packages must have.

The first line is what it says of itself, the others are names of entries, without the suffix of a
kind of processor. Needs no Numba.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any


def import_entries(packages: Path) -> list[Any]:
    """Import the kernels of the packages in a folder, from which they must not be imported yet.

    Parameters
    ----------
    packages : Path
        With ``numchic_bitstream`` and ``numchic`` as they are installed.

    Returns
    -------
    list of callable
        Entry kernels.
    """
    sys.path.insert(0, str(packages))
    sys.dont_write_bytecode = True  # the folder may become a wheel
    from numchic_bitstream.kernels import ENTRIES, native

    for package in native.PACKAGES:
        for path in sorted((packages / package).rglob("*.py")):
            if "\n@kernel(" in path.read_text(encoding="utf-8"):
                importlib.import_module(".".join(path.relative_to(packages).with_suffix("").parts))
    return ENTRIES


def main() -> None:
    """Print what the sources of the command line declare."""
    os.environ["NUMCHIC_KERNELS"] = "python"
    entries = import_entries(Path(sys.argv[1]))
    from numchic_bitstream.kernels import native
    from numchic_bitstream.kernels.signature import signatures, symbol

    print(native.identity())
    for kernel in entries:
        for i, _ in enumerate(signatures(kernel)):
            print(symbol(kernel, i))


if __name__ == "__main__":
    main()
