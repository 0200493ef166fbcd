# SPDX-License-Identifier: BSD-3-Clause
"""Encode a picture: train, quantise, write, decode again and compare."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import numchic
from numchic.picture import Picture, Samples
from numchic.v5.latents import decode_latents
from numchic_bitstream import (
    CoolChic,
    Frame,
    FrameHeader,
    Metadata,
    Stream,
    StreamError,
    UsageError,
    VideoHeader,
    append_trailer,
    latents_crc,
    samples_digest,
    write_stream,
)
from numchic_bitstream.arrays import I8
from numchic_bitstream.v5.grids import grid_list
from numchic_bitstream.v5.parameters import read_parameters
from numchic_trainer.config import TrainConfig, architecture
from numchic_trainer.goal import Attempt, Goal
from numchic_trainer.model.encoder import CoolChicEncoder, CoolChicEncoderParameter
from numchic_trainer.preset import choose_preset
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.start import choose_start, starting_points
from numchic_trainer.training.checkpoint import load_checkpoint, save_checkpoint
from numchic_trainer.training.features import FeatureExtractor
from numchic_trainer.training.plan import Phase, plan, refinement
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Param, Training
from numchic_trainer.training.wasserstein import WassersteinLoss
from numchic_trainer.write import write_model

Image = Picture | NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Event:
    """How far an encode is.

    Attributes
    ----------
    phase : str
        "warm-up", "main", "refine", "quantise", "rdoq" or "write".
    iteration, n_iterations : int
        Iterations done and, as far as is known, in all.
    row : dict or None
        The row of the training log, when there is a new one.
    """

    phase: str
    iteration: int
    n_iterations: int
    row: dict[str, float | str] | None = None


Progress = Callable[[Event], None]
"""Called after every iteration. An exception that it raises stops the encode."""


@dataclass(frozen=True)
class EncodeResult:
    """What :func:`encode` returns.

    Attributes
    ----------
    stream : bytes
        With its trailer.
    trailer_bytes : int
        Size of the trailer; 0 if there is none.
    preset : str
    start : str
        What training started from: "zero", "shared", "ladder" or "stream".
    lmbda : float
        Differs from the one of the settings if a rate or quality was asked for.
    psnr_db, mse : float
        Of the decoded picture; the error in [0, 1] units.
    bits_per_pixel : float
        Of the stream without its trailer.
    loss : float
        mse + lambda * bits_per_pixel.
    goal_met : bool
        Whether the rate or quality that was asked for has been reached; True if none was.
    cpu_seconds : dict
        Process CPU time per phase, without that of interrupted runs.
    log : list of dict
        One row per evaluation: phase, iteration, loss, mse, psnr_db, bpp (without the bits of the
        networks before "quantise"), learning_rate, lmbda, cpu_seconds.
    """

    stream: bytes
    trailer_bytes: int
    preset: str
    start: str
    lmbda: float
    psnr_db: float
    mse: float
    bits_per_pixel: float
    loss: float
    goal_met: bool
    cpu_seconds: dict[str, float]
    log: list[dict[str, float | str]] = field(repr=False)


def encode(
    image: Image,
    config: TrainConfig | None = None,
    *,
    bitdepth: int = 8,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    extractor: FeatureExtractor | None = None,
) -> EncodeResult:
    """Encode a picture.

    Parameters
    ----------
    image : numchic.Picture, or uint8 or uint16 of shape (H, W, 3)
        An array is an RGB picture. The metadata of a Picture are used if the settings say so.
    config : TrainConfig, optional
    bitdepth : int
        Of an array, 8 .. 16.
    progress : callable, optional
        Called with an :class:`Event` after every iteration. An exception that it raises stops the
        encode; with a checkpoint it can go on later.
    checkpoint : Path, optional
        File in which the training is kept every ``checkpoint_seconds`` and when it is stopped. If
        it exists, training goes on from there, to the same result as without the interruption.
    extractor : FeatureExtractor, optional
        Features that are compared if ``config.tune`` is "wasserstein"; default: a fixed
        :class:`numchic_trainer.training.features.FilterBank`.

    Returns
    -------
    EncodeResult

    Raises
    ------
    UsageError
        The array is not a picture of this depth, the format cannot express the settings, the
        metadata are too large, or the checkpoint is another encode's.
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    picture = image if isinstance(image, Picture) else _rgb_picture(image, bitdepth)
    return _Encode(
        picture, config or TrainConfig(), progress, checkpoint, checkpoint_seconds, extractor
    ).run()


