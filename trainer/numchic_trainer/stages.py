# SPDX-License-Identifier: BSD-3-Clause
"""The torch side of the format, as stages for the conformance runner.

A stream is loaded into the modules that are trained and goes through their forward pass; writing
them must give back what was read. Names of stages: :mod:`numchic_conformance.stages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from numchic.memory import estimate_memory
from numchic.opened import check_work
from numchic.picture import Picture
from numchic.v5.frame import to_samples
from numchic_bitstream import (
    CoolChic,
    Frame,
    Limits,
    Stream,
    UnsupportedError,
    read_parameters,
    read_stream,
    write_stream,
)
from numchic_bitstream.v5.parameters import flat_parameters
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.write import integer_parameters, load_model, write_model

_MAX_PARAMETER = 1 << 24  # larger integers are not exact in float32


def decode_stages(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Decode a still with the torch modules.

    Parameters
    ----------
    data : bytes

    Yields
    ------
    name : str
    array : array
        All stages, ``samples`` included, and ``rewritten``: the stream written again, as uint8.

    Raises
    ------
    UnsupportedError
        The stream is a video, or has parameters that float32 cannot hold.
    StreamError, LimitError
        The stream is malformed, or larger than the default limits.
    """
    limits = Limits()
    stream = read_stream(data, limits)
    if len(stream.frames) > 1:
        raise UnsupportedError("no torch modules for videos", "n_frames", 0, len(stream.frames), 1)
    check_work(stream, limits)
    limits.check("memory_bytes", estimate_memory(stream))
    (frame,) = stream.frames
    part, header = frame.residue, frame.residue.header
    _require_small_parameters(part)
    model = load_model(part).eval()
    for module, kind, flat in flat_parameters(header, integer_parameters(model)):
        if flat.size:
            yield f"parameters.{module}_{kind}", flat
    grids = model.quantised_latents()
    for k in reversed(range(len(grids))):
        yield f"latents.{k}", grids[k].numpy().astype(np.int8)
    with torch.no_grad():
        dense = model.dense(grids)
        yield "dense", dense[0, : header.derived.n_latents].numpy()
        yield "synthesis", model.synthesis(dense)[0].numpy()
        signal = model.render(dense)[0].numpy()
    data_type, bitdepth = frame.header.frame_data_type, frame.header.bitdepth
    planes = to_samples(signal, data_type, bitdepth, part.nn_offset)
    raw = Picture(planes, data_type, bitdepth).to_bytes()
    yield "samples", np.frombuffer(raw, planes[0].dtype.newbyteorder("<"))
    yield "rewritten", np.frombuffer(_rewrite(stream, model), np.uint8)


def _rewrite(stream: Stream, model: CoolChicEncoder) -> bytes:
    """Put the payloads that the model writes into a stream; unused header fields stay."""
    (frame,) = stream.frames
    written = write_model(model)
    residue = replace(
        frame.residue, nn_payload=written.nn_payload, latent_payload=written.latent_payload
    )
    return write_stream(replace(stream, frames=(Frame(frame.header, residue),)))


def _require_small_parameters(part: CoolChic) -> None:
    parameters = read_parameters(part.header, part.nn_payload, part.nn_offset)
    for module, kind, flat in flat_parameters(part.header, parameters):
        largest = int(np.abs(flat).max(initial=0))
        if largest >= _MAX_PARAMETER:
            field = f"nn_payload.{module}_{kind}"
            raise UnsupportedError(
                "float32 cannot hold a parameter", field, part.nn_offset, largest, "< 2**24"
            )
