# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode-batch``: many pictures on a Dask cluster or on this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import click

from numchic.command.pool import run_in_processes
from numchic.files.images import write_file
from numchic_bitstream import UsageError
from numchic_trainer.command.cluster import run_on_cluster
from numchic_trainer.command.job import Job, Outcomes, encode_all, run_job
from numchic_trainer.command.names import (
    CHECKPOINT_SUFFIX,
    SUFFIX,
    SUMMARY,
    check_stream,
    pictures_in,
    stream_names,
)
from numchic_trainer.command.table import Row, read_table, write_table
from numchic_trainer.config import TrainConfig, beside_others
from numchic_trainer.encoding import EncodeResult
from numchic_trainer.kernels.workers import available_cores
from numchic_trainer.pictures import read_picture


def encode_batch(
    folder: Path,
    settings: dict[str, Any],
    output: Path | None,
    scheduler: str | None,
    jobs: int | None,
) -> None:
    """Encode the pictures of a folder that have no up-to-date stream yet."""
    n_jobs = jobs or available_cores()
    # Nobody knows here how many encodes share a machine of the cluster.
    config = beside_others(TrainConfig(**settings), 2 if scheduler else n_jobs)
    paths, others = pictures_in(folder)
    if others:
        click.echo(f"numchic: not looked at in {folder}: {others}", err=True)
    names = dict(zip(paths, stream_names(paths), strict=True))
    output = output or folder
    output.mkdir(parents=True, exist_ok=True)
    summary = _Summary(output)
    done: list[Path] = []

    def prepare(path: Path) -> Job | None:
        key = _key(path, config)
        stream = summary.stream_of(path, names[path])
        if summary.key_of(path) == key and stream.is_file():
            finish(path)
            return None
        check_stream(stream, paths)
        picture = read_picture(path)
        if _key(path, config) != key:
            raise UsageError("the file is being changed", path.name)
        # On another machine the folder may not exist: a lost encode starts again there.
        checkpoint = None if scheduler else output / f".{path.name}.{key}{CHECKPOINT_SUFFIX}"
        return Job(path, picture, config, stream, checkpoint, key)

    def finish(path: Path) -> None:
        done.append(path)
        # Trainings with settings that have been given up have no other end.
        for training in output.glob(f".{escape(path.name)}.{'?' * 16}{CHECKPOINT_SUFFIX}"):
            training.unlink(missing_ok=True)

    def deliver(job: Job, result: EncodeResult) -> None:
        write_file(job.output, result.stream)
        summary.add(job, result)
        finish(job.path)
        click.echo(f"{len(done)} of {len(paths)}: {job.path.name}", err=True)

    def run(work: Iterable[Job]) -> Outcomes:
        if scheduler is not None:
            return run_on_cluster(run_job, work, scheduler, jobs)
        return run_in_processes(run_job, work, n_jobs)

    encode_all(paths, prepare, run, deliver)


def _key(path: Path, config: TrainConfig) -> str:
    """Digest of a picture's file and of what else its stream depends on."""
    return hashlib.sha256(path.read_bytes() + config.identity()).hexdigest()[:16]


class _Summary:
    """The table of what has been encoded to a folder; other processes may add to it as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.path = folder / SUMMARY
        self.rows = self._read()

    def _read(self) -> dict[str, Row]:
        if not self.path.exists():
            return {}
        rows = read_table(self.path)
        if not rows or not {"picture", "key"} <= rows[0].keys():
            raise UsageError("this table is not of encode-batch", "output", None, str(self.path))
        return {row["picture"]: row for row in rows}

    def _name(self, path: Path) -> str:
        """Name of a picture, as seen from here: there may be others of the same name elsewhere."""
        return Path(os.path.relpath(path.parent.resolve() / path.name, self.folder)).as_posix()

    def key_of(self, path: Path) -> object:
        """What the stream of a picture is of."""
        return self.rows.get(self._name(path), {}).get("key")

    def stream_of(self, path: Path, name: str) -> Path:
        """Where the stream of a picture is, or goes to by this name."""
        picture = self._name(path)
        if picture in self.rows:
            name = _stream(self.rows[picture])
        for other, row in self.rows.items():
            if other != picture and _stream(row) == name and (self.folder / other).exists():
                raise UsageError("another picture has this stream", "stream", None, name, other)
        return self.path.with_name(name)

    def add(self, job: Job, result: EncodeResult) -> None:
        """Add a row to what is there now."""
        row: Row = {
            "picture": self._name(job.path),
            "stream": job.output.name,
            "width": job.picture.width,
            "height": job.picture.height,
            "bytes": len(result.stream),
            "trailer_bytes": result.trailer_bytes,
            "bpp": round(result.bits_per_pixel, 5),
            "psnr_db": round(result.psnr_db, 4),
            "measure": result.measure,
            "loss_x1000": round(1000 * result.loss, 5),
            "preset": result.preset,
            "lmbda": result.lmbda,
            "goal_met": result.goal_met,
            "cpu_seconds": round(sum(result.cpu_seconds.values()), 2),
            "key": job.key,
        }
        with _locked(self.folder):
            self.rows = self._read() | {self._name(job.path): row}
            write_table(self.path, [self.rows[name] for name in sorted(self.rows)])


def _stream(row: Row) -> str:
    return str(row.get("stream") or f"{row['picture']}{SUFFIX}")  # tables once had no such column


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other batches from writing the table, where the system can."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