def _rgb_picture(image: NDArray[np.uint8] | NDArray[np.uint16], bitdepth: int) -> Picture:
    maximum = (1 << bitdepth) - 1
    if (
        image.dtype not in (np.uint8, np.uint16)
        or image.ndim != 3
        or image.shape[2] != 3
        or 0 in image.shape
        or not 8 <= bitdepth <= 16
        or image.max() > maximum
    ):
        raise UsageError(
            "not an RGB picture", "image", None, (str(image.dtype), image.shape),
            f"uint8 or uint16 of shape (H, W, 3), {bitdepth} bits",
        )  # fmt: skip
    kind = np.uint8 if bitdepth == 8 else np.uint16
    planes: list[Samples] = [image[..., c].astype(kind) for c in range(3)]
    return Picture((planes[0], planes[1], planes[2]), "rgb", bitdepth)


class _Encode:
    """One encode on its way."""

    def __init__(
        self,
        picture: Picture,
        config: TrainConfig,
        progress: Progress | None,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        extractor: FeatureExtractor | None,
    ) -> None:
        torch.set_num_threads(config.threads)
        self.picture = picture
        self.config = config
        self.progress = progress
        self.checkpoint = checkpoint
        self.checkpoint_seconds = checkpoint_seconds
        self.extractor = extractor
        self.saved_at = time.monotonic()
        self.preset = choose_preset(picture, config)
        self.log: list[dict[str, float | str]] = []
        self.cpu_seconds: dict[str, float] = {}
        self.cpu_before = 0.0
        self.cpu_start = time.process_time()
        self.attempts: list[Attempt] = []
        self.goal = Goal.of(config)
        self.metadata = picture.metadata if config.metadata else None
        self.lmbda = config.lmbda
        self.training = self._new_training()

    def _new_training(self) -> Training:
        config, picture = self.config, self.picture
        parameter = architecture(config, self.preset, (picture.height, picture.width))
        _check_format(parameter, picture, self.metadata)
        target = self._target(config.device)
        with torch.random.fork_rng(devices=[]):
            model = CoolChicEncoder(parameter)
        if picture.data_type != "rgb":
            _set_output_range(model, target)
        model.to(config.device)
        self.model = model
        with self._timed("start"):
            phases, candidates = self._beginning(target)
        return Training(model, target, phases, candidates, config.seed)

    def _target(self, device: str) -> Target:
        target = Target.of_picture(self.picture, self.config.lmbda, device)
        if self.config.tune == "mse":
            return target
        if self.picture.data_type != "rgb":
            found = self.picture.data_type
            raise UsageError("only RGB pictures can be tuned so", "tune", None, found)
        loss = WassersteinLoss(target.planes[0], self.extractor)
        return dataclasses.replace(target, perceptual=loss)

    def _beginning(self, target: Target) -> tuple[list[Phase], list[Param]]:
        """Phases and starting points for the present lambda."""
        config = dataclasses.replace(self.config, lmbda=self.lmbda)
        rgb = self.picture.data_type == "rgb"
        try:
            self.start = choose_start(config, self.preset, self.model, rgb)
        except UsageError:
            if not self.attempts:
                raise
            self.start = "shared"  # the search has left the lambdas of the ladder
        candidates = starting_points(self.model, config, self.start, self.preset, target, rgb=rgb)
        return plan(config, self.preset, self.start), candidates

    def run(self) -> EncodeResult:
        if self.checkpoint is not None and self.checkpoint.exists():
            self._load(self.checkpoint)
        while True:
            self._train()
            self._save()
            result = self._finish()
            lmbda = self._next_lmbda(result)
            if lmbda is None:
                return result
            self.log = result.log
            self.lmbda = lmbda
            if self.goal is not None and self.goal.near(self.attempts[-1].found):
                self.training.phases.append(refinement(self.config, self.preset, lmbda))
            else:
                self.training.restart(*self._beginning(self.training.target))

    def _next_lmbda(self, result: EncodeResult) -> float | None:
        """Lambda of another attempt at the goal, or None."""
        if self.goal is None or result.goal_met:
            return None
        found = self.goal.measure(result.bits_per_pixel, result.psnr_db)
        self.attempts.append(Attempt(result.lmbda, found))
        return self.goal.next_lmbda(self.attempts)

    def _train(self) -> None:
        training = self.training
        training.model.to(self.config.device)
        while not training.finished:
            phase, rate = training.phase, training.learning_rate
            with self._timed(phase.name):
                evaluated = training.advance()
            row = None
            if evaluated and training.evaluation is not None:
                loss, mse, bpp = training.evaluation
                row = self._row(phase.name, loss, mse, bpp, rate, phase.lmbda)
                self.log.append(row)
            self._tell(phase.name, row)
            if time.monotonic() - self.saved_at > self.checkpoint_seconds:
                self._save()

    def _finish(self) -> EncodeResult:
        """Quantise and write the trained model, on the CPU, where kernels make it quick."""
        training, config = self.training, self.config
        lmbda = self.lmbda
        model, target = training.model.to("cpu"), training.target.at(lmbda)
        if self.config.device != "cpu":
            target = self._target("cpu").at(lmbda)
        model.set_param(training.result())
        model.forget_quantisation()
        weight, rows = target.rate_weight(), []
        works: dict[str, Callable[[], float]] = {
            "quantise": lambda: quantise_networks(model, target),
        }
        if config.rdoq:
            works["rdoq"] = lambda: optimise_integers(model, target, config.seed)
        for name, work in works.items():
            with self._timed(name):
                work()
            loss, mse, bpp = target.evaluate(model)
            bits = model.get_network_rate()[1]
            rows.append(
                self._row(name, loss + weight * bits, mse, bpp + bits / target.n_pixels, 0.0, lmbda)
            )
            self._tell(name, rows[-1])
        with self._timed("write"):
            coolchic = write_model(model)
            stream = _write(self.picture, coolchic)
            grids = _check(model, coolchic)
            decoded = numchic.decode(stream)
            complete = self._with_trailer(stream, grids, decoded) if config.trailer else stream
        mse = _mean_squared_error(self.picture, decoded)
        bpp = 8 * len(stream) / target.n_pixels
        psnr = _psnr(mse)
        rows.append(self._row("write", mse + lmbda * bpp, mse, bpp, 0.0, lmbda))
        self._tell("write", rows[-1])
        return EncodeResult(
            stream=complete,
            trailer_bytes=len(complete) - len(stream),
            preset=self.preset,
            start=self.start,
            lmbda=lmbda,
            psnr_db=psnr,
            mse=mse,
            bits_per_pixel=bpp,
            loss=mse + lmbda * bpp,
            goal_met=self.goal is None or self.goal.met(self.goal.measure(bpp, psnr)),
            cpu_seconds=dict(self.cpu_seconds),
            log=self.log + rows,
        )

    def _with_trailer(self, stream: bytes, grids: list[I8], decoded: Picture) -> bytes:
        header = self.training.model.header
        # Other machines may differ in a sample made of noise.
        samples = None if header.flag_common_randomness else samples_digest(decoded.pieces())
        complete = append_trailer(stream, latents_crc([grids]), samples, self.metadata)
        numchic.decode(complete)  # compares everything with the trailer
        return complete

    def _row(
        self, phase: str, loss: float, mse: float, bpp: float, rate: float, lmbda: float
    ) -> dict[str, float | str]:
        return {
            "phase": phase,
            "iteration": self.training.iteration,
            "loss": loss,
            "mse": mse,
            "psnr_db": _psnr(mse),
            "bpp": bpp,
            "learning_rate": rate,
            "lmbda": lmbda,
            "cpu_seconds": self.cpu_before + time.process_time() - self.cpu_start,
        }

    def _tell(self, phase: str, row: dict[str, float | str] | None) -> None:
        if self.progress is None:
            return
        training = self.training
        try:
            self.progress(Event(phase, training.iteration, training.n_iterations, row))
        except BaseException:
            self._save()  # between two iterations, so that it can go on from here
            raise

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent = time.process_time() - start
        self.cpu_seconds[phase] = self.cpu_seconds.get(phase, 0.0) + spent

    def _identity(self) -> str:
        samples = b"".join(plane.tobytes() for plane in self.picture.planes)
        shape = f"{self.picture.data_type} {self.picture.bitdepth} {self.picture.planes[0].shape}"
        return hashlib.sha256(self.config.identity() + shape.encode() + samples).hexdigest()

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        extra = {
            "log": self.log,
            "cpu_seconds": self.cpu_seconds,
            "cpu": self.cpu_before + time.process_time() - self.cpu_start,
            "attempts": self.attempts,
            "lmbda": self.lmbda,
            "start": self.start,
        }
        save_checkpoint(self.checkpoint, self.training, self._identity(), extra)
        self.saved_at = time.monotonic()

    def _load(self, path: Path) -> None:
        extra = load_checkpoint(path, self.training, self._identity())
        self.log, self.cpu_seconds = extra["log"], extra["cpu_seconds"]
        self.cpu_before = extra["cpu"]
        self.lmbda, self.start = extra["lmbda"], extra["start"]
        self.attempts = [Attempt(*attempt) for attempt in extra["attempts"]]


