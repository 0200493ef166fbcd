# SPDX-License-Identifier: BSD-3-Clause
"""Draw a picture and write it as a Cool-chic stream, without training: ``rings.cool``.

Every latent grid drives one colour direction. Going from the coarsest grid to the finest, each one
codes what is still missing in its direction, so this is a Laplacian pyramid with the networks of
Cool-chic set by hand.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numchic.v5.latents import encode_latents
from numchic.v5.upsampling import upsample
from numchic_bitstream import (
    CoolChic,
    CoolChicHeader,
    Descriptor,
    Frame,
    FrameHeader,
    Stream,
    SynthesisLayer,
    VideoHeader,
    write_parameters,
    write_stream,
)
from numchic_bitstream.v5.parameters import zero_parameters

HEIGHT, WIDTH = 96, 144
LUMA, WARM, GREEN = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]])
DIRECTIONS = (LUMA, LUMA, WARM, LUMA, GREEN, WARM, LUMA)  # finest grid first
STEP = 1 / 32

HEADER = CoolChicHeader(
    linear_stabiliser_synth=0,
    ups_k_size=4,
    ups_preconcat_k_size=1,
    output_feature_ifce=0,
    spatial_context_arm=4,
    linear_stabiliser_arm=0,
    n_hidden_layers_arm=0,
    img_size=(HEIGHT, WIDTH),
    latent_resolution=(0, len(DIRECTIONS) - 1),
    nn_q_step=Descriptor(4, 12, 0, 0, 8, 0, 4, 16),  # steps 1/16, 1/16, -, -, 1/16, -, 1/256, 1/256
    nn_expgol_cnt=Descriptor(1, 3, 0, 0, 2, 0, 0, 6),
    syn_layer=(SynthesisLayer(3, 1, "linear", "none"),),
)


def draw() -> NDArray[np.float64]:
    """RGB picture in 0 .. 1: rings on a coloured gradient."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(y - 44.0, x - 60.0)
    rings = 0.22 * np.clip(4 * np.sin(radius / 4), -1, 1) * (radius < 40)
    base = np.stack([0.35 + 0.4 * x / WIDTH, 0.3 + 0.3 * y / HEIGHT, 0.7 - 0.4 * x / WIDTH])
    picture: NDArray[np.float64] = base + rings
    return picture


def main() -> None:
    """Write the stream next to this file."""
    grids = HEADER.derived.grids
    parameters = zero_parameters(HEADER)
    parameters.arm.output.weight[0] = [11, 11, -6, 0]  # mu: a plane through three neighbours
    parameters.arm.output.bias[1] = 16 * 3  # b = exp(3 - 4)
    for layer in parameters.upsampling.x2:
        layer.weight[:] = [4, 12]  # linear interpolation
    for channel, direction in enumerate(DIRECTIONS):
        parameters.synthesis.trunk[0].weight[:, channel, 0, 0] = np.rint(256 * STEP * direction)
    parameters.synthesis.trunk[0].bias[:] = 128

    missing = draw() - 0.5
    latents = [np.zeros(grid.shape, np.int8) for grid in grids]
    for k in reversed(range(len(grids))):
        direction, size, block = DIRECTIONS[k], grids[k], 2 ** grids[k].level
        wanted = np.tensordot(direction / (direction @ direction), missing, 1) / STEP
        padded = np.pad(
            wanted, ((0, size.height * block - HEIGHT), (0, size.width * block - WIDTH)), "edge"
        )
        means = padded.reshape(size.height, block, size.width, block).mean((1, 3))
        latents[k] = np.clip(np.rint(means), -64, 63).astype(np.int8)
        alone = [grid if i == k else np.zeros_like(grid) for i, grid in enumerate(latents)]
        shown = upsample(HEADER, parameters.upsampling, alone)[k]
        missing -= STEP * direction[:, None, None] * shown

    nn_payload, nn_n_bit_pad = write_parameters(HEADER, parameters)
    header = replace(HEADER, nn_n_bit_pad=nn_n_bit_pad)
    coolchic = CoolChic(header, nn_payload, encode_latents(header, parameters, latents))
    stream = Stream(VideoHeader(), (Frame(FrameHeader(), coolchic),))
    Path(__file__).with_suffix("").with_name("rings.cool").write_bytes(write_stream(stream))


if __name__ == "__main__":
    main()
