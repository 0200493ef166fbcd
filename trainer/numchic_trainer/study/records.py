# SPDX-License-Identifier: BSD-3-Clause
"""What a study has measured, on disk: a file for every point, and its stream."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from numchic.files.images import write_file
from numchic_bitstream import UsageError
from numchic_trainer.study.measure import Measured, Task
from numchic_trainer.study.point import Point

_POINTS = "points"
_STREAMS = "streams"
_SHOWN = ("index.html", "summary.md", "results.csv")


class Records:
    """Finished points by their keys; a point is written at once, and others may write beside.

    Parameters
    ----------
    folder : Path
        Of the study, which is made if it does not exist.

    Raises
    ------
    UsageError
        It has files of the names that are to be written, and they are not of a study.
    OSError
        It cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / _POINTS).exists():
            for name in _SHOWN:
                if (folder / name).exists():
                    reason = "this file would be replaced, and is not of a study"
                    raise UsageError(reason, "output", None, str(folder / name))
        for name in (_POINTS, _STREAMS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_file(folder / _POINTS / "README.txt", _README.encode())

    def find(self, key: str) -> Measured | None:
        """What was measured; None if it was not, or if its files are not what they were."""
        try:
            record = json.loads(self._path(key).read_text())
            stream = (self.folder / record["stream"]).read_bytes()
            whole = hashlib.sha256(stream).hexdigest() == record["sha256"]
            point = Point(**record["point"])
            return Measured(point, stream, record["machine"]) if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a file that somebody has changed is worth no more than none

    def add(self, task: Task, measured: Measured) -> None:
        """Keep a point; the stream first, so that no point is without one."""
        words = (_plain(task.codec.curve, 80), _plain(task.setting, 20), task.key[:8])
        name = "-".join(words) + task.codec.suffix
        stream = Path(_STREAMS) / _plain(task.name, 100) / name
        (self.folder / stream).parent.mkdir(exist_ok=True)
        write_file(self.folder / stream, measured.stream)
        record = {
            "point": dataclasses.asdict(measured.point),
            "machine": measured.machine,
            "stream": stream.as_posix(),
            "sha256": hashlib.sha256(measured.stream).hexdigest(),
        }
        write_file(self._path(task.key), json.dumps(record, indent=1).encode())
        self.checkpoint(task.key).unlink(missing_ok=True)

    def checkpoint(self, key: str) -> Path:
        """Where an encode is kept that was interrupted."""
        return self.folder / _POINTS / f"{key}.training"

    def _path(self, key: str) -> Path:
        return self.folder / _POINTS / f"{key}.json"


_README = """\
One file for every point that a study has measured. What is here is not measured again.
Files named .training are encodes that were interrupted.
"""


def _plain(name: str, longest: int) -> str:
    """Make a name that every file system takes; keys tell apart what becomes the same."""
    return re.sub("[^A-Za-z0-9_.+-]+", "-", name)[:longest].strip(".-") or "unnamed"