def _check_format(
    parameter: CoolChicEncoderParameter, picture: Picture, metadata: Metadata | None
) -> None:
    """Raise now what would be refused after the training: read a stream with empty payloads."""
    n_grids = len(grid_list(parameter.to_header()))
    header = dataclasses.replace(
        parameter.to_header(), nn_n_bytes=1, n_bytes_latent=4, n_latent_grids=n_grids % 32
    )
    try:
        empty = _write(picture, CoolChic(header, bytes(1), bytes(4)))
        append_trailer(empty, 0, metadata=metadata)
    except StreamError as error:
        raise UsageError(error.reason, error.field, None, error.found, error.allowed) from error


def _set_output_range(model: CoolChicEncoder, target: Target) -> None:
    """Let the networks work in the range of each channel (training, section 2.6)."""
    transform = model.synthesis.output_transform
    channels = [channel for plane in target.planes for channel in plane[0] if channel.numel()]
    with torch.no_grad():
        for c, channel in enumerate(channels):
            transform.weight[c, c] = channel.max() - channel.min()
            transform.bias[c] = channel.min()


def _write(picture: Picture, coolchic: CoolChic) -> bytes:
    header = FrameHeader(bitdepth=picture.bitdepth, frame_data_type=picture.data_type)
    return write_stream(Stream(VideoHeader(), (Frame(header, coolchic),)))


def _check(model: CoolChicEncoder, coolchic: CoolChic) -> list[I8]:
    """Decode the latents, compare them with those of the model, and return them."""
    parameters = read_parameters(coolchic.header, coolchic.nn_payload)
    written = [grid.to(torch.int64).cpu().numpy() for grid in model.quantised_latents()]
    decoded = decode_latents(coolchic, parameters)
    for ours, theirs in zip(decoded, written, strict=True):
        if not np.array_equal(ours, theirs):
            raise RuntimeError("the decoder gives other latents than were written")
    return decoded


def _mean_squared_error(picture: Picture, decoded: Picture) -> float:
    """Mean over all samples of all planes, in [0, 1] units."""
    maximum = (1 << picture.bitdepth) - 1
    total, count = 0.0, 0
    for ours, theirs in zip(picture.planes, decoded.planes, strict=True):
        total += float(np.sum((ours.astype(np.float64) - theirs) ** 2))
        count += ours.size
    return total / count / maximum**2


def _psnr(mse: float) -> float:
    return float(-10.0 * np.log10(max(mse, 1e-10)))
