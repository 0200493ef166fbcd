# SPDX-License-Identifier: BSD-3-Clause
"""Train a ladder and decoder networks on a folder of pictures (ladder-stochastic, 14 and 15)."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from numchic import __version__
from numchic.files.images import write_file
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.ladder.config import LadderConfig
from numchic_trainer.ladder.crops import Crops
from numchic_trainer.ladder.decoders import SharedDecoder
from numchic_trainer.ladder.mosaic import Mosaic, make_mosaic
from numchic_trainer.ladder.network import WIDTHS, Ladder
from numchic_trainer.ladder.objective import Objective, imitation, objective
from numchic_trainer.ladder.pack import FORMAT, Pack
from numchic_trainer.result import Progress

LAMBDAS = (1e-4, 8e-3)
"""Least and largest lambda that a pack is for: at larger ones its latents do not help."""

_TRAINED_LAMBDAS = (1e-4, 2e-2)
_FORMAT = "numchic ladder training 1"
_LADDER_RATE, _DECODER_RATE = 2e-3, 1e-2
_WARM_UP = 50  # steps
_LAST_RATE = 0.02  # of the learning rate, at the end of a stage
_CLIP = 0.1
_N_CROPS = 2
_LOG_STEPS = 100
_FIRST_PER_MINUTE, _MOST_FIRST = 13, 800  # iterations for the mosaic

# What the training consists of, as shares of it.
_IMITATED = 0.05  # by then the ladder has learned what the mosaic's latents are
_SAMPLED = 0.4  # by then the latents are quantised as in encodes
_JOINT = 0.8  # by then the ladder is done, if there are other presets


class LadderTraining:
    """State of the training of a ladder.

    Call :meth:`prepare` or :meth:`load`, then :meth:`advance` until :attr:`progress` is 1; between
    two calls everything can be saved.

    Parameters
    ----------
    crops : Crops
    config : LadderConfig

    Attributes
    ----------
    ladder : Ladder
    decoders : list of SharedDecoder
        One per preset.
    step : int
        Steps done.
    seconds : float
        Time that these steps took.
    log : list of dict
        One row per hundred steps after the imitation, means over them: step, seconds, loss, mse,
        bpp, kl_bpp and qvar_max; see :class:`Objective`.
    """

    def __init__(self, crops: Crops, config: LadderConfig) -> None:
        self.crops = crops
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            # The order of memory that CPU convolutions are quickest with.
            self.ladder = Ladder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.decoders = [SharedDecoder(preset) for preset in config.presets]
            self._random = torch.get_rng_state()
        self._networks = nn.ModuleList(self.decoders)
        self._optimiser = torch.optim.Adam(
            [
                {"params": self.ladder.parameters(), "start": _LADDER_RATE},
                {
                    "params": [p for p in self._networks.parameters() if p.requires_grad],
                    "start": _DECODER_RATE,
                },
            ]
        )
        self._mosaic: Mosaic | None = None
        self.step = 0
        self.seconds = 0.0
        self.log: list[dict[str, float]] = []
        self._recent: list[list[float]] = []  # not in the log yet

    def prepare(self, progress: Progress | None = None) -> None:
        """Encode a mosaic, which gives first networks and first latents: some minutes per preset.

        Parameters
        ----------
        progress : callable, optional
            The same as in :func:`numchic_trainer.encode`.
        """
        start = time.perf_counter()
        wanted = _FIRST_PER_MINUTE * self.config.minutes
        if self.config.steps is not None:
            wanted = self.config.steps
        iterations = round(min(wanted, _MOST_FIRST))
        for decoder in self.decoders:
            mosaic = make_mosaic(self.crops, decoder.preset, iterations, self.config.seed, progress)
            decoder.take_first(mosaic.networks)
            self._mosaic = self._mosaic or mosaic
        self.decoders[0].begin_with_first()
        self.seconds += time.perf_counter() - start

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 .. 1."""
        if self.config.steps is not None:
            return min(self.step / self.config.steps, 1.0)
        return min(self.seconds / (60 * self.config.minutes), 1.0)

    def advance(self) -> None:
        """Do one step.

        Raises
        ------
        NumchicError
            The loss is not finite any more.
        """
        start = time.perf_counter()
        self._set_rates()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random)
            loss, found = self._imitate() if self.progress < _IMITATED else self._judge()
            self._random = torch.get_rng_state()
        if not math.isfinite(loss.item()):
            raise NumchicError("training diverged", "loss", None, loss.item(), "a finite number")
        self._optimiser.zero_grad(set_to_none=True)  # also leaves the other decoders alone
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self._optimiser.param_groups:
            nn.utils.clip_grad_norm_(group["params"], _CLIP)
        self._optimiser.step()
        self.ladder.pin()
        self.step += 1
        self.seconds += time.perf_counter() - start
        if found is not None:
            self._remember(found)

    def _imitate(self) -> tuple[Tensor, None]:
        if self._mosaic is None:
            raise UsageError("prepare() or load() has not been called", "LadderTraining")
        return imitation(self.ladder, self._mosaic, _N_CROPS, self.config.kappa), None

    def _judge(self) -> tuple[Tensor, Objective]:
        pictures, lmbda = self.crops.draw(_N_CROPS), _draw_lmbda()
        sampled = self.progress < _SAMPLED
        decoder = self.decoders[0]
        if self._fitting:
            decoder = self.decoders[1 + self.step % (len(self.decoders) - 1)]
        with torch.set_grad_enabled(not self._fitting):
            data = self.ladder(pictures, lmbda, sample=sampled)
        kappa = self.config.kappa
        found = objective(data, decoder, pictures, lmbda, kappa, quantise=not sampled)
        return found.loss, found

    @property
    def _fitting(self) -> bool:
        """Whether the ladder is done and networks are fitted to it."""
        return len(self.decoders) > 1 and self.progress >= _JOINT

    def _remember(self, found: Objective) -> None:
        self._recent.append([found.loss.item(), found.mse, found.bpp, found.kl_bpp, found.qvar_max])
        if len(self._recent) == _LOG_STEPS or self.progress == 1:
            means = torch.tensor(self._recent, dtype=torch.float64).mean(0).tolist()
            row = {"step": self.step, "seconds": self.seconds}
            row |= zip(("loss", "mse", "bpp", "kl_bpp", "qvar_max"), means, strict=True)
            self.log.append(row)
            self._recent = []

    def _set_rates(self) -> None:
        """Set the learning rates: linear warm-up, and a cosine in every stage."""
        ends = [_IMITATED, _JOINT, 1.0] if len(self.decoders) > 1 else [_IMITATED, 1.0]
        end = next(e for e in ends if self.progress < e or e == 1.0)
        begin = max((e for e in ends if e < end), default=0.0)
        done = (self.progress - begin) / (end - begin)
        falling = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        factor = min((self.step + 1) / _WARM_UP, falling)
        for group in self._optimiser.param_groups:
            group["lr"] = group["start"] * factor

    def pack(self) -> Pack:
        """What has been learned."""
        config = self.config
        meta = {
            "format": FORMAT,
            "version": __version__,
            "lambdas": LAMBDAS,
            "widths": WIDTHS,
            "presets": config.presets,
            "pictures": self.crops.names,
            "steps": self.step,
            "seconds": self.seconds,
            "kappa": config.kappa,
            "seed": config.seed,
        }
        return Pack(self.ladder, dict(zip(config.presets, self.decoders, strict=True)), meta)

    def _identity(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self.config), "pictures": self.crops.names}

    def save(self, path: Path) -> None:
        """Write the state to a file, replacing it as a whole or not at all."""
        buffer = io.BytesIO()
        state = {
            "format": _FORMAT,
            "identity": self._identity(),
            "ladder": self.ladder.state_dict(),
            "networks": self._networks.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": self._random,
            "mosaic": self._mosaic and self._mosaic._asdict(),
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
            "recent": self._recent,
        }
        torch.save(state, buffer)
        write_file(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from where :meth:`save` was called.

        Raises
        ------
        UsageError
            The file is no checkpoint, or that of other settings or pictures.
        OSError
            The file cannot be read.
        """
        data = path.read_bytes()
        try:
            state = torch.load(io.BytesIO(data), weights_only=True)
            self._check(state, path.name)
            self.ladder.load_state_dict(state["ladder"])
            self._networks.load_state_dict(state["networks"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._random = state["random"]
            self._mosaic = state["mosaic"] and Mosaic(**state["mosaic"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.log, self._recent = state["log"], state["recent"]
        except UsageError:
            raise
        except Exception as error:  # torch raises a dozen kinds
            raise UsageError(f"not a checkpoint, or a damaged one: {error}", path.name) from error

    def _check(self, state: dict[str, Any], name: str) -> None:
        if state["format"] != _FORMAT:
            raise UsageError("not a checkpoint of this version", name)
        if state["identity"] != self._identity():
            raise UsageError("the checkpoint belongs to other settings or pictures", name)


def _draw_lmbda() -> float:
    """Draw a lambda; those in the middle, which are wanted most, come more often."""
    low, high = (math.log(bound) for bound in _TRAINED_LAMBDAS)
    return math.exp(low + (high - low) * float(torch.rand(2).mean()))
