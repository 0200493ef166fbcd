# SPDX-License-Identifier: BSD-3-Clause
"""Encode one frame of a video: I, P or B (video-training, sections 10 and 13)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic.v5.frame import decode_frame
from numchic_bitstream import Frame, FrameHeader, Stream, VideoHeader, read_stream
from numchic_bitstream.arrays import F32
from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.headers import write_coolchic_header, write_frame_header
from numchic_trainer.encoding import encode
from numchic_trainer.kernels.workers import Workers, available_cores
from numchic_trainer.quality import plane_error, psnr
from numchic_trainer.surroundings import surroundings
from numchic_trainer.training.target import Target
from numchic_trainer.video.config import VideoConfig
from numchic_trainer.video.flow import block_vectors, estimate_flow
from numchic_trainer.video.inter import InterTask, Tick, train_inter
from numchic_trainer.video.models import FINEST_MOTION
from numchic_trainer.video.signals import Signals, signals_of
from numchic_trainer.video.structure import PlannedFrame
from numchic_trainer.video.translation import Shift, global_translation
from numchic_trainer.write import verified_latents, write_model


@dataclass(frozen=True)
class FrameTask:
    """A frame to encode; everything that its bytes depend on.

    Attributes
    ----------
    plan : PlannedFrame
    picture : Picture
    references : tuple of Picture
        Decoded.
    donor : Frame or None
        The coded frame that the plan names, if its networks are to be taken over.
    config : VideoConfig
    lmbda : float
        Of this frame.
    """

    plan: PlannedFrame
    picture: Picture
    references: tuple[Picture, ...]
    donor: Frame | None
    config: VideoConfig
    lmbda: float

    @property
    def seed(self) -> int:
        """Seed of the frame: that of the video for frame 0, so that a still is a video of one."""
        return (self.config.seed + self.plan.index) % (1 << 64)


@dataclass(frozen=True)
class FrameReport:
    """What became of a frame.

    Attributes
    ----------
    index : int
        In the order of display.
    kind : {"I", "P", "B"}
    level : int
    references : tuple of int
    preset : str
        Sizes of the networks.
    lmbda : float
    n_bytes, header_bytes : int
        Size of the frame, and of all its headers.
    residue_network_bytes, residue_latent_bytes, motion_network_bytes, motion_latent_bytes : int
    psnr : tuple of float
        Of every plane of the decoded picture, in dB.
    mse : float
        Mean over all samples of all planes, in [0, 1] units.
    loss : float
        mse + lambda * bits per pixel, headers counted.
    global_flow : tuple of int
        Horizontal and vertical, in pixels, for one reference after the other.
    alpha, beta : float or None
        Means over the picture, if the frame has them.
    prediction_psnr : tuple of float or None
        Of every plane of the prediction, without alpha and residue.
    cpu_seconds : float
    """

    index: int
    kind: str
    level: int
    references: tuple[int, ...]
    preset: str
    lmbda: float
    n_bytes: int
    header_bytes: int
    residue_network_bytes: int
    residue_latent_bytes: int
    motion_network_bytes: int
    motion_latent_bytes: int
    psnr: tuple[float, float, float]
    mse: float
    loss: float
    global_flow: tuple[int, ...] = ()
    alpha: float | None = None
    beta: float | None = None
    prediction_psnr: tuple[float, float, float] | None = None
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class CodedFrame:
    """A frame of the stream, what the decoder makes of it, and a report."""

    frame: Frame
    decoded: Picture
    report: FrameReport


def encode_frame(task: FrameTask, tick: Tick) -> CodedFrame:
    """Encode a frame and decode it again.

    Raises
    ------
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    start = time.process_time()
    is_intra = task.plan.kind == "I"
    frame, preset = (_encode_intra if is_intra else _encode_inter)(task, tick)
    signals = None if is_intra else signals_of(frame, task.references)
    decoded = decode(frame, ()) if signals is None else signals.picture
    cpu_seconds = time.process_time() - start
    report = report_of(task, frame, decoded, preset, cpu_seconds, signals)
    return CodedFrame(frame, decoded, report)


def decode(frame: Frame, references: Sequence[Picture]) -> Picture:
    """Decode a frame alone."""
    stream = Stream(VideoHeader(), (frame,))
    return decode_frame(stream, 0, lambda: references).picture


