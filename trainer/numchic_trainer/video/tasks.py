# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a video to encode: which can be begun, and what of them is kept (video-training, 3.3).

A frame can be begun once its references are finished; which of them is encoded when, and by whom,
changes nothing. Decoded pictures are kept as long as frames that are predicted from them are to
come, so that memory does not grow with the number of frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from typing import Any

from numchic._version import __version__
from numchic.picture import Picture
from numchic.video import decoding_order
from numchic_bitstream import NumchicError
from numchic_bitstream.structure import CodedFrame as Place
from numchic_trainer.config import TrainConfig
from numchic_trainer.video.config import VideoConfig, at_level
from numchic_trainer.video.frame import CodedFrame, FrameTask, decode
from numchic_trainer.video.frames import FrameReader
from numchic_trainer.video.records import Record, Records, digest_of, frame_bytes
from numchic_trainer.video.structure import PlannedFrame

_OF_THE_VIDEO = (
    "lmbda", "structure", "intra", "p", "lambda_by_level", "intra_lambda", "target_bpp",
    "target_psnr", "trailer", "metadata",
)  # fmt: skip
"""What settings say of all frames together, and of what is around them."""


class FrameQueue:
    """Frames to encode with one lambda.

    Parameters
    ----------
    frames : FrameReader
    plan : sequence of PlannedFrame
        All frames, in coding order.
    config : VideoConfig
    records : Records
        Frames that are there are not encoded again.

    Attributes
    ----------
    finished : dict of Record
        By display index.
    """

    def __init__(
        self,
        frames: FrameReader,
        plan: Sequence[PlannedFrame],
        config: VideoConfig,
        records: Records,
    ) -> None:
        self._frames = frames
        self._config = config
        self._records = records
        self._lambdas = lambdas(plan, config)
        # Not in coding order, which has all I and P frames before the first B frame.
        places = [Place(planned.index, planned.kind, planned.references) for planned in plan]
        self._order = [plan[place] for place in decoding_order(places, range(len(plan)))]
        self._places = {planned.index: place for place, planned in enumerate(self._order)}
        self._sorter = TopologicalSorter({planned.index: planned.references for planned in plan})
        self._sorter.prepare()
        self._uses = Counter(index for planned in plan for index in planned.references)
        self._decoded: dict[int, Picture] = {}
        self._identities: dict[int, str] = {}
        self.finished: dict[int, Record] = {}

    def tasks(self) -> Iterator[FrameTask | None]:
        """Yield what is to be encoded; None if nothing can be begun before a frame is finished."""
        ready: list[int] = []  # a heap of places in the order
        n_left = len(self._order)
        while n_left:
            for index in self._sorter.get_ready():
                heappush(ready, self._places[index])
            if not ready:
                yield None
                continue
            n_left -= 1
            task = self._task(self._order[heappop(ready)])
            if not self._restore(task):
                yield task

    def take(self, task: FrameTask, coded: CodedFrame) -> None:
        """Take in what became of a task."""
        record = Record(coded.frame, digest_of(coded.decoded), coded.report)
        self._records.save(task.plan.index, self._identities[task.plan.index], record)
        self._finish(task.plan, record, coded.decoded)

    def _task(self, planned: PlannedFrame) -> FrameTask:
        has_donor = self._config.donors and planned.donor is not None
        return FrameTask(
            planned,
            self._frames[planned.index],
            tuple(self._decoded[index] for index in planned.references),
            self.finished[planned.donor].frame if has_donor else None,  # type: ignore[index]
            self._config,
            self._lambdas[planned.index],
        )

    def _restore(self, task: FrameTask) -> bool:
        """Finish a frame that is on disk, if it is what it was."""
        index = task.plan.index
        references = [self.finished[i].samples for i in task.plan.references]
        identity = self._identities[index] = identity_of(task, references)
        record = self._records.load(index, identity)
        if record is None:
            return False
        decoded = None
        if self._uses[index]:
            try:
                decoded = decode(record.frame, task.references)
            except NumchicError:
                return False
            if digest_of(decoded) != record.samples:
                return False
        self._finish(task.plan, record, decoded)
        return True

    def _finish(self, planned: PlannedFrame, record: Record, decoded: Picture | None) -> None:
        self.finished[planned.index] = record
        self._sorter.done(planned.index)
        if self._uses[planned.index]:
            assert decoded is not None
            self._decoded[planned.index] = decoded
        for index in planned.references:
            self._uses[index] -= 1
            if not self._uses[index]:
                del self._decoded[index]


def lambdas(plan: Sequence[PlannedFrame], config: VideoConfig) -> dict[int, float]:
    """Give the lambda of every frame, by display index."""
    predicted_from = {index for planned in plan for index in planned.references}

    def factor(planned: PlannedFrame) -> float:
        if planned.kind != "I":
            return at_level(config.lambda_by_level, planned.level)
        return config.intra_lambda if planned.index in predicted_from else 1.0

    return {planned.index: config.lmbda * factor(planned) for planned in plan}


def identity_of(task: FrameTask, references: Sequence[str]) -> str:
    """Digest of all that the bytes of a frame depend on.

    Parameters
    ----------
    task : FrameTask
    references : sequence of str
        Digests of its decoded references.
    """
    donor = b"" if task.donor is None else frame_bytes(task.donor)
    plan = {**dataclasses.asdict(task.plan), "donor": None}  # of which the bytes count
    facts = [
        __version__,
        _settings_of(task).identity().hex(),
        task.lmbda,
        plan,
        digest_of(task.picture),
        list(references),
        hashlib.sha256(donor).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _settings_of(task: FrameTask) -> TrainConfig:
    """Settings that matter for a frame; those that do not have their defaults."""
    config, level = task.config, task.plan.level
    if task.plan.kind == "I":
        return config.still(task.lmbda, task.seed)
    default = VideoConfig()
    own: dict[str, Any] = {name: getattr(default, name) for name in _OF_THE_VIDEO}
    own |= {
        "inter_preset": (at_level(config.inter_preset, level),),
        "inter_iterations": (config.n_inter_iterations(level),),
    }
    return dataclasses.replace(config, **own)
