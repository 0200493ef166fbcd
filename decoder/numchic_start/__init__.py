# SPDX-License-Identifier: BSD-3-Clause
"""Start of the command ``numchic``: what has to be done before NumPy is imported.

Importing anything of ``numchic`` imports NumPy, which is why this is a package of its own.
"""

import gc
import os


def run() -> None:
    """Entry point of the process."""
    # NumPy's OpenBLAS starts threads, for which a decoder has no work. They would look for some,
    # which takes as much time of a processor as half of importing NumPy, before they sleep.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    gc.disable()  # importing makes no garbage
    from numchic.command.cli import run

    run()
