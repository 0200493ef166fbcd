# SPDX-License-Identifier: BSD-3-Clause
"""Where training starts: random networks, or networks that know other pictures (training, 13)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from numchic_bitstream import UsageError, read_stream
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.train import Param
from numchic_trainer.write import load_model


def starting_points(model: CoolChicEncoder, config: TrainConfig, preset: Preset) -> list[Param]:
    """Parameters of all candidates; latents are zero.

    Raises
    ------
    UsageError
        The stream to start from has another architecture.
    """
    if config.init != "random":
        return [_from_stream(model, Path(config.init))]
    candidates = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for _ in range(config.n_candidates):
            model.reinitialize_parameters()
            candidates.append(model.get_param())
    return candidates


def _from_stream(model: CoolChicEncoder, path: Path) -> Param:
    part = read_stream(path.read_bytes()).frames[0].residue
    source = OrderedDict(load_model(part).named_parameters())
    param = model.get_param()
    for name, tensor in param.items():
        if _is_network(name):
            param[name] = _taken(name, tensor, source, path)
    return param


def _is_network(name: str) -> bool:
    return not name.startswith(("latent_grids", "synthesis.output_transform"))


def _taken(name: str, like: Tensor, source: OrderedDict[str, Tensor], path: Path) -> Tensor:
    found = source.get(name)
    if found is None or found.shape != like.shape:
        raise UsageError("the stream to start from has another architecture", name, None, path.name)
    return found.detach().clone().to(like.device)
