# SPDX-License-Identifier: BSD-3-Clause
"""Training on disk: one safetensors file, from which it goes on as if it had never stopped."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from numchic.files.images import write_file
from numchic_bitstream import UsageError
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Evaluation
from numchic_trainer.training.train import Param, Run, Training

_FORMAT = "numchic training 1"
_LISTS = ("outer", "bases")  # of the optimiser's state: one matrix or None per dimension


def save_checkpoint(path: Path, training: Training, identity: str, extra: Any) -> None:
    """Write the state of a training; an existing file is replaced as a whole or not at all.

    Parameters
    ----------
    path : Path
    training : Training
    identity : str
        Digest of picture and settings; a checkpoint is loaded only for the same ones.
    extra : object
        Anything that JSON can hold.
    """
    tensors: dict[str, Tensor] = {"generator": training.generator.get_state()}
    _put(tensors, "model", training.model.get_param())
    for i, candidate in enumerate(training.candidates):
        _put(tensors, f"candidate{i}", candidate)
    state: dict[str, Any] = {
        "format": _FORMAT,
        "identity": identity,
        "phases": [dataclasses.asdict(phase) for phase in training.phases],
        "phase_index": training.phase_index,
        "n_candidates": len(training.candidates),
        "results": training.results,
        "iteration": training.iteration,
        "evaluation": training.evaluation,
        "run": None,
        "extra": extra,
    }
    if training.run is not None:
        _put(tensors, "best", training.run.best_param)
        state["run"] = {
            "step": training.run.step,
            "best": training.run.best,
            "counts": _put_optimiser(tensors, training.run),
        }
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, save(contiguous, {"state": json.dumps(state)}))


def load_checkpoint(path: Path, training: Training, identity: str) -> Any:
    """Take a training, newly made with the same settings, to where the checkpoint was written.

    Returns
    -------
    object
        What was given as ``extra``.

    Raises
    ------
    UsageError
        The file is no checkpoint, or that of another picture or other settings.
    OSError
        The file cannot be read.
    """
    path.stat()  # a missing file is an OSError whatever safetensors makes of it
    try:
        with safe_open(path, "pt", device=str(training.target.planes[0].device)) as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if state["format"] != _FORMAT:
            raise UsageError("not a checkpoint of this version", str(path))
        if state["identity"] != identity:
            raise UsageError(
                "the checkpoint belongs to another picture or other settings", path.name
            )
        _restore(training, state, tensors)
    except (SafetensorError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise UsageError(f"not a checkpoint, or a damaged one: {error}", path.name) from error
    return state["extra"]


def _restore(training: Training, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    training.phases[:] = [
        Phase(**{key: _tuple(value) for key, value in phase.items()}) for phase in state["phases"]
    ]
    training.phase_index = state["phase_index"]
    training.results = [Evaluation(*values) for values in state["results"]]
    training.iteration = state["iteration"]
    training.evaluation = state["evaluation"] and Evaluation(*state["evaluation"])
    training.candidates = [_get(tensors, f"candidate{i}") for i in range(state["n_candidates"])]
    training.model.set_param(_get(tensors, "model"))
    training.generator.set_state(tensors["generator"].cpu())
    run = state["run"]
    if run is not None:
        optimiser = training.new_optimiser()
        blank = optimiser.state_dict()
        blank["state"] = _get_optimiser(tensors, run["counts"])
        optimiser.load_state_dict(blank)
        best = Evaluation(*run["best"])
        training.run = Run(optimiser, best, _get(tensors, "best"), run["step"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _put(tensors: dict[str, Tensor], prefix: str, param: Param) -> None:
    for name, tensor in param.items():
        tensors[f"{prefix}/{name}"] = tensor


def _get(tensors: dict[str, Tensor], prefix: str) -> Param:
    start = f"{prefix}/"
    return OrderedDict(
        (name.removeprefix(start), tensor.clone())
        for name, tensor in tensors.items()
        if name.startswith(start)
    )


def _put_optimiser(tensors: dict[str, Tensor], run: Run) -> dict[str, dict[str, Any]]:
    """Add the tensors of the optimiser; return step and number of dimensions of its parameters."""
    counts: dict[str, dict[str, Any]] = {}
    for index, entry in run.optimiser.state_dict()["state"].items():
        counts[str(index)] = {"step": entry["step"]}
        for name, value in entry.items():
            if name in _LISTS:
                counts[str(index)]["dimensions"] = len(value)
                for j, matrix in enumerate(value):
                    if matrix is not None:
                        tensors[f"optimiser/{index}/{name}/{j}"] = matrix
            elif isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{name}"] = value
    return counts


def _get_optimiser(
    tensors: dict[str, Tensor], counts: dict[str, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for index, count in counts.items():
        start = f"optimiser/{index}"
        entry: dict[str, Any] = {
            "step": count["step"],
            "exp_avg": tensors[f"{start}/exp_avg"],
            "exp_avg_sq": tensors[f"{start}/exp_avg_sq"],
        }
        if "dimensions" in count:
            for name in _LISTS:
                entry[name] = [
                    tensors.get(f"{start}/{name}/{j}") for j in range(count["dimensions"])
                ]
        state[int(index)] = entry
    return state
