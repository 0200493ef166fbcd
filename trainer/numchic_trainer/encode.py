# SPDX-License-Identifier: BSD-3-Clause
"""Encode a picture: train, quantise, write, decode again and compare."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import numchic
from numchic.latents import decode_latents
from numchic_bitstream import Frame, FrameHeader, Stream, UsageError, VideoHeader, write_stream
from numchic_bitstream.parameters import read_parameters
from numchic_trainer.config import TrainConfig, architecture
from numchic_trainer.networks.rdoq import optimise_integers
from numchic_trainer.networks.stepsearch import quantise_networks
from numchic_trainer.training.train import Progress, Target, train
from numchic_trainer.write import write_model


@dataclass(frozen=True)
class EncodeResult:
    """What :func:`encode` returns.

    Attributes
    ----------
    stream : bytes
    psnr_db, mse : float
        Of the decoded picture; the error in [0, 1] units.
    bits_per_pixel : float
        Of the whole stream.
    loss : float
        mse + lambda * bits_per_pixel.
    cpu_seconds : dict
        Process CPU time per phase.
    """

    stream: bytes
    psnr_db: float
    mse: float
    bits_per_pixel: float
    loss: float
    cpu_seconds: dict[str, float]


def encode(
    image: NDArray[np.uint8] | NDArray[np.uint16],
    config: TrainConfig | None = None,
    *,
    bitdepth: int = 8,
    progress: Progress | None = None,
) -> EncodeResult:
    """Encode an RGB picture.

    Parameters
    ----------
    image : uint8 or uint16, shape (H, W, 3)
    config : TrainConfig, optional
    bitdepth : int
        8 .. 16.
    progress : callable, optional
        Called with phase, iterations done, iterations in all and the last loss. An exception it
        raises stops the training.

    Returns
    -------
    EncodeResult

    Raises
    ------
    UsageError
        The array is not a picture of this depth.
    RuntimeError
        The decoder does not give back what was written: a bug.
    """
    config = config or TrainConfig()
    maximum = (1 << bitdepth) - 1
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.max() > maximum:
        raise UsageError(
            "not an RGB picture", "image", None, image.shape, f"(H, W, 3), {bitdepth} bits"
        )
    torch.set_num_threads(config.threads)
    samples = torch.from_numpy(image.astype(np.float32) / np.float32(maximum))
    target = Target(samples.permute(2, 0, 1)[None].contiguous(), config.lmbda, maximum)
    parameter = architecture(config.preset, (image.shape[0], image.shape[1]), config.lmbda)
    clock = [time.process_time()]
    model = train(parameter, target, config, progress)
    clock.append(time.process_time())
    quantise_networks(model, target)
    clock.append(time.process_time())
    optimise_integers(model, target, config.seed)
    clock.append(time.process_time())
    coolchic = write_model(model)
    frame = Frame(FrameHeader(bitdepth=bitdepth), coolchic)
    stream = write_stream(Stream(VideoHeader(), (frame,)))
    parameters = read_parameters(coolchic.header, coolchic.nn_payload)
    written = [grid.to(torch.int64).numpy() for grid in model.quantised_latents()]
    for ours, theirs in zip(decode_latents(coolchic, parameters), written, strict=True):
        if not np.array_equal(ours, theirs):
            raise RuntimeError("the decoder gives other latents than were written")
    decoded = numchic.decode(stream).to_rgb()
    error = (decoded.astype(np.float64) - image) / maximum
    mse = float(np.mean(error**2))
    clock.append(time.process_time())
    bpp = 8 * len(stream) / (image.shape[0] * image.shape[1])
    seconds = dict(
        zip(("train", "quantise", "rdoq", "write"), np.diff(clock).tolist(), strict=True)
    )
    psnr = float(-10 * np.log10(max(mse, 1e-12)))
    return EncodeResult(stream, psnr, mse, bpp, mse + config.lmbda * bpp, seconds)
