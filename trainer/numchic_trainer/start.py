# SPDX-License-Identifier: BSD-3-Clause
"""Where training starts: random networks, or networks that know other pictures (training, 13)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from numchic_bitstream import UsageError, read_stream, read_trailer
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.train import Param
from numchic_trainer.write import load_model


def starting_points(
    model: CoolChicEncoder, config: TrainConfig, preset: Preset, *, rgb: bool = True
) -> list[Param]:
    """Parameters of all candidates; latents are zero.

    Parameters
    ----------
    model : CoolChicEncoder
        Its parameters are drawn anew.
    config : TrainConfig
    preset : str
    rgb : bool
        False if the picture has other channels than the shared synthesis was trained on.

    Raises
    ------
    UsageError
        The stream to start from has another architecture.
    OSError
        It cannot be read.
    """
    n_candidates = config.n_candidates if config.init == "random" else 1
    candidates = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for _ in range(n_candidates):
            model.reinitialize_parameters()
            candidates.append(model.get_param())
    if config.init == "shared":
        _put_shared(candidates[0], preset, rgb)
    elif config.init != "random":
        _put_stream(candidates[0], Path(config.init))
    return candidates


def _put_shared(param: Param, preset: Preset, rgb: bool) -> None:
    """Put the shared networks in, as far as this architecture has room for them.

    A picture with more levels has more inputs; those come last, and stay random.
    """
    data = (files("numchic_trainer") / "starts" / f"{preset}.safetensors").read_bytes()
    for name, shared in load(data).items():
        if name in param and (rgb or not name.startswith("synthesis")):
            tensor = param[name]
            common = tuple(
                slice(min(a, b)) for a, b in zip(tensor.shape, shared.shape, strict=True)
            )
            tensor[common] = shared[common].to(tensor.device)


def _put_stream(param: Param, path: Path) -> None:
    data = path.read_bytes()
    stream = read_stream(data)
    read_trailer(data, stream)  # which complains if the stream is damaged
    part = stream.frames[0].residue
    source: dict[str, Tensor] = dict(load_model(part).named_parameters())
    for name, tensor in param.items():
        if not name.startswith(("latent_grids", "synthesis.output_transform")):
            param[name] = _taken(name, tensor, source, path)


def _taken(name: str, like: Tensor, source: dict[str, Tensor], path: Path) -> Tensor:
    found = source.get(name)
    if found is None or found.shape != like.shape:
        raise UsageError("the stream to start from has another architecture", name, None, path.name)
    return found.detach().clone().to(like.device)