def _encode_intra(task: FrameTask, tick: Tick) -> tuple[Frame, str]:
    """Encode a frame as a picture."""
    config = task.config.still(task.lmbda, task.seed)
    result = encode(task.picture, config, progress=lambda event: tick(event.phase))
    (still,) = read_stream(result.stream).frames
    header = FrameHeader(
        display_index=task.plan.index,
        frame_data_type=task.picture.data_type,
        bitdepth=task.picture.bitdepth,
    )
    return Frame(header, still.residue), result.preset


def _encode_inter(task: FrameTask, tick: Tick) -> tuple[Frame, str]:
    """Encode a frame as what it has of others and what it differs in."""
    config = task.config
    with surroundings(config.device), Workers(config.threads or available_cores()) as workers:
        flows, to_train = _prepare(task)
        preset, model = train_inter(to_train, workers, tick)
        parts = [write_model(part) for part in model.parts]
        for part, coolchic in zip(model.parts, parts, strict=True):
            verified_latents(part, coolchic)
    header = FrameHeader(
        display_index=task.plan.index,
        frame_type=task.plan.kind,
        frame_data_type=task.picture.data_type,
        bitdepth=task.picture.bitdepth,
        index_references=task.plan.references,
        global_flow=tuple(chain.from_iterable(flows)),
        warp_filter_size=config.warp_size,
    )
    return Frame(header, *parts), preset


def _prepare(task: FrameTask) -> tuple[list[Shift], InterTask]:
    """Find the global flows, and the motion that is left."""
    config = task.config
    target = Target.of_picture(task.picture, task.lmbda, config.device)
    luma = target.planes[0].cpu().numpy()
    flows, references = [], []
    for picture in task.references:
        unshifted = shifted_reference(picture, (0, 0))[..., 0]
        flows.append(global_translation(luma, unshifted))
        references.append(shifted_reference(picture, flows[-1]))
    vectors = None
    if config.motion_start:
        vectors = np.concatenate([_vectors(luma, reference) for reference in references])
    return flows, InterTask(
        target, references, vectors, task.donor, task.plan.level, task.seed, config
    )


def _vectors(luma: F32, reference: F32) -> F32:
    """Estimated motion of every block."""
    flow = estimate_flow(luma, np.ascontiguousarray(reference[..., 0]))
    height, width = luma.shape
    return block_vectors(flow, level_size((height, width), FINEST_MOTION))


def report_of(
    task: FrameTask,
    frame: Frame,
    decoded: Picture,
    preset: str,
    cpu_seconds: float,
    signals: Signals | None = None,
) -> FrameReport:
    """Report of a coded frame; a P or B frame has signals."""
    errors = _plane_errors(task.picture, decoded)
    sizes = [plane.size for plane in decoded.planes]
    mse = float(np.average(np.array(errors), weights=sizes))
    headers = len(write_frame_header(frame.header))
    headers += sum(len(write_coolchic_header(part.header)) for part in frame.parts)
    payloads = [(len(part.nn_payload), len(part.latent_payload)) for part in frame.parts]
    residue, motion = (*payloads, (0, 0))[:2]
    n_bytes = headers + sum(residue) + sum(motion)
    return FrameReport(
        index=task.plan.index,
        kind=task.plan.kind,
        level=task.plan.level,
        references=task.plan.references,
        preset=preset,
        lmbda=task.lmbda,
        n_bytes=n_bytes,
        header_bytes=headers,
        residue_network_bytes=residue[0],
        residue_latent_bytes=residue[1],
        motion_network_bytes=motion[0],
        motion_latent_bytes=motion[1],
        psnr=_plane_psnr(errors),
        mse=mse,
        loss=mse + task.lmbda * 8 * n_bytes / sizes[0],
        global_flow=frame.header.global_flow,
        cpu_seconds=cpu_seconds,
        **({} if signals is None else _facts_of_prediction(task, signals)),
    )


def _facts_of_prediction(task: FrameTask, signals: Signals) -> dict[str, Any]:
    """What the decoder takes from the references of a P or B frame."""
    return {
        "alpha": _mean(signals.alpha),
        "beta": None if signals.beta is None else _mean(signals.beta),
        "prediction_psnr": _plane_psnr(_plane_errors(task.picture, signals.prediction)),
    }


def _plane_errors(source: Picture, decoded: Picture) -> list[float]:
    return [
        plane_error(ours, theirs, source.bitdepth)
        for ours, theirs in zip(source.planes, decoded.planes, strict=True)
    ]


def _plane_psnr(errors: Sequence[float]) -> tuple[float, float, float]:
    y, u, v = map(psnr, errors)
    return y, u, v


def _mean(values: F32) -> float:
    return float(values.mean(dtype=np.float64))
