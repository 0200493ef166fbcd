# SPDX-License-Identifier: BSD-3-Clause
"""The stages of decoding a stream of 4.2, 4.1 or 4.0; their table is in :mod:`.stages`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numchic.picture import Picture
from numchic.schedule import Meter
from numchic.v4.arm import prepare_arm
from numchic.v4.frame import FrameWriter
from numchic.v4.latents import decode_plane, interior, new_plane
from numchic.v4.prediction import predict
from numchic.v4.synthesis import MARGIN, Synthesiser
from numchic.v4.upsampling import Upsampler
from numchic_bitstream.arrays import F32, I32
from numchic_bitstream.v4 import CoolChic, Frame, Stream
from numchic_bitstream.v4.headers import ROLES
from numchic_bitstream.v4.parameters import Parameters, read_numbers, read_parameters
from numchic_bitstream.v4.stream import MIN_OUTPUTS

Stages = Iterator[tuple[str, NDArray[Any]]]

_MODULES = {"arm": "arm", "ups": "upsampling", "syn": "synthesis"}
_KINDS = {"w": "weight", "b": "bias"}


def decode_stages4(stream: Stream) -> Stages:
    """Decode a stream stage by stage, up to the samples of a video and the synthesis of a still.

    Raises
    ------
    CorruptError, TruncatedError
        A payload is damaged.
    """
    if len(stream.frames) == 1:
        yield from _part_stages(stream.frames[0].parts[0])
        return
    pictures: dict[int, Picture] = {}
    for i, (frame, place) in enumerate(zip(stream.frames, stream.places, strict=True)):
        signals = []
        for role, part in zip(ROLES, frame.parts, strict=False):
            for name, array in _part_stages(part):
                yield f"frame{i}.{role}.{name}", array
            signals.append(array)  # the last stage
        if len(signals) == 1:
            signal = signals[0]
        else:
            references = [pictures[index] for index in place.references]
            signal = _predict(stream, frame, signals, references)
            yield f"frame{i}.prediction", signal
        writer = FrameWriter(stream)
        writer.put(0, signal)
        picture = pictures[place.display_index] = writer.picture()
        yield f"frame{i}.samples", np.frombuffer(picture.to_bytes(), picture.planes[0].dtype)


def _part_stages(part: CoolChic) -> Stages:
    header = part.header
    for name, numbers in read_numbers(part).items():
        if numbers.size:
            module, kind = name.split(".")
            yield f"parameters.{_MODULES[module]}_{_KINDS[kind]}", numbers
    parameters = read_parameters(part)
    planes = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for i in header.derived.coded_planes:
            planes[i] = new_plane(*header.derived.sizes[i])
            try:
                _decode_plane(part, parameters, i, planes[i])
            finally:
                # Where a latent is wrong it seldom ends as it has to, and is worth looking at.
                yield f"latents.{i}", interior(planes[i])
        upsampler = Upsampler(header, parameters, part.noise_start)
        upsampler.prepare(planes)
        height, width = header.derived.output_size
        inputs = np.empty((header.n_inputs, height, width + 2 * MARGIN), np.float32)
        upsampler.rows(0, MARGIN, inputs)
        yield "dense", inputs[:, :, MARGIN:-MARGIN]
        yield "synthesis", Synthesiser(header, parameters.syn).run(inputs, height, 0, height)


def _decode_plane(part: CoolChic, parameters: Parameters, i: int, plane: I32) -> None:
    header, arm = part.header, prepare_arm(parameters.arm)
    context_size = header.topology.arm.context_size
    for _ in decode_plane(part.latents[i], arm, context_size, header.blk, i, plane):
        pass


def _predict(stream: Stream, frame: Frame, signals: list[F32], references: list[Picture]) -> F32:
    """Signal of a P or B frame from those of its two parts."""
    n_outputs = MIN_OUTPUTS[frame.header.frame_type]
    residue, motion = (signal[:n] for signal, n in zip(signals, n_outputs, strict=True))
    prediction = np.empty((3, *residue.shape[1:]), np.float32)

    def put(first: int, rows: F32) -> None:
        prediction[:, first : first + rows.shape[1]] = rows

    predict(stream, frame, residue, motion, references, put, Meter())
    return prediction
