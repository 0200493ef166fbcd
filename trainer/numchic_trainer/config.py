# SPDX-License-Identifier: BSD-3-Clause
"""Settings of one encode as plain data, with a reason for every number (training, 2 and 7)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

from numchic_bitstream import UsageError
from numchic_bitstream.v5.headers import Resize
from numchic_trainer.settings import (
    FLAG,
    check_settings,
    choice,
    documented,
    number,
    setting,
    several,
    text,
)

Preset = Literal["lop", "mop", "hop", "vhop"]
Tune = Literal["mse", "ssim", "ms-ssim", "wasserstein"]
Start = Literal["zero", "shared", "ladder", "stream"]
"""What a training starts from; see :class:`TrainConfig`."""

STARTS = {"zero", "shared", "ladder", "auto"}
"""What ``init`` may be beside the path of a stream."""

SPHERE = "sphere"
"""What ``weights`` may be beside the path of a picture."""

Effort = Literal["fast", "medium", "slow", "best"]

EFFORTS: dict[Effort, int] = {"fast": 150, "medium": 450, "slow": 2000, "best": 10000}
"""Iterations of every effort with the preset hop."""

_PACE: dict[Preset, float] = {"lop": 2.25, "mop": 1.5, "hop": 1.0, "vhop": 0.7}
"""So many iterations of other presets take the time of one of hop."""


class Sizes(NamedTuple):
    """Sizes of the networks (training, 2.1)."""

    spatial_contexts: int
    ifce_features: int
    hidden_channels: int
    n_spatial_layers: int


PRESETS: dict[Preset, Sizes] = {
    "lop": Sizes(6, 2, 8, 1),
    "mop": Sizes(10, 4, 16, 2),
    "hop": Sizes(14, 6, 48, 2),
    "vhop": Sizes(20, 6, 64, 2),
}

SEED = number(int, 0, (1 << 64) - 1)
THREADS = number(int, 1, 1024)  # thousands of them end the process
LMBDA = number(float, 1e-9, 1e3)
_LEVELS = several(number(int, 0, 15), 2, "LO:HI", ":")
_NONE = {"none": None}


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one encode; each is checked when they are made."""

    preset: Literal["auto"] | Preset = setting(
        "auto",
        choice("auto", *PRESETS),
        "The preset is the size of the networks: decoding costs about 500, 1000, 2000 or 3000 "
        "multiplications per pixel. auto takes the one that pays for its bits.",
    )
    lmbda: float = setting(
        1e-3,
        LMBDA,
        "One bit per pixel is worth this much mean squared error of samples in 0 .. 1: 1e-4 gives "
        "high rates, 2e-2 low ones. With a target the search starts here.",
    )
    target_bpp: float | None = setting(
        None,
        number(float, 1e-6, 1e3),
        "The lambda is searched that gives this rate in bits per pixel, trailer not counted, "
        "within 2 %.",
        words=_NONE,
    )
    target_psnr: float | None = setting(
        None,
        number(float, 0.1, 99.9),
        "The lambda is searched that gives this quality in dB, within 0.1 dB.",
        words=_NONE,
    )
    effort: Effort = setting(
        "medium",
        choice(*EFFORTS),
        "The effort is the time to be spent: 340, 1000, 4500 or 22500 iterations with lop, and "
        "150, 450, 2000 or 10000 with hop, which take as long.",
    )
    iterations: int | None = setting(
        None,
        number(int, 0, 1_000_000_000),
        "All training iterations are counted, those of every candidate of a warm-up too. auto "
        "leaves their number to the effort. With 0 what training would start from is written.",
        words={"auto": None},
    )
    seed: int = setting(
        0,
        SEED,
        "All random numbers follow from the seed: the same seed gives the same stream on one "
        "machine.",
    )
    tune: Tune = setting(
        "mse",
        choice(*get_args(Tune)),
        "The picture is optimised for least squared error, for structural similarity (at one scale "
        "or at five) or for natural texture. The first costs least time.",
    )
    weights: str | None = setting(
        None,
        text("MAP"),
        "The squared error of every pixel counts by this grey picture of the same size, of 8 or 16 "
        "bits; only ratios matter. sphere weights an equirectangular picture by the area of its "
        "pixels on the sphere.",
        words=_NONE,
    )
    init: str = setting(
        "auto",
        text(),
        "Training starts from zero (nothing is known), shared (networks that were trained on other "
        "pictures), ladder (also latents predicted from the picture), auto (ladder for short "
        "encodes if it fits, else shared), or the path of a stream, whose networks are taken.",
    )
    init_pack: str | None = setting(
        None,
        text("FILE"),
        "Training starts from this file of numchic train-ladder, not from the one that is shipped.",
        words=_NONE,
    )
    latent_resolution: tuple[int, int] | None = setting(
        None,
        _LEVELS,
        "The latents are down-sampled by 2^LO to 2^HI; auto follows the size of the picture.",
        words={"auto": None},
    )
    hyperlatent_resolution: tuple[int, int] | Literal["auto"] | None = setting(
        None,
        _LEVELS,
        "The hyperlatents, which only predict other latents, are down-sampled by 2^LO to 2^HI.",
        words={"none": None, "auto": "auto"},
    )
    ifce_resolution: tuple[int, int] | None = setting(
        (0, 2),
        _LEVELS,
        "The latents that are down-sampled by 2^LO to 2^HI have inter-feature contexts.",
        words=_NONE,
    )
    common_randomness: bool | None = setting(
        None,
        FLAG,
        "The synthesis is fed with noise; auto does so if texture is what is optimised.",
        words={"auto": None},
    )
    final_upsampling_type: Resize = setting(
        "bicubic",
        choice(*get_args(Resize)),
        "This filter is used if the finest latent is smaller than the picture.",
    )
    trailer: bool = setting(
        True,
        FLAG,
        "The stream ends in digests by which damage is noticed: 45 bytes, which neither lambda nor "
        "target counts.",
    )
    metadata: bool = setting(
        False,
        FLAG,
        "The trailer carries colour profile, Exif data and texts of the picture, which may be "
        "larger than the stream.",
    )
    device: str = setting(
        "cpu", text("DEVICE"), "Training runs on this device of torch, such as cpu or cuda."
    )
    threads: int | None = setting(
        None,
        THREADS,
        "One encode uses this many threads, which changes its time but not the stream; auto takes "
        "all cores, or one if several pictures are encoded at a time.",
        words={"auto": None},
    )
    learning_rate: float = setting(
        1e-2,
        number(float, 0, 1),
        "Networks and latents start with this learning rate; 1e-2 is near the best for both.",
        option=False,
    )
    latent_betas: tuple[float, float] = setting(
        (0.8, 0.98),
        several(number(float, 0, 1), 2, "A:B", ":"),
        "These are the betas of the latents in the main phase. 0.8 and 0.98 forget the large first "
        "gradients within a short run and lower the loss by 5 to 10 % at 300 iterations.",
        option=False,
    )
    n_candidates: int = setting(
        5,
        number(int, 1, 1000),
        "The first stage of the warm-up has so many random initialisations.",
        option=False,
    )
    n_finalists: int = setting(
        2,
        number(int, 1, 1000),
        "The second stage of the warm-up has so many of them, at most all.",
        option=False,
    )
    warm_up_share: float = setting(
        1 / 40,
        number(float, 0, 1),
        "One stage of one candidate takes this share of all iterations.",
        option=False,
    )
    network_rate: float | None = setting(
        None,
        number(float, 0, 1000),
        "The loss of the main phase counts an estimate of the bits of the networks with this "
        "weight; None is what suits the preset: 0 (lop), 1/2 (mop), 1 (hop, vhop).",
        words={"auto": None},
        option=False,
    )
    rdoq: bool = setting(
        True,
        FLAG,
        "The integers of the networks are optimised after their steps have been found: 1 % of the "
        "loss for one to several seconds.",
        option=False,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.target_bpp is not None and self.target_psnr is not None:
            raise UsageError("only one of target_bpp and target_psnr is possible", "target_psnr")
        if self.n_finalists > self.n_candidates:
            allowed = f"1 .. n_candidates = {self.n_candidates}"
            raise UsageError("illegal setting", "n_finalists", None, self.n_finalists, allowed)
        if self.metadata and not self.trailer:
            raise UsageError("metadata need a trailer", "metadata")
        if self.weights is not None and self.tune != "mse":
            raise UsageError("weights are those of squared error", "tune", None, self.tune, "mse")

    def n_iterations(self, preset: Preset) -> int:
        """Iterations with a preset: those of the settings, or what the effort leaves time for.

        Examples
        --------
        >>> TrainConfig(effort="slow").n_iterations("mop")
        3000
        """
        if self.iterations is not None:
            return self.iterations
        return round(EFFORTS[self.effort] * _PACE[preset])

    def identity(self) -> bytes:
        """Digest of what the stream of a picture depends on: settings, and files that they name.

        Raises
        ------
        OSError
            A file cannot be read.
        """
        settings = dataclasses.asdict(self)
        del settings["threads"]  # which change the time alone
        for name in ("init", "init_pack", "weights"):
            if settings[name] not in STARTS | {SPHERE, None}:
                settings[name] = hashlib.sha256(Path(settings[name]).read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()


Config = TypeVar("Config", bound=TrainConfig)


def beside_others(config: Config, n_jobs: int) -> Config:
    """Settings of an encode that has so many beside it: unless they say more, one thread each."""
    if config.threads is not None or n_jobs == 1:
        return config
    return dataclasses.replace(config, threads=1)
