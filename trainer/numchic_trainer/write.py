# SPDX-License-Identifier: BSD-3-Clause
"""Model <-> stream (coolchic-5, section 14)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from numchic.memory import estimate_memory
from numchic.opened import check_work
from numchic.picture import Picture
from numchic.v5.latents import decode_latents, encode_latents
from numchic_bitstream import (
    CoolChic,
    Frame,
    FrameHeader,
    LimitError,
    Limits,
    Metadata,
    Parameters,
    Stream,
    StreamError,
    UsageError,
    VideoHeader,
    append_trailer,
    read_stream,
    write_stream,
)
from numchic_bitstream.arrays import I8
from numchic_bitstream.v5.headers import MAX_Q_STEP, Descriptor
from numchic_bitstream.v5.parameters import (
    flat_parameters,
    read_parameters,
    write_parameters,
    zero_parameters,
)
from numchic_trainer.model.encoder import KINDS, MODULES, CoolChicEncoder, CoolChicEncoderParameter


def load_model(coolchic: CoolChic, encoder_gain: int = 16) -> CoolChicEncoder:
    """Model with the parameters and latents of a stream.

    Parameters
    ----------
    coolchic : CoolChic
    encoder_gain : int
        Gain of the model; not part of the stream.
    """
    header = coolchic.header
    parameters = read_parameters(header, coolchic.nn_payload, coolchic.nn_offset)
    parameter = CoolChicEncoderParameter.from_header(header, encoder_gain)
    model = CoolChicEncoder(parameter, torch.Generator())  # what is drawn is replaced
    exponents = header.derived.steps
    with torch.no_grad():
        for module, kind, flat in flat_parameters(header, parameters):
            name = f"{module}_{kind}"
            step = 2.0 ** -getattr(exponents, name)
            if module != "ifce" or model.ifce is not None:
                model.nn_q_step[module][kind] = step
                model.nn_expgol_cnt[module][kind] = getattr(header.nn_expgol_cnt, name)
            tensors = model.network_parameters(module, kind)  # type: ignore[arg-type]
            parts = np.split(flat, np.cumsum([t.numel() for t in tensors])[:-1])
            for tensor, part in zip(tensors, parts, strict=False):
                values = torch.from_numpy(part.astype(np.float32)) * step
                tensor.copy_(values.view(tensor.shape))
        for latent, grid in zip(
            model.latent_grids, decode_latents(coolchic, parameters), strict=True
        ):
            latent.copy_(torch.from_numpy(grid.astype(np.float32)) / encoder_gain)
    return model


def integer_parameters(model: CoolChicEncoder) -> Parameters:
    """Quantised parameters of a model as the integers of the stream.

    Raises
    ------
    UsageError
        A module has not been quantised.
    """
    parameters = zero_parameters(model.header)
    for module in MODULES:
        layers = getattr(parameters, module).layers()
        for kind in KINDS:
            step = model.nn_q_step[module][kind]
            if step is None and layers:
                raise UsageError("the module is not quantised", module)
            tensors = model.network_parameters(module, kind)  # type: ignore[arg-type]
            for layer, tensor in zip(layers, tensors, strict=True):
                values = torch.round(tensor.detach() / step).to(torch.int64).cpu().numpy()
                target = getattr(layer, kind)
                target[...] = values.reshape(target.shape)
    return parameters


def write_model(model: CoolChicEncoder) -> CoolChic:
    """Write a quantised model; sizes of the payloads are filled in."""
    steps, orders = [], []
    for name, maximum in MAX_Q_STEP._asdict().items():
        module, kind = name.rsplit("_", 1)
        step = model.nn_q_step[module][kind]
        steps.append(0 if step is None else maximum + int(np.log2(step)))
        orders.append(model.nn_expgol_cnt[module][kind] or 0)
    header = model.param.to_header(Descriptor(*steps), Descriptor(*orders))
    parameters = integer_parameters(model)
    nn_payload, nn_n_bit_pad = write_parameters(header, parameters)
    grids = [grid.to(torch.int64).cpu().numpy() for grid in model.quantised_latents()]
    latent_payload = encode_latents(header, parameters, grids)
    header = dataclasses.replace(
        header,
        n_latent_grids=len(grids) % 32,
        nn_n_bytes=len(nn_payload),
        nn_n_bit_pad=nn_n_bit_pad,
        n_bytes_latent=len(latent_payload),
    )
    return CoolChic(header, nn_payload, latent_payload)


def verified_latents(model: CoolChicEncoder, coolchic: CoolChic) -> list[I8]:
    """Decode the latents and compare them with those of the model.

    Raises
    ------
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    parameters = read_parameters(coolchic.header, coolchic.nn_payload)
    written = [grid.to(torch.int64).cpu().numpy() for grid in model.quantised_latents()]
    decoded = decode_latents(coolchic, parameters)
    for ours, theirs in zip(decoded, written, strict=True):
        if not np.array_equal(ours, theirs):
            raise RuntimeError("the decoder gives other latents than were written")
    return decoded


def write_still(picture: Picture, coolchic: CoolChic) -> bytes:
    """Stream of one frame like a picture, without a trailer."""
    header = FrameHeader(bitdepth=picture.bitdepth, frame_data_type=picture.data_type)
    return write_stream(Stream(VideoHeader(), (Frame(header, coolchic),)))


def check_format(
    parameter: CoolChicEncoderParameter, picture: Picture, metadata: Metadata | None
) -> None:
    """Raise before a training what would be refused after it.

    Raises
    ------
    UsageError
        See :func:`check_stream`.
    """
    header = FrameHeader(bitdepth=picture.bitdepth, frame_data_type=picture.data_type)
    check_stream(Stream(VideoHeader(), (Frame(header, empty_part(parameter)),)), metadata)


def empty_part(parameter: CoolChicEncoderParameter) -> CoolChic:
    """Part of a frame with the least payloads, of which only the headers mean anything."""
    n_grids = len(parameter.to_header().derived.grids)
    header = dataclasses.replace(
        parameter.to_header(), nn_n_bytes=1, n_bytes_latent=4, n_latent_grids=n_grids % 32
    )
    return CoolChic(header, bytes(1), bytes(4))


def check_stream(empty: Stream, metadata: Metadata | None) -> None:
    """Write a stream of empty parts and read it again.

    Raises
    ------
    UsageError
        The format cannot express it, the metadata are too large, or it exceeds the default limits
        of the decoder.
    """
    limits = Limits()
    try:
        data = write_stream(empty)
        append_trailer(data, 0, metadata=metadata)
        stream = read_stream(data, limits)
        check_work(stream, limits)
        limits.check("memory_bytes", estimate_memory(stream))
    except (StreamError, LimitError) as error:
        raise UsageError(error.reason, error.field, None, error.found, error.allowed) from error
