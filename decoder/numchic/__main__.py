# SPDX-License-Identifier: BSD-3-Clause
"""``python -m numchic`` is the command ``numchic``."""

from numchic.command.cli import run

if __name__ == "__main__":
    run()
