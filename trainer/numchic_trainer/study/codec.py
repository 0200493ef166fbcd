# SPDX-License-Identifier: BSD-3-Clause
"""What a study asks of a codec, and numchic as one."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import numchic
from numchic._version import __version__
from numchic.picture import Picture
from numchic_trainer.config import TrainConfig
from numchic_trainer.encoding import encode
from numchic_trainer.result import Progress


@dataclass(frozen=True)
class Coded:
    """A picture that has been encoded.

    Attributes
    ----------
    stream : bytes
    cpu_seconds : float or None
        Of the encode; None where the system cannot tell.
    facts : dict
        What else is known of the point, by the names of :class:`numchic_trainer.study.Point`.
    """

    stream: bytes
    cpu_seconds: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Codec(Protocol):
    """A codec with all settings but the one that moves along its curve; it can be pickled.

    Attributes
    ----------
    name : str
        Name of the codec, "jpeg" for example.
    curve : str
        Name of its curve, which also tells the settings.
    settings : tuple of str
        Values of what moves along the curve.
    suffix : str
        Extension of its streams.
    timing : {"call", "process"}
        What its times are those of.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def curve(self) -> str: ...  # noqa: D102
    @property
    def settings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102
    @property
    def timing(self) -> str: ...  # noqa: D102

    def identity(self, setting: str) -> str:
        """Text of all that a stream depends on beside the picture."""

    def encode(
        self, picture: Picture, setting: str, checkpoint: Path | None, heed: Heed, /
    ) -> Coded:
        """Encode a picture.

        What takes long calls ``heed(None)`` now and then, and may keep in the file ``checkpoint``
        how far it is.
        """

    def decode(self, stream: bytes, heed: Heed, /) -> tuple[Picture, float | None]:
        """Decode a stream, and tell the CPU seconds; ``heed`` is as for encoding."""


Heed = Callable[..., None]
"""Raises KeyboardInterrupt when the work is not wanted any more."""

_N_DECODES = 3


def timed_decode(decode: Callable[[], Picture]) -> tuple[Picture, float]:
    """Decode three times; the least time is that of the work alone."""
    times = []
    for _ in range(_N_DECODES):
        start = time.process_time()
        picture = decode()
        times.append(time.process_time() - start)
    return picture, min(times)


@dataclass(frozen=True)
class Numchic:
    """Our encoder and decoder; lambda moves along the curve.

    Attributes
    ----------
    curve : str
    config : TrainConfig
    lmbdas : tuple of float
    """

    curve: str
    config: TrainConfig
    lmbdas: tuple[float, ...]
    name: str = "numchic"
    suffix: str = ".cool"
    timing: str = "call"

    @property
    def settings(self) -> tuple[str, ...]:
        """Lambdas as text."""
        return tuple(map(str, self.lmbdas))

    def identity(self, setting: str) -> str:
        """Settings, files that they name, and version."""
        return f"numchic {__version__} {self._config(setting).identity().hex()}"

    def encode(
        self, picture: Picture, setting: str, checkpoint: Path | None, heed: Heed, /
    ) -> Coded:
        """Encode, when kernels have been compiled and loaded."""
        warm(self.config.preset)
        progress: Progress = heed
        result = encode(picture, self._config(setting), progress=progress, checkpoint=checkpoint)
        facts = {
            "preset": result.preset,
            "effort": None if self.config.iterations is not None else self.config.effort,
            "macs_per_pixel": numchic.read_info(result.stream).macs_per_pixel,
        }
        return Coded(result.stream, sum(result.cpu_seconds.values()), facts)

    def decode(self, stream: bytes, _heed: Heed, /) -> tuple[Picture, float | None]:
        """Decode with one thread."""
        return timed_decode(lambda: numchic.decode(stream, threads=1))

    def _config(self, setting: str) -> TrainConfig:
        return dataclasses.replace(self.config, lmbda=float(setting))


@functools.cache
def warm(preset: str) -> None:
    """Load what an encode would otherwise load, or compile, in its own time."""
    for each in ("lop", "hop") if preset == "auto" else (preset,):
        encode(_small(), TrainConfig(preset=each, iterations=2, threads=1))


def _small() -> Picture:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    return Picture((ramp, ramp.T.copy(), 255 - ramp), "rgb", 8)
