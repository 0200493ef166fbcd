# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion studies: many pictures, settings and codecs, measured and drawn.

Names are imported when they are first used; they need ``pip install "numchic[study]"``.
"""

from typing import TYPE_CHECKING

from numchic_trainer.lazy import importer

if TYPE_CHECKING:
    from numchic_trainer.study.anchors import parse_anchors, usual_anchors
    from numchic_trainer.study.codec import Codec, Coded
    from numchic_trainer.study.config import StudyConfig
    from numchic_trainer.study.point import Point, read_points
    from numchic_trainer.study.run import StudyResult, run_study
    from numchic_trainer.study.session import StudyEvent

_HOMES = {
    "anchors": ("parse_anchors", "usual_anchors"),
    "codec": ("Codec", "Coded"),
    "config": ("StudyConfig",),
    "point": ("Point", "read_points"),
    "run": ("StudyResult", "run_study"),
    "session": ("StudyEvent",),
}
_FROM_THE_EXTRA = {"bjontegaard", "jinja2", "pytorch_msssim", "torch", "safetensors", "matplotlib"}

__all__ = [
    "Codec",
    "Coded",
    "Point",
    "StudyConfig",
    "StudyEvent",
    "StudyResult",
    "parse_anchors",
    "read_points",
    "run_study",
    "usual_anchors",
]


__getattr__ = importer(
    __name__, _HOMES, _FROM_THE_EXTRA, "studies need {}: pip install 'numchic[study]'"
)


def __dir__() -> list[str]:
    return sorted(__all__)
