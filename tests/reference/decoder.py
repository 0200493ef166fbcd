# SPDX-License-Identifier: BSD-3-Clause
"""The whole decoder of a still image: specification, sections 1.2, 3.3, 9 - 12 in sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import frame, headers, latents, noise, resize, synthesis, upsampling
from .parameters import Parameters, decode_parameters, real_arrays


def float_stages(
    header: headers.Header, parameters: Parameters, grids: Sequence[Any]
) -> dict[str, Any]:
    """Sections 9 to 11 of one Cool-chic decoder."""
    lo, hi = header["latent_resolution"]
    height, width = header["img_size"]
    infos = headers.grid_list(header)
    latent_grids = [grids[k] for k, (_, is_hyper, _, _) in enumerate(infos) if not is_hyper]

    kernels = real_arrays(header, parameters, "upsampling.weight")
    dense = upsampling.upsample(latent_grids, kernels[:hi], kernels[hi:])

    synthesis_input = dense
    if header["flag_common_randomness"] == 1:
        field = noise.common_randomness((height, width), lo, hi)
        synthesis_input = np.concatenate([dense, field])

    weights = real_arrays(header, parameters, "synthesis.weight")
    biases = real_arrays(header, parameters, "synthesis.bias")
    affine = list(zip(weights, biases, strict=True))
    output_transform = affine.pop(0)
    stabiliser = affine.pop(0) if header["linear_stabiliser_synth"] == 1 else None
    layers = [
        (weight, bias, layer["mode"] == "residual", layer["non_linearity"] == "relu")
        for (weight, bias), layer in zip(affine, header["syn_layer"], strict=True)
    ]
    output = synthesis.synthesise(
        synthesis_input, len(latent_grids), layers, stabiliser, output_transform
    )
    resized = resize.resize(output, (height, width), header["final_upsampling_type"])
    return {
        "dense": dense,
        "synthesis_input": synthesis_input,
        "synthesis_output": output,
        "resized_output": resized,
    }


def decode_part(part: headers.Header) -> dict[str, Any]:
    """One Cool-chic decoder, as found by headers.read_file."""
    header = part["header"]
    parameters = decode_parameters(header, part["nn_payload"])
    grids = latents.decode_latents(header, parameters, part["latent_payload"])
    stages = {"header": header, "parameters": parameters, "grids": grids}
    return stages | float_stages(header, parameters, grids)


def decode_stages(data: bytes) -> dict[str, Any]:
    """All stages of a still image.

    Keys: video_header, frame_header, header, parameters (block name to flat list), grids (finest
    first), dense, synthesis_input, synthesis_output, resized_output, planes.
    """
    file = headers.read_file(data)
    if len(file["frames"]) != 1:
        raise ValueError("this is a video, not a still image")
    frame_header = file["frames"][0]["frame_header"]
    stages = decode_part(file["frames"][0]["residue"])
    stages["video_header"] = file["video_header"]
    stages["frame_header"] = frame_header
    stages["planes"] = frame.to_samples(
        stages["resized_output"], frame_header["frame_data_type"], frame_header["bitdepth"]
    )
    return stages


def decode(data: bytes) -> list[Any]:
    """The three integer planes of a still image."""
    planes: list[Any] = decode_stages(data)["planes"]
    return planes
