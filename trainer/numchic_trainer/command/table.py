# SPDX-License-Identifier: BSD-3-Clause
"""Tables on disk: training logs and summaries, as CSV or as JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from numchic.files.images import write_file
from numchic_bitstream import UsageError

Row = Mapping[str, float | str | bool]

KINDS = (".csv", ".jsonl")


def check_table_name(path: Path) -> None:
    """Refuse a file name whose extension is not known."""
    if path.suffix.lower() not in KINDS:
        raise UsageError("unknown kind of table", "log", None, path.name, ", ".join(KINDS))


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows, by the extension of the file; an existing file is replaced as a whole."""
    check_table_name(path)
    if path.suffix.lower() == ".jsonl":
        text = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    else:
        file = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = file.getvalue()
    write_file(path, text.encode(errors="surrogateescape"))  # names of files may not be UTF-8


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, every value as text, with or without a byte-order mark.

    Raises
    ------
    UsageError
        It is no table.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        try:
            rows = [dict(row) for row in csv.DictReader(file, strict=True)]
        except csv.Error as error:
            raise UsageError(f"not a table: {error}", path.name) from error
    if any(None in [*row, *row.values()] for row in rows):
        raise UsageError("not a table: rows differ in length", path.name)
    return rows
