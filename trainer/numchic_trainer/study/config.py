# SPDX-License-Identifier: BSD-3-Clause
"""Settings of a study: the axes that it goes along, and what all its encodes have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from numchic_bitstream import UsageError
from numchic_trainer.config import EFFORTS, LMBDA, PRESETS, Effort, Preset, TrainConfig
from numchic_trainer.settings import Setting, choice, several

AXES = {
    "lmbda": Setting(
        several(LMBDA, None, "A,B,...", ","),
        "Every picture is encoded at each of these prices of a bit; BD figures need four.",
    ),
    "preset": Setting(
        several(choice("auto", *PRESETS), None, "A,B,...", ","),
        "Every picture is encoded with each of these sizes of networks: "
        f"{', '.join(PRESETS)}, or auto.",
    ),
    "effort": Setting(
        several(choice(*EFFORTS), None, "A,B,...", ","),
        f"Every picture is encoded with each of these efforts: {', '.join(EFFORTS)}.",
    ),
}

_OURS = ("target_bpp", "target_psnr", "trailer", "metadata")
"""Settings of an encode that a study decides."""

COMMON = frozenset(TrainConfig.__dataclass_fields__) - AXES.keys() - set(_OURS)
"""Names of the settings that all encodes of a study share."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a study encodes every picture with.

    Attributes
    ----------
    lmbda : tuple of float
        Prices of a bit, which give the points of a curve; Bjontegaard figures need four.
    preset : tuple of {"auto", "lop", "mop", "hop", "vhop"}
    effort : tuple of {"fast", "medium", "slow", "best"}
        Every pair of preset and effort is a curve.
    common : TrainConfig
        All other settings. If it says how many iterations there are, efforts have no meaning, and
        one is enough. Streams have no trailer, so that sizes are those of the format.

    Raises
    ------
    UsageError
        An axis has an illegal or repeated value, or ``common`` says what the axes say.
    """

    lmbda: tuple[float, ...] = (4e-3, 1e-3, 4e-4, 1e-4)
    preset: tuple[Literal["auto"] | Preset, ...] = ("auto",)
    effort: tuple[Effort, ...] = ("medium",)
    common: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        for name, known in AXES.items():
            object.__setattr__(self, name, known.check(name, getattr(self, name)))
        default = TrainConfig()
        for name in (*AXES, "target_bpp", "target_psnr", "metadata"):
            if getattr(self.common, name) != getattr(default, name):
                found = getattr(self.common, name)
                raise UsageError("a study decides this itself", name, None, found)
        if self.common.iterations is not None and len(self.effort) > 1:
            reason = "efforts are numbers of iterations: give one effort, or no iterations"
            raise UsageError(reason, "effort", None, ", ".join(self.effort))

    def curves(self) -> Iterator[tuple[str, TrainConfig]]:
        """Names of the curves and their settings but for lambda."""
        for preset in self.preset:
            for effort in self.effort:
                config = dataclasses.replace(
                    self.common, preset=preset, effort=effort, trailer=False
                )
                yield f"numchic {preset} {self._name_of_rest(effort)}", config

    def unusual(self) -> dict[str, Any]:
        """Common settings that are not the usual ones, but for threads, which change nothing."""
        default = TrainConfig()
        return {
            name: value
            for name in sorted(COMMON - {"threads"})
            if (value := getattr(self.common, name)) != getattr(default, name)
        }

    def _name_of_rest(self, effort: str) -> str:
        """Effort or iterations, and what else may change the curve."""
        unusual = self.unusual()
        unusual.pop("device", None)
        iterations = unusual.pop("iterations", None)
        first = effort if iterations is None else f"{iterations} iterations"
        return ", ".join([first, *(f"{name} {value}" for name, value in unusual.items())])
