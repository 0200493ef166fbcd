# SPDX-License-Identifier: BSD-3-Clause
"""Encoding from the picture to the stream, with tiny pictures and few iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import numchic
from numchic_bitstream import expgolomb
from numchic_trainer.config import TrainConfig, architecture
from numchic_trainer.encode import encode
from numchic_trainer.networks.rdoq import code_length, optimise_integers
from numchic_trainer.networks.stepsearch import best_order, quantise_networks
from numchic_trainer.training.train import Target, evaluate, train
from numchic_trainer.write import write_model


def picture(height: int, width: int, maximum: int = 255) -> NDArray[Any]:
    y, x = np.mgrid[:height, :width]
    channels = [x / max(width - 1, 1), y / max(height - 1, 1), (x + y) % 7 / 7]
    dtype = np.uint8 if maximum == 255 else np.uint16
    samples: NDArray[Any] = np.rint(maximum * np.stack(channels, -1)).astype(dtype)
    return samples


@pytest.mark.parametrize("preset", ["lop", "mop", "hop", "vhop"])
def test_every_preset_gives_a_stream_that_decodes(preset: Any) -> None:
    config = TrainConfig(preset=preset, iterations=60)
    result = encode(picture(17, 23), config)
    decoded = numchic.decode(result.stream)
    error = np.mean(((decoded.to_rgb() - picture(17, 23).astype(float)) / 255) ** 2)
    assert result.mse == pytest.approx(error)
    assert result.bits_per_pixel == 8 * len(result.stream) / (17 * 23)
    assert result.loss == pytest.approx(result.mse + 1e-3 * result.bits_per_pixel)
    assert result.mse < np.var(picture(17, 23) / 255)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 2)])
def test_tiny_pictures(height: int, width: int) -> None:
    result = encode(picture(height, width), TrainConfig(preset="lop", iterations=20))
    assert numchic.decode(result.stream).to_rgb().shape == (height, width, 3)


def test_deep_samples() -> None:
    result = encode(picture(9, 9, 1023), TrainConfig(preset="lop", iterations=20), bitdepth=10)
    assert numchic.decode(result.stream).bitdepth == 10


def test_the_same_seed_gives_the_same_stream() -> None:
    streams = [
        encode(picture(16, 16), TrainConfig(preset="lop", iterations=30, seed=seed)).stream
        for seed in (1, 1, 2)
    ]
    assert streams[0] == streams[1] != streams[2]


def test_more_iterations_give_a_lower_loss() -> None:
    losses = [
        encode(picture(32, 32), TrainConfig(preset="lop", iterations=n)).loss for n in (30, 300)
    ]
    assert losses[1] < losses[0]


def test_progress_and_cancelling() -> None:
    phases = []

    def progress(phase: str, done: int, total: int, loss: float) -> None:
        assert 0 < done <= total
        assert loss > 0
        phases.append(phase)
        if phase == "main":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(picture(8, 8), TrainConfig(preset="lop", iterations=30), progress=progress)
    assert set(phases) == {"warm-up", "main"}


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.full((4, 4, 3), 300, np.uint16)])
def test_what_is_not_a_picture_is_refused(image: Any) -> None:
    with pytest.raises(numchic.UsageError, match="RGB"):
        encode(image, TrainConfig(preset="lop", iterations=20))


def test_best_order_is_the_shortest_exact_code() -> None:
    random = np.random.default_rng(0)
    for magnitude in (0, 1, 5, 300, 40000):
        integers = random.integers(-magnitude, magnitude + 1, 200)
        lengths = [len(expgolomb.encode(integers.tolist(), order)) for order in range(13)]
        assert best_order(integers) == (int(np.argmin(lengths)), min(lengths))


def test_code_length_is_that_of_the_code() -> None:
    for order in (0, 1, 5, 12):
        for q in (0, 1, -1, 2, 7, -8, 300, -40000):
            assert code_length(q, order) == len(expgolomb.encode([q], order))


def test_quantisation_and_its_optimisation_lower_the_loss_they_report() -> None:
    samples = torch.from_numpy(picture(16, 24) / 255).float().permute(2, 0, 1)[None].contiguous()
    target = Target(samples, 1e-3)
    config = TrainConfig(preset="lop", iterations=60)
    model = train(architecture("lop", (16, 24), 1e-3), target, config)
    before = quantise_networks(model, target)
    assert model.get_network_rate()[1] > 0
    after = optimise_integers(model, target)
    assert after < before
    coolchic = write_model(model)
    assert 8 * len(coolchic.nn_payload) - coolchic.header.nn_n_bit_pad == sum(
        sum(kinds.values()) for kinds in model.get_network_rate()[0].values()
    )
    assert abs(evaluate(model, target) + 1e-3 * model.get_network_rate()[1] / 384 - after) < 1e-6


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    encode(picture(4, 4), TrainConfig(preset="lop", iterations=20))
    assert torch.equal(torch.rand(1), expected)
