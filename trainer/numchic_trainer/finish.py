# SPDX-License-Identifier: BSD-3-Clause
"""The way from a trained model to a stream: quantise, write, verify (training, 8 to 10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

import numchic
from numchic.picture import Picture
from numchic_bitstream import Metadata, append_trailer, latents_crc, samples_digest
from numchic_bitstream.arrays import I8
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.quality import mean_squared_error, psnr
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.result import EncodeResult, Row
from numchic_trainer.session import Session
from numchic_trainer.task import Task
from numchic_trainer.training.target import Evaluation, Target, planes_of
from numchic_trainer.training.train import Training
from numchic_trainer.write import verified_latents, write_model, write_still


def finish(
    task: Task, training: Training[CoolChicEncoder], lmbda: float, session: Session
) -> EncodeResult:
    """Make a stream of what training has found, on the CPU, where kernels make it quick.

    The training can go on afterwards: its candidates are left alone.

    Raises
    ------
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    training.engine.release()
    model, target = training.model.to("cpu"), training.target.at(lmbda)
    if task.config.device != "cpu":
        target = task.target(lmbda, "cpu")
    model.set_param(training.result())
    rows = _quantise(task, model, target, session)
    with session.timed("write"):
        written = _write(task, model)
    found = _judge(task.picture, written, target)
    rows.append(session.row("write", found, 0.0, lmbda))
    session.tell("write", rows[-1])
    return EncodeResult(
        stream=written.complete,
        trailer_bytes=len(written.complete) - len(written.stream),
        preset=task.preset,
        start=training.start,
        lmbda=lmbda,
        measure=found.measure,
        distortion=found.distortion,
        psnr_db=psnr(found.mse),
        mse=found.mse,
        bits_per_pixel=found.bpp,
        loss=found.loss,
        goal_met=True,
        cpu_seconds=dict(session.cpu_seconds),
        log=session.log + rows,
    )


def _quantise(task: Task, model: CoolChicEncoder, target: Target, session: Session) -> list[Row]:
    """Quantise the networks in place; return a row of the log per step."""
    model.forget_quantisation()
    rows: list[Row] = []
    works: dict[str, Callable[[], object]] = {"quantise": lambda: quantise_networks(model, target)}
    if task.config.rdoq:
        works["rdoq"] = lambda: optimise_integers(
            model, target, task.config.seed, float(rows[-1]["loss"])
        )
    for name, work in works.items():
        with session.timed(name):
            work()
        found = target.evaluate(model, network_bits=model.get_network_rate()[1])
        rows.append(session.row(name, found, 0.0, target.lmbda))
        session.tell(name, rows[-1])
    return rows


@dataclass(frozen=True)
class _Written:
    """A stream without and with its trailer, and what the decoder makes of it."""

    stream: bytes
    complete: bytes
    decoded: Picture


def _write(task: Task, model: CoolChicEncoder) -> _Written:
    """Write a quantised model and compare everything with what is decoded."""
    coolchic = write_model(model)
    stream = write_still(task.picture, coolchic)
    grids = verified_latents(model, coolchic)
    decoded = numchic.decode(stream)
    complete = stream
    if task.config.trailer:
        # Other machines may differ in a sample made of noise.
        noisy = bool(model.header.flag_common_randomness)
        complete = _with_trailer(stream, grids, None if noisy else decoded, task.metadata)
    return _Written(stream, complete, decoded)


def _with_trailer(
    stream: bytes, grids: list[I8], decoded: Picture | None, metadata: Metadata | None
) -> bytes:
    samples = None if decoded is None else samples_digest(decoded.pieces())
    complete = append_trailer(stream, latents_crc([grids]), samples, metadata)
    numchic.decode(complete)  # compares everything with the trailer
    return complete


def _judge(picture: Picture, written: _Written, target: Target) -> Evaluation:
    """Compare the decoded picture with its source."""
    measure = target.measure
    decoded, original = (
        planes_of(samples, dtype=measure.precision) for samples in (written.decoded, picture)
    )
    with torch.no_grad():
        distortion = float(measure(decoded, original))
    mse = mean_squared_error(picture, written.decoded)
    return target.evaluation(distortion, mse, 8 * len(written.stream))
