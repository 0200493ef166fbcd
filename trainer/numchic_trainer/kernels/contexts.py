# SPDX-License-Identifier: BSD-3-Clause
"""Spatial contexts of consecutive symbols (coolchic-5, section 6.1).

Some rows of a grid and the four above are copied to a sheet, a float32 vector with four zeros
before every row and some at the end: row after row, w samples in a pitch of w + 4. There the
context of a symbol is at the same distances from it everywhere, and what belongs to one neighbour
of many consecutive symbols is one slice. The zeros between rows are taken for symbols as well; they
must be made to count nothing.
"""

from __future__ import annotations

import numpy as np

from numchic.v5.context import NEIGHBOURS
from numchic_bitstream.arrays import F32, I64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.rows import add_row, clear_row, copy_row

REACH = 4  # rows and columns that contexts look at
_SLACK = 1024  # behind the last row: a neighbour of a whole block may be there

_NEIGHBOURS: I64 = np.array(NEIGHBOURS, np.int64)


@kernel(inline=True)
def sheet_size(n_rows: int, width: int) -> int:
    """Size of a sheet of so many rows of a grid."""
    return (n_rows + REACH) * (width + REACH) + _SLACK


@kernel(inline=True)
def sheet_start(width: int) -> int:
    """Position of the first symbol."""
    return REACH * (width + REACH) + REACH


@kernel()
def fill_sheet(grid: F32, first: int, n_rows: int, sheet: F32) -> None:
    """Copy rows of a grid from ``first`` on, with zeros for what is not there."""
    width = grid.shape[1]
    pitch = width + REACH
    for r in range(n_rows + REACH):
        y = first - REACH + r
        row = sheet[r * pitch : (r + 1) * pitch]
        if y < 0:
            clear_row(row)
        else:
            clear_row(row[:REACH])
            copy_row(grid[y], row[REACH:])
    clear_row(sheet[(n_rows + REACH) * pitch : sheet_size(n_rows, width)])


@kernel()
def gather(sheet: F32, width: int, position: int, n: int, n_spatial: int, rows: F32) -> None:
    """Contexts of n symbols of a sheet, one neighbour a row."""
    for s in range(n_spatial):
        start = position + _NEIGHBOURS[s, 0] * (width + REACH) + _NEIGHBOURS[s, 1]
        copy_row(sheet[start : start + n], rows[s, :n])


@kernel()
def scatter(d_rows: F32, width: int, position: int, n: int, n_spatial: int, d_sheet: F32) -> None:
    """Add derivatives by contexts to those by the symbols of a sheet."""
    for s in range(n_spatial):
        start = position + _NEIGHBOURS[s, 0] * (width + REACH) + _NEIGHBOURS[s, 1]
        add_row(d_rows[s, :n], d_sheet[start : start + n])
