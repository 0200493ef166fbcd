# SPDX-License-Identifier: BSD-3-Clause
"""Settings of a video as plain data: those of a picture and more (video-training, 3 to 14)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

from numchic_bitstream import UsageError
from numchic_trainer.config import Effort, TrainConfig
from numchic_trainer.settings import (
    FLAG,
    by_level,
    choice,
    documented,
    number,
    setting,
    text,
)
from numchic_trainer.video.structure import check_structure

Value = TypeVar("Value")

InterPreset = Literal["skip", "linear", "tiny", "vlop", "lop", "mop", "hop"]
INTER_PRESETS: tuple[InterPreset, ...] = ("skip", "linear", "tiny", "vlop", "lop", "mop", "hop")

_FRAMES = text("LIST")._replace(allowed="text such as '0,8-16,-1'")

INTER_EFFORTS: dict[Effort, int] = {"fast": 150, "medium": 300, "slow": 1000, "best": 5000}
"""Iterations of a P or B frame."""


@documented
@dataclass(frozen=True, kw_only=True)
class VideoConfig(TrainConfig):
    """Settings of a video; those of :class:`numchic_trainer.TrainConfig` are for its I frames.

    Settings by level have a value for anchors (I and P frames), one for the B frames between two
    anchors, one for those between these, and so on. The last value is that of all deeper levels.
    """

    structure: str | None = setting(
        None,
        text("NAME"),
        "The frames of a video are predicted from others as this structure says: intra (none is), "
        "low-delay (every frame from the one before), random-access:GAP (every GAP-th from the "
        "last such, all between from both sides), or auto (random access, begun anew at every "
        "scene cut).",
        words={"auto": None},
    )
    intra: str | None = setting(
        None,
        _FRAMES,
        "These are the I frames, such as 0,8-16,-1; negative numbers count from the end.",
        words={"auto": None},
    )
    p: str | None = setting(
        None,
        _FRAMES,
        "These are the P frames. All frames that are in no list are B frames.",
        words={"auto": None},
    )
    lambda_by_level: tuple[float, ...] = setting(
        (0.7, 1.0, 1.25, 1.5),
        by_level(number(float, 1e-3, 1e3)),
        "The lambda of a frame is that of the video times this factor: what fewer frames are "
        "predicted from may be worse.",
    )
    intra_lambda: float = setting(
        0.3,
        number(float, 1e-3, 1e3),
        "The lambda of I frames has this factor if others are predicted from them.",
    )
    inter_preset: tuple[Literal["auto"] | InterPreset, ...] = setting(
        ("auto",),
        by_level(choice("auto", *INTER_PRESETS)),
        "The networks of P and B frames have these sizes; auto takes those that pay for their bits "
        "in every frame.",
    )
    inter_iterations: tuple[int, ...] | None = setting(
        None,
        by_level(number(int, 0, 1_000_000_000)),
        "A P or B frame is trained for so many iterations, those of all candidates counted; auto "
        "leaves their number to the effort (150, 300, 1000 or 5000).",
        words={"auto": None},
    )
    warp_size: int = setting(
        8,
        number(int, 2, 14),
        "The warp has so many taps: an even number.",
    )
    motion_start: bool = setting(
        True,
        FLAG,
        "Training starts from an estimate of the motion, if that is better than from none.",
        option=False,
    )
    donors: bool = setting(
        True,
        FLAG,
        "Training starts from the networks of a reference frame, if there is one with such.",
        option=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_structure(self.structure, self.intra, self.p)
        if self.warp_size % 2:
            raise UsageError("illegal setting", "warp_size", None, self.warp_size, "even numbers")

    def as_picture(self) -> TrainConfig:
        """Those settings that pictures have."""
        names = [field.name for field in dataclasses.fields(TrainConfig)]
        return TrainConfig(**{name: getattr(self, name) for name in names})

    def still(self, lmbda: float, seed: int) -> TrainConfig:
        """Settings of an I frame."""
        return dataclasses.replace(
            self.as_picture(), lmbda=lmbda, seed=seed, target_bpp=None, target_psnr=None,
            trailer=False, metadata=False,
        )  # fmt: skip

    def n_inter_iterations(self, level: int) -> int:
        """Iterations of a P or B frame of a level."""
        if self.inter_iterations is not None:
            return at_level(self.inter_iterations, level)
        return INTER_EFFORTS[self.effort]


def at_level(values: tuple[Value, ...], level: int) -> Value:
    """Value of a setting for a level."""
    return values[min(level, len(values) - 1)]
