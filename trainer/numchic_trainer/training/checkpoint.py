# SPDX-License-Identifier: BSD-3-Clause
"""Training on disk: one file, from which it goes on as if it had never stopped.

A mark of its format, then one tensor after the other, each as safetensors has it and with its size
before it, and the SHA-256 of these at the end. The last tensor is the rest of the state as JSON.
Nothing is in memory twice but one tensor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load, save
from torch import Tensor

from numchic.files.images import open_file
from numchic_bitstream import UsageError
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Evaluation
from numchic_trainer.training.train import Param, Run, Training

_FORMAT = b"numchic training 4\n"
_SIZE = struct.Struct("<Q")
_CHUNK = 1 << 20


def save_checkpoint(path: Path, training: Training[Any], identity: str, extra: Any) -> None:
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
    tensors: dict[str, Tensor] = {}
    _put(tensors, "model", {name: p.detach() for name, p in training.model.named_parameters()})
    for i, candidate in enumerate(training.candidates):
        _put(tensors, f"candidate{i}", candidate)
    moments, rest = training.engine.state()
    _put(tensors, "engine", moments)
    state: dict[str, Any] = {
        "identity": identity,
        "start": training.start,
        "phases": [dataclasses.asdict(phase) for phase in training.phases],
        "phase_index": training.phase_index,
        "n_candidates": len(training.candidates),
        "engine": rest,
        "results": training.results,
        "iteration": training.iteration,
        "evaluation": training.evaluation,
        "run": None,
        "extra": extra,
    }
    if training.run is not None:
        _put(tensors, "best", training.run.best_param)
        state["run"] = {"step": training.run.step, "best": training.run.best}
    tensors["state"] = torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)
    digest = hashlib.sha256()
    with open_file(path) as file:
        file.write(_FORMAT)
        for name, tensor in tensors.items():
            data = save({name: tensor.cpu().contiguous()})
            for part in (_SIZE.pack(len(data)), data):
                digest.update(part)
                file.write(part)
        file.write(digest.digest())


def load_checkpoint(path: Path, training: Training[Any], identity: str) -> Any:
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
    with path.open("rb") as file:
        if file.read(len(_FORMAT)) != _FORMAT:
            raise UsageError("not a checkpoint of this version", path.name)
        end = file.seek(0, os.SEEK_END) - hashlib.sha256().digest_size
        if not _is_sound(file, end):
            raise UsageError("the checkpoint is damaged", path.name)
        device = training.target.planes[0].device
        tensors = {name: tensor.to(device) for name, tensor in _read(file, end)}
    state = json.loads(tensors.pop("state").cpu().numpy().tobytes())
    if state["identity"] != identity:
        raise UsageError("the checkpoint belongs to another picture or other settings", path.name)
    _restore(training, state, tensors)
    return state["extra"]


def _is_sound(file: BinaryIO, end: int) -> bool:
    """Whether what is before ``end`` has the digest that comes after it."""
    digest = hashlib.sha256()
    file.seek(len(_FORMAT))
    while (left := end - file.tell()) > 0:
        digest.update(file.read(min(left, _CHUNK)))
    return file.read() == digest.digest()


def _read(file: BinaryIO, end: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name."""
    file.seek(len(_FORMAT))
    while file.tell() < end:
        (size,) = _SIZE.unpack(file.read(_SIZE.size))
        yield from load(file.read(size)).items()


def _restore(training: Training[Any], state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    training.phases[:] = [
        Phase(**{key: _tuple(value) for key, value in phase.items()}) for phase in state["phases"]
    ]
    training.start = state["start"]
    training.phase_index = state["phase_index"]
    training.results = [Evaluation(*values) for values in state["results"]]
    training.iteration = state["iteration"]
    training.evaluation = state["evaluation"] and Evaluation(*state["evaluation"])
    training.candidates = [_get(tensors, f"candidate{i}") for i in range(state["n_candidates"])]
    training.model.set_param(_get(tensors, "model"))
    run = state["run"]
    if run is not None:
        training.engine.begin(training.phase.latent_betas)
        training.run = Run(Evaluation(*run["best"]), _get(tensors, "best"), run["step"])
    training.engine.restore(_get(tensors, "engine"), state["engine"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _put(tensors: dict[str, Tensor], prefix: str, param: Mapping[str, Tensor]) -> None:
    for name, tensor in param.items():
        tensors[f"{prefix}/{name}"] = tensor


def _get(tensors: dict[str, Tensor], prefix: str) -> Param:
    start = f"{prefix}/"
    return OrderedDict(
        (name.removeprefix(start), tensor)
        for name, tensor in tensors.items()
        if name.startswith(start)
    )
