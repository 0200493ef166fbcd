# SPDX-License-Identifier: BSD-3-Clause
"""Encode a video: plan its frames, encode them as they become possible, join them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numchic.command.pool import run_in_processes
from numchic.files.y4m import Y4M_TAGS
from numchic.picture import Picture
from numchic_bitstream import (
    CoolChic,
    Frame,
    FrameHeader,
    Metadata,
    Stream,
    UsageError,
    VideoHeader,
    read_stream,
)
from numchic_bitstream.arguments import as_integer
from numchic_bitstream.metadata import FRAME_RATE
from numchic_trainer.architecture import architecture
from numchic_trainer.config import beside_others
from numchic_trainer.encoding import encode
from numchic_trainer.kernels.workers import available_cores
from numchic_trainer.preset import choose_preset
from numchic_trainer.result import Event
from numchic_trainer.settings import shown
from numchic_trainer.training.target import planes_of
from numchic_trainer.video.config import InterPreset, VideoConfig, at_level
from numchic_trainer.video.cuts import scene_cuts
from numchic_trainer.video.finish import join, result_of
from numchic_trainer.video.frame import (
    CodedFrame,
    FrameReport,
    FrameTask,
    decode,
    encode_frame,
    report_of,
)
from numchic_trainer.video.frames import FrameReader, to_frames
from numchic_trainer.video.models import inter_architecture
from numchic_trainer.video.records import Records
from numchic_trainer.video.result import VideoEvent, VideoProgress, VideoResult
from numchic_trainer.video.search import search
from numchic_trainer.video.structure import PlannedFrame, Positions, plan_frames, plan_structure
from numchic_trainer.video.tasks import FrameQueue, lambdas
from numchic_trainer.write import check_stream, empty_part

__all__ = ["VideoEvent", "VideoResult", "encode_video"]

_AUTO: InterPreset = "hop"  # the largest networks that P and B frames may choose themselves

Outcomes = Generator[tuple[FrameTask, CodedFrame | Exception], None, None]
Run = Callable[[Iterable[FrameTask | None]], Outcomes]


def encode_video(
    frames: Any,
    config: VideoConfig | None = None,
    *,
    bitdepth: int = 8,
    progress: VideoProgress | None = None,
    checkpoint: Path | str | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
) -> VideoResult:
    """Encode a video.

    Neither ``jobs`` nor ``scheduler`` nor an interruption changes the stream. A video of one frame
    is encoded like a picture, to the same stream.

    Parameters
    ----------
    frames : FrameReader, path, pictures, or uint8 or uint16 of shape (N, H, W, 3)
        See :func:`numchic_trainer.video.frames.to_frames`. Frames are read when they are encoded.
        Frame rate and description of samples are kept in the trailer; other metadata are used if
        the settings say so.
    config : VideoConfig, optional
    bitdepth : int
        Arrays have samples of this many bits, 8 .. 16.
    progress : callable, optional
        Called with a :class:`VideoEvent` after every iteration or, where frames are encoded side
        by side, after every frame. An exception that it raises stops the encode.
    checkpoint : path, optional
        Folder in which finished frames are kept; it is made. Frames that are there are not encoded
        again unless something has changed on which they depend.
    jobs : int
        So many frames are encoded at the same time, each in a process of its own; a script that
        calls this needs the usual ``if __name__ == "__main__":``. With a scheduler, so many at
        most are given to it at a time, unless it is 1.
    scheduler : str, optional
        Address of a Dask cluster on which frames are encoded.

    Returns
    -------
    VideoResult
        If a rate or a quality was wanted and is out of reach, what came nearest to it.

    Raises
    ------
    UsageError
        There is no video that the format can hold, structure and settings do not fit it, the
        metadata are too large, or the stream would exceed the decoder's default limits: all before
        any training. Or the checkpoint is no folder, or there is no such scheduler.
    OSError
        A file cannot be read or written.
    NumchicError
        A process or the scheduler was lost.
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    config = VideoConfig() if config is None else config
    _require(isinstance(config, VideoConfig), "config", config, "a VideoConfig")
    _require(progress is None or callable(progress), "progress", progress, "a function")
    _require(scheduler is None or isinstance(scheduler, str), "scheduler", scheduler, "an address")
    if checkpoint is not None:
        _require(isinstance(checkpoint, str | os.PathLike), "checkpoint", checkpoint, "a path")
        checkpoint = Path(checkpoint)
    jobs = as_integer(jobs, "jobs", 1)
    records = Records(checkpoint)
    # Nobody knows here how many frames share a machine of the cluster.
    config = beside_others(config, 2 if scheduler is not None else jobs)
    with ExitStack() as stack:
        reader = to_frames(frames, bitdepth)
        if reader is not frames:
            stack.enter_context(reader)
        clip = _Clip.of(reader, config)
        clip.check(config)
        encoding = _Encoding(clip, records, progress, jobs, scheduler)
        if reader.n_frames == 1:
            return encoding.still(config)
        return search(config, choose_preset(reader[0], config), encoding.all_frames)


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise UsageError("illegal argument", name, None, shown(value), allowed)


