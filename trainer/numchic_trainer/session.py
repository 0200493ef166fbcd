# SPDX-License-Identifier: BSD-3-Clause
"""What accompanies the training of a picture: log, times, progress, and the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numchic_trainer.goal import Search
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.quality import psnr
from numchic_trainer.result import Event, Progress, Row
from numchic_trainer.training.checkpoint import load_checkpoint, save_checkpoint
from numchic_trainer.training.target import Evaluation
from numchic_trainer.training.train import Training


class Session:
    """One encode as its user sees it.

    Parameters
    ----------
    identity : str
        It stands for picture and settings; a checkpoint is only loaded for the same.
    training : Training
    search : Search
    progress : callable or None
    checkpoint : Path or None
    period : float
        Seconds from one checkpoint to the next.

    Attributes
    ----------
    log : list of dict
        Rows so far.
    cpu_seconds : dict
        Time so far, per phase.
    """

    def __init__(
        self,
        identity: str,
        training: Training[CoolChicEncoder],
        search: Search,
        progress: Progress | None,
        checkpoint: Path | None,
        period: float,
    ) -> None:
        if checkpoint is not None and not checkpoint.absolute().parent.is_dir():
            raise FileNotFoundError(f"no such folder: {checkpoint.parent}")
        self._identity = identity
        self._training = training
        self._search = search
        self._progress = progress
        self._checkpoint = checkpoint
        self._period = period
        self._saved_at = time.monotonic()
        self._cpu_start = time.process_time()
        self.log: list[Row] = []
        self.cpu_seconds: dict[str, float] = {}

    def resume(self) -> bool:
        """Go to where the checkpoint was written, if there is one."""
        if self._checkpoint is None or not self._checkpoint.exists():
            return False
        state = load_checkpoint(self._checkpoint, self._training, self._identity)
        self.log, self.cpu_seconds = state["log"], state["cpu_seconds"]
        self._cpu_start -= state["cpu"]
        self._search.restore(state["search"])
        return True

    def save(self) -> None:
        """Write the checkpoint, if one is wanted."""
        if self._checkpoint is None:
            return
        state = {
            "log": self.log,
            "cpu_seconds": self.cpu_seconds,
            "cpu": time.process_time() - self._cpu_start,
            "search": self._search.state(),
        }
        save_checkpoint(self._checkpoint, self._training, self._identity, state)
        self._saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Write the checkpoint if the last one is too old."""
        if time.monotonic() - self._saved_at > self._period:
            self.save()

    def tell(self, phase: str, row: Row | None = None) -> None:
        """Report progress; an exception that comes of it leaves a checkpoint."""
        if self._progress is None:
            return
        training = self._training
        try:
            self._progress(Event(phase, training.iteration, training.n_iterations, row))
        except BaseException:
            self.save()  # between two iterations, so that it can go on from here
            raise

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the time of a block."""
        start = time.process_time()
        yield
        spent = time.process_time() - start
        self.cpu_seconds[phase] = self.cpu_seconds.get(phase, 0.0) + spent

    def row(self, phase: str, found: Evaluation, learning_rate: float, lmbda: float) -> Row:
        """Row of the log for what was found just now."""
        return {
            "phase": phase,
            "iteration": self._training.iteration,
            "measure": found.measure,
            "loss": found.loss,
            "distortion": found.distortion,
            "mse": found.mse,
            "psnr_db": psnr(found.mse),
            "bpp": found.bpp,
            "learning_rate": learning_rate,
            "lmbda": lmbda,
            "cpu_seconds": time.process_time() - self._cpu_start,
        }
