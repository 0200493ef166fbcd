# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion studies: many pictures, settings and codecs, measured and drawn.

Names are imported when they are first used; they need ``pip install "numchic[study]"``.
"""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            try:
                home = importlib.import_module(f"numchic_trainer.study.{module}")
            except ModuleNotFoundError as error:
                if error.name not in _FROM_THE_EXTRA:
                    raise
                raise ModuleNotFoundError(
                    f"studies need {error.name}: pip install 'numchic[study]'", name=error.name
                ) from error
            return getattr(home, name)
    raise AttributeError(f"module 'numchic_trainer.study' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