@dataclass(frozen=True)
class _Clip:
    """A video and its structure.

    Attributes
    ----------
    frames : FrameReader
    structure : two tuples of int
        I frames and P frames.
    plan : sequence of PlannedFrame
        In coding order.
    """

    frames: FrameReader
    structure: tuple[Positions, Positions]
    plan: Sequence[PlannedFrame]

    @classmethod
    def of(cls, frames: FrameReader, config: VideoConfig) -> _Clip:
        """Video in the structure of the settings."""
        n_frames = frames.n_frames
        plan = partial(plan_structure, n_frames, config.structure, config.intra, config.p)
        structure = plan()
        if config.structure in (None, "auto") and config.intra is config.p is None:
            structure = plan(cuts=scene_cuts(planes_of(picture)[0].numpy() for picture in frames))
        return cls(frames, structure, plan_frames(n_frames, *structure))

    @property
    def header(self) -> VideoHeader:
        """Header of the stream."""
        intra, p = self.structure
        return VideoHeader(n_frames=self.frames.n_frames, intra_pos=intra, p_pos=p)

    def check(self, config: VideoConfig) -> None:
        """Refuse before any training what cannot be encoded."""
        if any(planned.kind != "I" for planned in self.plan):
            for name, usual in (("tune", "mse"), ("weights", None)):
                found = getattr(config, name)
                if found != usual:
                    raise UsageError(
                        "P and B frames are optimised for plain squared error only", name, None,
                        found, "structure intra",
                    )  # fmt: skip
        prices = lambdas(self.plan, config)
        for planned in self.plan:
            if planned.kind == "I":
                config.still(prices[planned.index], config.seed)
        picture = self.frames[0]
        stream = Stream(self.header, tuple(self._empty(picture, config)))
        check_stream(stream, self.metadata(config))

    def _empty(self, picture: Picture, config: VideoConfig) -> Iterable[Frame]:
        """Frames with the networks that they may have, and nothing in them."""
        size = (picture.height, picture.width)
        still = empty_part(architecture(config, choose_preset(picture, config), size))
        inter: dict[tuple[InterPreset, int], list[CoolChic]] = {}
        for planned in self.plan:
            n_references = len(planned.references)
            header = FrameHeader(
                display_index=planned.index,
                frame_type=planned.kind,
                frame_data_type=picture.data_type,
                bitdepth=picture.bitdepth,
                index_references=planned.references,
                global_flow=(0, 0) * n_references,
                warp_filter_size=config.warp_size if n_references else None,
            )
            if planned.kind == "I":
                yield Frame(header, still)
                continue
            preset = at_level(config.inter_preset, planned.level)
            key = (_AUTO if preset == "auto" else preset, n_references)
            if key not in inter:
                inter[key] = [empty_part(p) for p in inter_architecture(*key, size)]
            yield Frame(header, *inter[key])

    def metadata(self, config: VideoConfig) -> Metadata | None:
        """What the trailer is to carry: all if that is wanted, else what belongs to the samples."""
        found = self.frames.metadata
        if found is None or config.metadata:
            return found
        text = tuple((key, value) for key, value in found.text if key in (FRAME_RATE, Y4M_TAGS))
        return Metadata(text=text) if text else None


