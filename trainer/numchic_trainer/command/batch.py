# SPDX-License-Identifier: BSD-3-Clause
"""``numchic encode-batch``: many pictures on a Dask cluster or on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from numchic.files.images import write_file
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.command.encode import CHECKPOINT_SUFFIX, SUFFIX, complain
from numchic_trainer.command.job import Job, run_jobs
from numchic_trainer.command.table import Row, read_table, write_table
from numchic_trainer.config import TrainConfig
from numchic_trainer.encoding import EncodeResult
from numchic_trainer.pictures import PICTURE_SUFFIXES, read_picture

_SUMMARY = "summary.csv"


def encode_batch(
    folder: Path,
    settings: dict[str, Any],
    output: Path | None,
    scheduler: str | None,
    jobs: int | None,
) -> None:
    """Encode the pictures of a folder that have no up-to-date stream yet."""
    config = TrainConfig.of_effort(**settings)
    output = output or folder
    output.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise UsageError(
            "no pictures", "folder", None, str(folder), ", ".join(sorted(PICTURE_SUFFIXES))
        )
    summary = _Summary(output / _SUMMARY)
    failed: list[Path] = []

    def prepared() -> Iterator[Job]:
        for path in paths:
            try:
                key = _key(path, config)
                if summary.has(path, key, output):
                    continue
                # On another machine the folder may not exist: a lost encode starts again there.
                name = f".{path.name}.{key}{CHECKPOINT_SUFFIX}"
                checkpoint = None if scheduler else output / name
                yield Job(path, read_picture(path), config, checkpoint)
            except (NumchicError, OSError) as error:
                failed.append(path)
                complain(path, error)

    def done(job: Job, result: EncodeResult | Exception) -> None:
        if isinstance(result, Exception):
            failed.append(job.path)
            complain(job.path, result)
            return
        write_file(_stream_of(job.path, output), result.stream)
        summary.add(job, result, _key(job.path, config))
        if job.checkpoint is not None:
            job.checkpoint.unlink(missing_ok=True)
        click.echo(f"{len(summary.rows)} of {len(paths)}: {job.path.name}", err=True)

    with _executor(scheduler, jobs) as (executor, n_at_once):
        run_jobs(prepared(), executor, n_at_once, done)
    if failed:
        raise NumchicError(f"{len(failed)} of {len(paths)} pictures were not encoded")


def _stream_of(path: Path, output: Path) -> Path:
    # The whole name, since a.png and a.jpg may lie side by side.
    return output / (path.name + SUFFIX)


def _key(path: Path, config: TrainConfig) -> str:
    """Digest of a file, the settings and the pack that they name."""
    settings = json.dumps(dataclasses.asdict(config), sort_keys=True).encode()
    pack = b"" if config.init_pack is None else Path(config.init_pack).read_bytes()
    return hashlib.sha256(path.read_bytes() + settings + pack).hexdigest()[:16]


class _Summary:
    """The table of what has been encoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            self.rows = {row.get("picture", ""): row for row in read_table(path)}

    def has(self, path: Path, key: str, output: Path) -> bool:
        return self.rows.get(path.name, {}).get("key") == key and _stream_of(path, output).is_file()

    def add(self, job: Job, result: EncodeResult, key: str) -> None:
        self.rows[job.path.name] = {
            "picture": job.path.name,
            "width": job.picture.width,
            "height": job.picture.height,
            "bytes": len(result.stream),
            "trailer_bytes": result.trailer_bytes,
            "bpp": round(result.bits_per_pixel, 5),
            "psnr_db": round(result.psnr_db, 4),
            "loss_x1000": round(1000 * result.loss, 5),
            "preset": result.preset,
            "lmbda": result.lmbda,
            "goal_met": result.goal_met,
            "cpu_seconds": round(sum(result.cpu_seconds.values()), 2),
            "key": key,
        }
        write_table(self.path, [self.rows[name] for name in sorted(self.rows)])


@contextmanager
def _executor(scheduler: str | None, n_jobs: int | None) -> Iterator[tuple[Executor, int]]:
    """Processes here, or the cluster at an address, and how many jobs to give it at a time."""
    if scheduler is None:
        n_jobs = n_jobs or os.cpu_count() or 1
        with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as executor:
            yield executor, n_jobs
        return
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise UsageError(
            "a cluster needs Dask: pip install 'numchic[cluster]'", "scheduler"
        ) from error
    with Client(scheduler) as client:  # type: ignore[no-untyped-call]
        # One more than can run, so that no worker waits for us.
        n_jobs = n_jobs or sum(client.nthreads().values()) + 1
        yield client.get_executor(), n_jobs
