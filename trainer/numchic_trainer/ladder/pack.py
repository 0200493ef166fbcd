# SPDX-License-Identifier: BSD-3-Clause
"""What was learned from many pictures, as a file (ladder-stochastic, 16).

One ``.npz`` file holds the ladder in float16 (``ladder/NAME``), the decoder networks of one or
more presets in float32 (``decoder/PRESET/base|slope|first/NAME``, ``decoder/PRESET/gain``) and
``meta``, a JSON object as bytes. A file may come from anywhere: it is read without pickle, and
every shape is compared with what the networks have.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from numchic.files.images import write_file
from numchic_bitstream import UsageError
from numchic_trainer.config import Preset
from numchic_trainer.ladder.decoders import SharedDecoder
from numchic_trainer.ladder.network import WIDTHS, Ladder

FORMAT = 1
_SHIPPED: dict[Preset, str] = {
    "lop": "lop.npz", "mop": "hop.npz", "hop": "hop.npz", "vhop": "hop.npz",
}  # fmt: skip
_MAX_BYTES = 16_000_000  # of all arrays; those of four presets have less than 1 MB
_MAX_ARRAYS = 2000
_MAX_LAMBDA = 1e3


@dataclass(frozen=True)
class Pack:
    """A ladder and decoder networks.

    Attributes
    ----------
    ladder : Ladder
    decoders : dict
        One :class:`SharedDecoder` per preset.
    meta : dict
        "format", "version" (of the program), "lambdas" (least and largest), "widths" (of the
        ladder), "presets", "pictures" (names of files), "steps", "seconds", "kappa", "seed".
    """

    ladder: Ladder
    decoders: dict[Preset, SharedDecoder]
    meta: dict[str, Any]

    @property
    def lambdas(self) -> tuple[float, float]:
        """Least and largest lambda that the pack was trained for."""
        low, high = self.meta["lambdas"]
        return low, high

    def write(self, path: Path) -> None:
        """Write a file, replacing it as a whole or not at all."""
        arrays = {"meta": np.frombuffer(json.dumps(self.meta).encode(), np.uint8)}
        for name, tensor in self.ladder.state_dict().items():
            arrays[f"ladder/{name}"] = tensor.numpy().astype(np.float16)
        for preset, decoder in self.decoders.items():
            for name, tensor in decoder.state_dict().items():
                arrays[f"decoder/{preset}/{name.replace('.', '/', 1)}"] = tensor.numpy()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_file(path, buffer.getvalue())


def read_pack(path: Path) -> Pack:
    """Read a pack.

    Raises
    ------
    UsageError
        The file is no pack, or its networks are not those of this program; the first
        difference is named.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise UsageError("the pack is too large", path.name)
    return _parse(data, path.name)


def shipped_pack(preset: Preset) -> Pack:
    """Return the pack for a preset that comes with the package."""
    return _shipped(_SHIPPED[preset])


@functools.cache
def _shipped(name: str) -> Pack:
    return _parse((files("numchic_trainer") / "packs" / name).read_bytes(), name)


def _parse(data: bytes, name: str) -> Pack:
    arrays = _arrays(data, name)
    meta = _meta(arrays.pop("meta", None), name)
    with torch.random.fork_rng(devices=[]):  # what is drawn is replaced
        ladder = Ladder()
        decoders = {preset: SharedDecoder(preset) for preset in meta["presets"]}
    expected: dict[str, nn.Module] = {"ladder": ladder}
    expected |= {f"decoder/{preset}": decoder for preset, decoder in decoders.items()}
    for prefix, module in expected.items():
        _fill(module, prefix, arrays, name)
    if arrays:
        raise UsageError("unknown array in the pack", min(arrays), None, name)
    return Pack(ladder.eval(), decoders, meta)


def _arrays(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    """All arrays of a file, if they are neither too many nor too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_size(entries, name)
            return {
                entry.filename.removesuffix(".npy"): _array(archive.read(entry))
                for entry in entries
            }
    except UsageError:
        raise
    except Exception as error:  # zipfile, its codecs and NumPy's parser raise a dozen kinds
        raise UsageError(f"not a pack, or a damaged one: {error}", name) from error


def _check_size(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > _MAX_ARRAYS or sum(entry.file_size for entry in entries) > _MAX_BYTES:
        raise UsageError("the pack is too large", name)


def _array(data: bytes) -> NDArray[Any]:
    """Array of a .npy file; its size is that of the file, whatever the header says."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"array format {version}")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype.hasobject:
        raise ValueError(f"array of {dtype}, Fortran order: {fortran_order}")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)


def _meta(data: NDArray[Any] | None, name: str) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads(data.tobytes()) if data is not None else {}
        found = meta.get("format")
        good = found == FORMAT and _fits(meta)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"the pack does not say what it is: {error}", name) from error
    if found != FORMAT:
        raise UsageError("pack of another format", "format", None, found, FORMAT)
    if not good:
        raise UsageError("the pack does not fit this program", name)
    return meta


def _fits(meta: dict[str, Any]) -> bool:
    low, high = meta["lambdas"]
    return (
        0 < low < high <= _MAX_LAMBDA
        and set(meta["presets"]) <= set(get_args(Preset))
        and tuple(meta["widths"]) == WIDTHS
        and isinstance(meta["steps"], int)
        and all(isinstance(name, str) for name in meta["pictures"])
    )


def _fill(module: nn.Module, prefix: str, arrays: dict[str, NDArray[Any]], name: str) -> None:
    """Take the arrays of a module out of the dictionary and put them into it."""
    state: Mapping[str, Tensor] = module.state_dict()
    with torch.no_grad():
        for key, tensor in state.items():
            path = f"{prefix}/{key.replace('.', '/', 1)}" if prefix != "ladder" else f"ladder/{key}"
            array = arrays.pop(path, None)
            found = None if array is None else array.shape
            if array is None or found != tuple(tensor.shape) or array.dtype.kind != "f":
                raise UsageError(
                    "the networks of the pack are others", path, None, found, tuple(tensor.shape)
                )
            with np.errstate(over="ignore"):
                numbers = array.astype(np.float32)
            if not np.isfinite(numbers).all():
                raise UsageError("the pack has a number that is not finite", path, None, name)
            tensor.copy_(torch.from_numpy(numbers))