class _Encoding:
    """How the frames of a video are encoded, and what is told of it."""

    def __init__(
        self,
        clip: _Clip,
        records: Records,
        progress: VideoProgress | None,
        jobs: int,
        scheduler: str | None,
    ) -> None:
        self._clip = clip
        self._records = records
        self._progress = progress
        self._jobs = jobs
        self._scheduler = scheduler
        self._attempt = 0
        self._n_done = 0

    def all_frames(self, config: VideoConfig) -> VideoResult:
        """Encode all frames with the lambda of the settings."""
        clip = self._clip
        self._attempt += 1
        queue = FrameQueue(clip.frames, clip.plan, config, self._records)
        with closing(self._run(queue.tasks())) as outcomes:
            for task, outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
                queue.take(task, outcome)
                self._n_done = len(queue.finished)
                self._tell(task.plan.index, "finished", outcome.report)
        records = [queue.finished[planned.index] for planned in clip.plan]
        complete, trailer_bytes = join(
            clip.header,
            records,
            clip.metadata(config),
            trailer=config.trailer,
            threads=config.threads or available_cores(),
        )
        reports = [record.report for record in records]
        picture = clip.frames[0]
        n_pixels = picture.height * picture.width
        return result_of(complete, trailer_bytes, clip.structure, config.lmbda, reports, n_pixels)

    def still(self, config: VideoConfig) -> VideoResult:
        """Encode a single frame like a picture."""
        self._attempt = 1
        picture = self._clip.frames[0]

        def tell(event: Event) -> None:
            self._tell(0, event.phase)

        found = encode(picture, config.as_picture(), progress=tell)
        (planned,) = self._clip.plan
        (frame,) = read_stream(found.stream).frames
        seconds = sum(found.cpu_seconds.values())
        task = FrameTask(planned, picture, (), None, config, found.lmbda)
        report = report_of(task, frame, decode(frame, ()), found.preset, seconds)
        self._n_done = 1
        self._tell(0, "finished", report)
        result = result_of(
            found.stream, found.trailer_bytes, self._clip.structure, found.lmbda, [report],
            picture.height * picture.width,
        )  # fmt: skip
        return dataclasses.replace(result, goal_met=found.goal_met)

    def _run(self, tasks: Iterable[FrameTask | None]) -> Outcomes:
        if self._scheduler is not None:
            from numchic_trainer.command.cluster import run_on_cluster

            n_at_once = None if self._jobs == 1 else self._jobs
            return run_on_cluster(_unheeded, tasks, self._scheduler, n_at_once)
        if self._jobs > 1:
            return run_in_processes(encode_frame, tasks, self._jobs)
        return self._one_by_one(tasks)

    def _one_by_one(self, tasks: Iterable[FrameTask | None]) -> Outcomes:
        for task in tasks:
            assert task is not None  # all that was begun is finished
            yield task, encode_frame(task, partial(self._tell, task.plan.index))

    def _tell(self, index: int, phase: str, report: FrameReport | None = None) -> None:
        if self._progress is not None:
            n_frames = self._clip.frames.n_frames
            self._progress(VideoEvent(phase, index, self._n_done, n_frames, self._attempt, report))


def _unheeded(task: FrameTask) -> CodedFrame:
    """Encode a frame where nobody listens."""
    return encode_frame(task, lambda _: None)
