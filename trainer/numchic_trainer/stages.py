# SPDX-License-Identifier: BSD-3-Clause
"""The torch side of the format, stills and videos, as stages for the conformance runner.

A stream is loaded into the modules that are trained and goes through their forward pass; writing
them must give back what was read. Names of stages: :mod:`numchic_conformance.stages`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numchic.memory import estimate_memory
from numchic.opened import check_work
from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic.v5.frame import to_samples
from numchic_bitstream import (
    CoolChic,
    Frame,
    Limits,
    UnsupportedError,
    read_parameters,
    read_stream,
    write_stream,
)
from numchic_bitstream.v5.parameters import flat_parameters
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.warp import combine, warp
from numchic_trainer.surroundings import surroundings
from numchic_trainer.write import integer_parameters, load_model, write_model

_MAX_PARAMETER = 1 << 24  # larger integers are not exact in float32
_MAX_FRAMES = 16


Stages = Iterator[tuple[str, NDArray[Any]]]


def decode_stages(data: bytes) -> Stages:
    """Decode a picture or a video with the torch modules.

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
        The stream has parameters that float32 cannot hold, or more frames than have time here.
    StreamError, LimitError
        The stream is malformed, or larger than the default limits.
    """
    limits = Limits()
    stream = read_stream(data, limits)
    n_frames = len(stream.frames)
    if n_frames > _MAX_FRAMES:
        reason = "too many frames for plain torch"
        raise UnsupportedError(reason, "n_frames", 0, n_frames, f"1 .. {_MAX_FRAMES}")
    check_work(stream, limits)
    limits.check("memory_bytes", estimate_memory(stream))
    decoded: dict[int, Picture] = {}
    written = []
    with surroundings("cpu"):
        for i, frame in enumerate(stream.frames):
            models, signals = [], []
            for role, part in zip(("residue", "motion"), frame.parts, strict=False):
                _require_small_parameters(part)
                models.append(load_model(part).eval())
                prefix = "" if n_frames == 1 else f"frame{i}.{role}."
                signals.append((yield from _part_stages(models[-1], prefix)))
            header = frame.header
            references = [decoded[index] for index in header.index_references]
            decoded[header.display_index] = _picture(frame, signals, references)
            written.append(_rewrite(frame, models))
    pictures = [decoded[index] for index in range(n_frames)]
    raw = b"".join(picture.to_bytes() for picture in pictures)
    yield "samples", np.frombuffer(raw, pictures[0].planes[0].dtype.newbyteorder("<"))
    rewritten = write_stream(replace(stream, frames=tuple(written)))
    yield "rewritten", np.frombuffer(rewritten, np.uint8)


@torch.no_grad()
def _part_stages(
    model: CoolChicEncoder, prefix: str
) -> Generator[tuple[str, NDArray[Any]], None, Tensor]:
    """Stages of one Cool-chic decoder; its signal is returned, of the size of the picture."""
    header = model.header
    for module, kind, flat in flat_parameters(header, integer_parameters(model)):
        if flat.size:
            yield f"{prefix}parameters.{module}_{kind}", flat
    grids = model.quantised_latents()
    for k in reversed(range(len(grids))):
        yield f"{prefix}latents.{k}", grids[k].numpy().astype(np.int8)
    dense = model.dense(grids)
    yield f"{prefix}dense", dense[0, : header.derived.n_latents].numpy()
    yield f"{prefix}synthesis", model.synthesis(dense)[0].numpy()
    return model.render(dense)[0]


def _picture(frame: Frame, signals: Sequence[Tensor], references: Sequence[Picture]) -> Picture:
    """Predict a frame, if it has references, and round its signal to samples."""
    header, signal = frame.header, signals[0]
    if references:
        flows = zip(header.global_flow[::2], header.global_flow[1::2], strict=True)
        warped = []
        for i, (picture, flow) in enumerate(zip(references, flows, strict=True)):
            reference = torch.from_numpy(shifted_reference(picture, flow)[..., :3])
            vectors = signals[1][2 * i : 2 * i + 2]
            assert header.warp_filter_size is not None
            warped.append(warp(reference.permute(2, 0, 1), vectors, header.warp_filter_size))
        signal = combine(signal[: 3 + len(warped)], warped)
    data_type, bitdepth = header.frame_data_type, header.bitdepth
    planes = to_samples(signal.numpy(), data_type, bitdepth, frame.residue.nn_offset)
    return Picture(planes, data_type, bitdepth)


def _rewrite(frame: Frame, models: Sequence[CoolChicEncoder]) -> Frame:
    """Put the payloads that the models write into a frame; unused header fields stay."""
    parts = []
    for part, written in zip(frame.parts, map(write_model, models), strict=True):
        payloads = (written.nn_payload, written.latent_payload)
        parts.append(replace(part, nn_payload=payloads[0], latent_payload=payloads[1]))
    return Frame(frame.header, *parts)


def _require_small_parameters(part: CoolChic) -> None:
    parameters = read_parameters(part.header, part.nn_payload, part.nn_offset)
    for module, kind, flat in flat_parameters(part.header, parameters):
        largest = int(np.abs(flat).max(initial=0))
        if largest >= _MAX_PARAMETER:
            field = f"nn_payload.{module}_{kind}"
            raise UnsupportedError(
                "float32 cannot hold a parameter", field, part.nn_offset, largest, "< 2**24"
            )
