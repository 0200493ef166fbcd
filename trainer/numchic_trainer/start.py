# SPDX-License-Identifier: BSD-3-Clause
"""Where training starts: networks and latents (training, 13; ladder-stochastic, 16)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import numchic
from numchic_bitstream import UsageError, read_stream, read_trailer
from numchic_bitstream.v5.derived import Grid
from numchic_trainer.config import STARTS, Preset, Start, TrainConfig
from numchic_trainer.kernels.integers import MAX_INTEGER
from numchic_trainer.ladder.network import N_LEVELS, crop
from numchic_trainer.ladder.pack import Pack, read_pack, shipped_pack
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.plan import n_candidates
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Param
from numchic_trainer.write import load_model

# Iterations: with more of them, networks that know no ladder end up as good or better.
_MOST_FROM_LADDER: dict[Preset, int] = {"lop": 500, "mop": 250, "hop": 250, "vhop": 250}


def choose_start(config: TrainConfig, preset: Preset, model: CoolChicEncoder, rgb: bool) -> Start:
    """Kind of start that the settings ask for; "auto" is the best one for as many iterations.

    Parameters
    ----------
    config : TrainConfig
    preset : str
    model : CoolChicEncoder
    rgb : bool
        Whether the picture has the channels that packs were trained on.

    Raises
    ------
    UsageError
        The start that was asked for does not fit the settings or the picture.
    """
    if config.init == "zero":
        return "zero"
    if config.init not in STARTS:
        return "stream"
    pack = _pack(config, preset)
    if preset not in pack.decoders:
        if config.init == "auto":
            return "zero"
        raise UsageError(
            "the pack has no networks of this preset", "preset", None, preset,
            ", ".join(pack.decoders),
        )  # fmt: skip
    if config.init == "shared":
        return "shared"
    obstacle = _obstacle(config, pack, model, rgb)
    if config.init == "ladder":
        if obstacle is not None:
            raise UsageError(f"no start from a ladder: {obstacle}", "init", None, "ladder")
        return "ladder"
    short = config.n_iterations(preset) <= _MOST_FROM_LADDER[preset]
    return "ladder" if obstacle is None and short else "shared"


def _obstacle(config: TrainConfig, pack: Pack, model: CoolChicEncoder, rgb: bool) -> str | None:
    """What keeps a picture from starting with the latents of a ladder."""
    low, high = model.param.latent_resolution
    if low > 0 or high < N_LEVELS - 1:
        return f"it has the latents 0:{N_LEVELS - 1}, not {low}:{high}"
    if not rgb:
        return "it was trained on RGB pictures"
    least, largest = pack.lambdas
    if not least <= config.lmbda <= largest:
        return f"it was trained for lambda from {least:g} to {largest:g}"
    return None


def starting_points(
    model: CoolChicEncoder,
    config: TrainConfig,
    start: Start,
    preset: Preset,
    target: Target,
    *,
    rgb: bool = True,
) -> list[Param]:
    """Parameters of all candidates.

    Parameters
    ----------
    model : CoolChicEncoder
        The model, whose parameters are drawn anew.
    config : TrainConfig
    start : str
        The result of :func:`choose_start`.
    preset : str
    target : Target
        The picture.
    rgb : bool
        False if the picture has other channels than those that the pack's synthesis makes.

    Raises
    ------
    UsageError
        The stream to start from has another architecture, or the pack leads to no useful numbers.
    NumchicError
        The ladder of the pack gives no numbers.
    OSError
        The pack cannot be read.
    """
    candidates = []
    generator = torch.Generator(target.planes[0].device).manual_seed(config.seed)
    for _ in range(n_candidates(config, preset, start)):
        model.reinitialize_parameters(generator)
        candidates.append(model.get_param())
    if start == "stream":
        _put_stream(candidates[0], Path(config.init))
    elif start != "zero":
        pack = _pack(config, preset)
        decoder = pack.decoders[preset]
        with torch.no_grad():
            if start == "shared":
                _put_networks(candidates[0], decoder.first_networks(), model, rgb)
            else:
                _put_networks(candidates[0], decoder.networks(config.lmbda), model, rgb)
                _put_latents(candidates[0], pack, config.lmbda, model, target)
        _check(candidates[0])
    return candidates


def _pack(config: TrainConfig, preset: Preset) -> Pack:
    if config.init_pack is None:
        return shipped_pack(preset)
    return read_pack(Path(config.init_pack))


def _put_networks(
    param: Param, networks: Mapping[str, Tensor], model: CoolChicEncoder, rgb: bool
) -> None:
    """Put shared networks in, as far as they and this architecture have a grid in common.

    What belongs to other grids stays as it is, or is zero where it would add to what is known.
    """
    for name, tensor in param.items():
        source = networks.get(_counterpart(name, model))
        if source is None or (name.startswith("synthesis") and not rgb):
            continue
        columns = _columns(name, model)
        if columns is None:
            common = tuple(slice(min(n)) for n in zip(tensor.shape, source.shape, strict=True))
            tensor[common] = source[common].to(tensor.device)
            continue
        for to, column in enumerate(columns):
            tensor[:, to] = 0.0 if column is None else source[:, column].to(tensor.device)


def _counterpart(name: str, model: CoolChicEncoder) -> str:
    """Name that a parameter has in networks for the latents 0:6 without hyperlatents."""
    module, _, rest = name.partition(".")
    if module == "upsampling":  # filters are counted from the coarsest step
        kind, index, last = rest.split(".")
        more = model.param.latent_resolution[1] - (N_LEVELS - 1)
        return f"upsampling.{kind}.{int(index) - more}.{last}"
    if module == "ifce":
        _, index, last = rest.split(".")
        grid = model.grids[int(index)]
        return "" if grid.hyper else f"ifce.layers.{grid.level}.{last}"
    return name


def _columns(name: str, model: CoolChicEncoder) -> list[int | None] | None:
    """Column of the shared networks for every input of a layer that is fed by grids."""
    if name in {"synthesis.trunk.0.weight", "synthesis.stabiliser.weight"}:
        grids = [grid for grid in model.grids if not grid.hyper]
        return [_known(grid, 0) for grid in grids]
    if name.startswith("ifce") and name.endswith("weight"):
        k = int(name.split(".")[2])
        return [_known(grid, model.grids[k].level + 1) for grid in model.grids[k + 1 :]]
    return None


def _known(grid: Grid, first: int) -> int | None:
    return None if grid.hyper or grid.level >= N_LEVELS else grid.level - first


def _put_latents(
    param: Param, pack: Pack, lmbda: float, model: CoolChicEncoder, target: Target
) -> None:
    """Put the latents in that the ladder finds for this picture; others stay zero."""
    picture = torch.stack(target.planes)[None].cpu()
    latents = crop(pack.ladder.latents(picture, lmbda), model.param.img_size)
    for i, grid in enumerate(model.grids):
        if not grid.hyper and grid.level < N_LEVELS:
            tensor = param[f"latent_grids.{i}"]
            tensor.copy_(latents[grid.level][0, 0] / model.param.encoder_gain)


def _check(param: Param) -> None:
    """Refuse what could not be quantised: a pack may say anything."""
    for name, tensor in param.items():
        largest = float(tensor.abs().max())
        if not largest <= MAX_INTEGER:  # also if it is NaN
            raise UsageError("the pack gives a number that is too large", name, None, largest)


def _put_stream(param: Param, path: Path) -> None:
    data = path.read_bytes()
    generation = numchic.read_info(data).generation
    if generation != "5.0":
        raise UsageError(
            "the stream to start from is of another generation", path.name, None, generation, "5.0"
        )
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
