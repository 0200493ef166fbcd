# SPDX-License-Identifier: BSD-3-Clause
"""Settings of one encode: frozen, with a reason for every number (training, sections 2 and 7)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from numchic_bitstream import UsageError
from numchic_bitstream.v5.headers import Resize
from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.training.schedule import encoder_gain

Preset = Literal["lop", "mop", "hop", "vhop"]
Tune = Literal["mse", "wasserstein"]
Start = Literal["zero", "shared", "ladder", "stream"]
"""What a training starts from; see :class:`TrainConfig`."""

STARTS = {"zero", "shared", "ladder", "auto"}
"""What ``init`` may be beside the path of a stream."""

Effort = Literal["fast", "medium", "slow", "best"]

EFFORTS: dict[Effort, int] = {"fast": 80, "medium": 400, "slow": 2000, "best": 10000}
"""Iterations of every effort; "fast" also leaves the optimisation of the integers out."""

# Spatial contexts, IFCE features, hidden channels, number of 3 x 3 layers (training, 2.1).
_PRESETS: dict[str, tuple[int, int, int, int]] = {
    "lop": (6, 2, 8, 1),
    "mop": (10, 4, 16, 2),
    "hop": (14, 6, 48, 2),
    "vhop": (20, 6, 64, 2),
}
_LOWEST_HYPER = 4


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one encode.

    Parameters
    ----------
    lmbda : float
        Weight of the rate in bits per pixel against the mean squared error in [0, 1] units; useful
        from 1e-4 (high rate) to 2e-2 (low rate).
    preset : {"auto", "lop", "mop", "hop", "vhop"}
        Size of the networks: decoding costs about 500, 1000, 2000 or 3000 multiplications per
        pixel. "auto" chooses the one that pays for its bits, see
        :func:`numchic_trainer.preset.choose_preset`.
    iterations : int
        All training iterations, those of every candidate of the warm-up included; 0 to quantise and
        write what training would start from.
    seed : int
        Of parameters and noise; the same seed gives the same stream on one machine.
    target_bpp, target_psnr : float, optional
        Bits per pixel of the stream without its trailer (met within 2 %) or PSNR in dB (within
        0.1 dB); lambda is then only where the search starts. At most one of them.
    tune : {"mse", "wasserstein"}
        What the picture is optimised for (training, section 11).
    init : str
        Where training starts: "zero" (random networks, zero latents), "shared" (networks that were
        trained on other pictures), "ladder" (also latents that were predicted from the picture),
        "auto" (a ladder for short encodes if it fits, else shared, else zero) or the path of a
        stream of the same architecture, whose networks are taken.
    init_pack : str, optional
        File with what "shared" and "ladder" use; None for the one that comes with the package.
    latent_resolution : (int, int), optional
        Lowest and highest log2 down-sampling of the latents; None for the automatic rule.
    hyper_latent_resolution : (int, int), "auto" or None
        The same for hyperlatents; None for none.
    ifce_resolution : (int, int), optional
        The same for the grids with inter-feature contexts; None for none.
    common_randomness : bool, optional
        Append a pseudo-random field to the input of the synthesis; None for "if tuned for
        Wasserstein distance".
    final_upsampling_type : {"nearest", "bilinear", "bicubic"}
        Used if the finest latent is smaller than the picture.
    learning_rate : float
        Of networks and latents at the start (1e-2 is near the best for both).
    latent_betas : (float, float)
        Of the latents in the main phase. 0.8 / 0.98 forget the large first gradients within a short
        run and lower the loss by 5 to 10 % at 300 iterations.
    n_candidates, n_finalists : int
        Random initialisations in the first and second stage of the warm-up.
    warm_up_share : float
        Iterations of one stage of one candidate, as a share of all.
    network_rate : float, optional
        Weight of an estimate of the bits of the networks in the loss of the main phase; None for
        what suits the preset: 0 (lop), 1/2 (mop), 1 (hop, vhop).
    rdoq : bool
        Optimise the integers of the networks after their steps have been found: 1 % of the loss for
        one to several seconds.
    trailer : bool
        Append digests, by which decoders that know them notice every bit error and every
        truncation: 45 bytes after the stream, which neither lambda nor target counts.
    metadata : bool
        Let the trailer carry colour profile, Exif data and texts of the picture; off by default,
        since they may be larger than the stream.
    device : str
        "cpu", or a device of torch such as "cuda".
    threads : int
        torch's threads; more than one pays only on idle cores and large pictures.
    """

    lmbda: float = 1e-3
    preset: Literal["auto"] | Preset = "auto"
    iterations: int = 400
    seed: int = 0
    target_bpp: float | None = None
    target_psnr: float | None = None
    tune: Tune = "mse"
    init: str = "auto"
    init_pack: str | None = None
    latent_resolution: tuple[int, int] | None = None
    hyper_latent_resolution: tuple[int, int] | Literal["auto"] | None = None
    ifce_resolution: tuple[int, int] | None = (0, 2)
    common_randomness: bool | None = None
    final_upsampling_type: Resize = "bicubic"
    learning_rate: float = 1e-2
    latent_betas: tuple[float, float] = (0.8, 0.98)
    n_candidates: int = 5
    n_finalists: int = 2
    warm_up_share: float = 1 / 40
    network_rate: float | None = None
    rdoq: bool = True
    trailer: bool = True
    metadata: bool = False
    device: str = "cpu"
    threads: int = 1

    @classmethod
    def of_effort(
        cls, effort: Effort = "medium", iterations: int | None = None, **settings: Any
    ) -> TrainConfig:
        """Settings for the time to be spent, see :data:`EFFORTS`.

        Parameters
        ----------
        effort : {"fast", "medium", "slow", "best"}
        iterations : int, optional
            Instead of those of the effort.
        **settings
            All others.
        """
        if effort not in EFFORTS:
            raise UsageError("illegal setting", "effort", None, effort, ", ".join(EFFORTS))
        n = EFFORTS[effort] if iterations is None else iterations
        return cls(iterations=n, rdoq=effort != "fast", **settings)

    def __post_init__(self) -> None:
        checks = [
            ("lmbda", 0 < self.lmbda < math.inf, "above 0"),
            ("preset", self.preset in {"auto", *_PRESETS}, ", ".join(("auto", *_PRESETS))),
            ("iterations", self.iterations >= 0, ">= 0"),
            ("target_bpp", self.target_bpp is None or self.target_bpp > 0, "above 0"),
            ("target_psnr", self.target_psnr is None or 0 < self.target_psnr < 100, "0 .. 100 dB"),
            (
                "target_psnr",
                self.target_bpp is None or self.target_psnr is None,
                "only one of target_bpp and target_psnr",
            ),
            ("tune", self.tune in get_args(Tune), ", ".join(get_args(Tune))),
            ("n_finalists", 1 <= self.n_finalists <= self.n_candidates, "1 .. n_candidates"),
            ("metadata", self.trailer or not self.metadata, "only with a trailer"),
            ("threads", self.threads >= 1, ">= 1"),
        ]
        for field, good, allowed in checks:
            if not good:
                raise UsageError("illegal setting", field, None, getattr(self, field), allowed)
        _check_device(self.device)

    def identity(self) -> bytes:
        """Digest of what the stream of a picture depends on: settings, and files that they name.

        Raises
        ------
        OSError
            A file cannot be read.
        """
        settings = dataclasses.asdict(self)
        del settings["threads"]  # which change the time alone
        for name in ("init", "init_pack"):
            if settings[name] not in STARTS | {None}:
                settings[name] = hashlib.sha256(Path(settings[name]).read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()


def _check_device(name: str) -> None:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError("no such device here", "device", None, name) from error


def highest_resolution(img_size: tuple[int, int]) -> int:
    """Coarsest latent by the automatic rule of section 2.2."""
    n_pixels = img_size[0] * img_size[1]
    if n_pixels < 1_000_000:
        return 6
    return 7 if n_pixels < 3_000_000 else 8


def architecture(
    config: TrainConfig, preset: Preset, img_size: tuple[int, int]
) -> CoolChicEncoderParameter:
    """Architecture for a still picture."""
    contexts, features, hidden, n_spatial = _PRESETS[preset]
    layers = [f"{hidden}-1-linear-relu", "3-1-linear-none"]
    layers += ["3-3-residual-relu"] * (n_spatial - 1) + ["3-3-residual-none"]
    latent = config.latent_resolution or (0, highest_resolution(img_size))
    hyper = config.hyper_latent_resolution
    if hyper == "auto":
        hyper = (max(_LOWEST_HYPER, latent[0]), latent[1]) if latent[1] >= _LOWEST_HYPER else None
    noise = config.common_randomness
    return CoolChicEncoderParameter(
        layers_synthesis=layers,
        ifce_resolution=config.ifce_resolution,
        output_feature_ifce=features,
        spatial_context_arm=contexts,
        latent_resolution=latent,
        hyper_latent_resolution=hyper,
        flag_common_randomness=config.tune == "wasserstein" if noise is None else noise,
        img_size=img_size,
        encoder_gain=encoder_gain(config.lmbda),
        final_upsampling_type=config.final_upsampling_type,
    )
