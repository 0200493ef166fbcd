# SPDX-License-Identifier: BSD-3-Clause
"""The torch modules agree with the decoder, and models survive the way through a stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numchic.v5.latents import decode_latents
from numchic.v5.noise import common_randomness
from numchic.v5.resize import resize
from numchic.v5.synthesis import synthesise
from numchic.v5.upsampling import upsample
from numchic_bitstream import NumchicError, read_parameters, read_stream
from numchic_trainer.write import load_model, write_model
from vectors import Vector, still_vectors


@pytest.mark.parametrize("vector", still_vectors())
def test_torch_forward_equals_the_decoder(vector: Vector) -> None:
    try:
        (frame,) = read_stream(vector.read()).frames
        model = load_model(frame.residue).eval()
    except NumchicError:
        pytest.skip("refused by the decoder")
    header, part = model.header, frame.residue
    with torch.no_grad():
        output = model()
    parameters = read_parameters(part.header, part.nn_payload)
    grids = decode_latents(part, parameters)
    latents = header.derived.latents(grids)
    dense = upsample(part.header, parameters.upsampling, latents)
    if header.flag_common_randomness:
        noise = common_randomness(header.img_size, *header.latent_resolution)
        dense = np.concatenate([dense, noise])
    expected = resize(
        synthesise(part.header, parameters.synthesis, dense),
        header.img_size,
        header.final_upsampling_type,
    )
    found = output["raw_out"][0].numpy()
    assert np.abs(found - expected).max() <= 2e-5 * max(1.0, np.abs(expected).max())
    if vector.name.startswith(("trained", "kodim")):
        payload_bits = 8 * len(part.latent_payload)
        assert abs(float(output["rate"]) - payload_bits) <= 0.01 * payload_bits + 64


@pytest.mark.parametrize("vector", still_vectors())
def test_a_loaded_model_is_written_back(vector: Vector) -> None:
    try:
        (frame,) = read_stream(vector.read()).frames
        model = load_model(frame.residue)
    except NumchicError:
        pytest.skip("refused by the decoder")
    written = write_model(model)
    assert written.latent_payload == frame.residue.latent_payload
    assert written.nn_payload == frame.residue.nn_payload
