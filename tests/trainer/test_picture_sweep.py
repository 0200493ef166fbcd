# SPDX-License-Identifier: BSD-3-Clause
"""From latents to the picture without tensors, against the plain torch modules in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch

from numchic_bitstream.arrays import F32, F64
from numchic_trainer import CoolChicEncoder, CoolChicEncoderParameter
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import picture_parameters

PRESETS: tuple[Preset, ...] = get_args(Preset)


class Case:
    """A model with weights drawn at random, symbols and derivatives by the picture."""

    def __init__(self, parameter: CoolChicEncoderParameter) -> None:
        torch.manual_seed(1)
        self.model = CoolChicEncoder(parameter)
        with torch.no_grad():
            for weight in picture_parameters(self.model):
                weight.add_(0.1 * torch.randn_like(weight))
        derived = self.model.header.derived
        random = np.random.default_rng(2)
        self.symbols = random.normal(size=derived.n_samples).astype(np.float32)
        n_out = self.model.synthesis.layer_forms[-1].out_ft
        self.d_raw = random.normal(size=(n_out, *derived.dense_size)).astype(np.float32)
        self.weights = [w.detach().numpy() for w in picture_parameters(self.model)]

    def sweep(self, workers: Workers) -> PictureSweep:
        header = self.model.header
        assert PictureSweep.fits(header)
        noise = None
        if header.flag_common_randomness:
            noise = self.model.get_buffer("noise")[0].numpy()
        return PictureSweep(header, noise, workers)

    def run(self, workers: Workers) -> list[F32]:
        """Picture and derivatives by the symbols and all weights; the second time around."""
        sweep = self.sweep(workers)
        sweep.render(-self.symbols, self.weights)
        raw = sweep.render(self.symbols, self.weights).copy()
        for _ in range(2):
            d_symbols = np.ones_like(self.symbols)
            d_weights = [np.full_like(weight, np.nan) for weight in self.weights]
            sweep.differentiate(self.symbols, self.d_raw, d_symbols, d_weights)
        return [raw, d_symbols - np.float32(1.0), *d_weights]

    def expected(self) -> Sequence[F64]:
        self.model.double()  # the plain way
        symbols = torch.from_numpy(self.symbols).double().requires_grad_()
        sizes = [grid.n_samples for grid in self.model.grids]
        parts = zip(torch.split(symbols, sizes), self.model.grids, strict=True)
        dense = self.model.dense([part.view(grid.shape) for part, grid in parts])
        raw = self.model.synthesis(dense)[0]
        leaves = [symbols, *picture_parameters(self.model)]
        incoming = torch.from_numpy(self.d_raw).double()
        gradients = torch.autograd.grad(raw, leaves, incoming, materialize_grads=True)
        return [raw.detach().numpy(), *(gradient.numpy() for gradient in gradients)]


def case(preset: Preset, size: tuple[int, int], **settings: Any) -> Case:
    return Case(architecture(TrainConfig(preset=preset, **settings), preset, size))


def residue(hidden: int, n_out: int) -> list[str]:
    return [f"{hidden}-1-linear-relu", f"{n_out}-1-linear-none", f"{n_out}-3-residual-none"]


def motion(hidden: int, n_out: int) -> list[str]:
    return residue(hidden, n_out)[:2]


FRAMES: dict[str, dict[str, Any]] = {
    "residue P": {"layers_synthesis": residue(16, 4)},
    "residue B": {"layers_synthesis": residue(8, 5)},
    "residue B, two 3 x 3 layers": {
        "layers_synthesis": [*motion(16, 5), "5-3-residual-relu", "5-3-residual-none"]
    },
    "motion P": {"layers_synthesis": motion(8, 2), "latent_resolution": (2, 6)},
    "motion B": {"layers_synthesis": motion(16, 4), "latent_resolution": (2, 6)},
    "motion with a 3 x 3 layer": {"layers_synthesis": residue(7, 2), "latent_resolution": (2, 6)},
    "tiny residue": {"layers_synthesis": motion(8, 4), "linear_stabiliser_synth": False},
    "tiny motion": {
        "layers_synthesis": ["2-1-linear-none"],
        "linear_stabiliser_synth": False,
        "latent_resolution": (2, 6),
        "ups_k_size": 4,
        "ups_preconcat_k_size": 1,
    },
    "skip residue": {
        "layers_synthesis": ["4-1-linear-none"],
        "linear_stabiliser_synth": False,
        "latent_resolution": (0, 0),
        "ups_k_size": 4,
        "ups_preconcat_k_size": 1,
    },
    "skip at the coarsest level": {
        "layers_synthesis": ["5-1-linear-none"],
        "latent_resolution": (6, 6),
    },
    "one layer, stabiliser, randomness": {
        "layers_synthesis": ["3-1-linear-none"],
        "latent_resolution": (0, 3),
        "flag_common_randomness": True,
    },
    "no 3 x 3 layer, randomness": {
        "layers_synthesis": motion(5, 3),
        "latent_resolution": (0, 1),
        "flag_common_randomness": True,
    },
}


def frame(name: str, size: tuple[int, int]) -> Case:
    settings: dict[str, Any] = {"hyper_latent_resolution": None, **FRAMES[name]}
    return Case(CoolChicEncoderParameter(img_size=size, **settings))


def assert_close(found: Sequence[F32], expected: Sequence[F64]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 9), (9, 1), (65, 130)])
def test_presets(preset: Preset, size: tuple[int, int]) -> None:
    example = case(preset, size)
    assert_close(example.run(Workers()), example.expected())


@pytest.mark.parametrize(
    "settings",
    [
        {"common_randomness": True},
        {"latent_resolution": (1, 5)},
        {"latent_resolution": (2, 2)},
        {"latent_resolution": (0, 0)},
        {"latent_resolution": (0, 1), "hyperlatent_resolution": None},
    ],
)
def test_settings(settings: dict[str, Any]) -> None:
    example = case("mop", (65, 130), **settings)
    assert_close(example.run(Workers()), example.expected())


@pytest.mark.parametrize(("x2_size", "preconcat_size"), [(4, 1), (6, 3), (8, 5)])
@pytest.mark.parametrize("stabiliser", [True, False])
def test_sizes_that_no_preset_has(x2_size: int, preconcat_size: int, stabiliser: bool) -> None:
    parameter = CoolChicEncoderParameter(
        layers_synthesis=["5-1-linear-relu", "3-1-linear-none"]
        + ["3-3-residual-relu"] * 2
        + ["3-3-residual-none"],
        linear_stabiliser_synth=stabiliser,
        ups_k_size=x2_size,
        ups_preconcat_k_size=preconcat_size,
        img_size=(37, 23),
        latent_resolution=(0, 3),
        hyper_latent_resolution=None,
    )
    example = Case(parameter)
    assert_close(example.run(Workers()), example.expected())


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (16, 12), (77, 131)])
def test_models_of_frames_of_videos(name: str, size: tuple[int, int]) -> None:
    example = frame(name, size)
    assert_close(example.run(Workers()), example.expected())


@pytest.mark.parametrize("preset", ["lop", "hop"])
def test_any_number_of_threads_gives_the_same_bits(preset: Preset) -> None:
    assert_same_with_threads(case(preset, (150, 301)))


@pytest.mark.parametrize("name", FRAMES)
def test_any_number_of_threads_gives_the_same_bits_for_frames(name: str) -> None:
    lowest, _ = FRAMES[name].get("latent_resolution", (0, 6))
    assert_same_with_threads(frame(name, (150 << min(lowest, 2), 301 << min(lowest, 2))))


def assert_same_with_threads(example: Case) -> None:
    one = example.run(Workers())
    for n_threads in (2, 4):
        with Workers(n_threads) as workers:
            for a, b in zip(one, example.run(workers), strict=True):
                np.testing.assert_array_equal(a, b)


def test_finite_differences() -> None:
    assert_slope(case("lop", (17, 18)))


@pytest.mark.parametrize("name", FRAMES)
def test_finite_differences_for_frames(name: str) -> None:
    assert_slope(frame(name, (45, 34)))


def assert_slope(example: Case) -> None:
    """Compare derivatives with differences along a direction of symbols and all weights."""
    sweep = example.sweep(Workers())
    point = [example.symbols, *example.weights]
    random = np.random.default_rng(3)
    direction = [random.normal(size=a.shape).astype(np.float32) for a in point]
    step = np.float32(2e-4)

    def loss(factor: np.float32) -> float:
        symbols, *weights = [a + factor * d for a, d in zip(point, direction, strict=True)]
        return float(np.vdot(sweep.render(symbols, weights).astype(np.float64), example.d_raw))

    slope = sum(map(np.vdot, example.run(Workers())[1:], direction))
    assert (loss(step) - loss(-step)) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=0.5)


@pytest.mark.parametrize(
    ("layers", "x2_size", "preconcat_size"),
    [
        (["8-1-linear-relu", "3-1-linear-none", "3-3-residual-none"], 10, 7),
        (["8-1-linear-relu", "3-1-linear-none", "3-3-residual-none"], 8, 9),
        (["1-1-linear-none"], 8, 7),
        (["6-1-linear-none"], 8, 7),
        (["3-1-linear-relu"], 8, 7),
        (["3-1-linear-none", "3-1-linear-none"], 8, 7),
        (["3-1-linear-none", "3-3-residual-none"], 8, 7),
        (["8-1-linear-relu", "3-1-linear-none", "3-3-residual-relu"], 8, 7),
        (["8-1-linear-relu", "3-1-linear-none", "3-5-residual-none"], 8, 7),
        (["8-1-linear-relu", "2-1-linear-none", "3-3-residual-none"], 8, 7),
        (["3-3-linear-relu", "3-1-linear-none", "3-3-residual-none"], 8, 7),
    ],
)
def test_other_architectures_do_not_fit(
    layers: list[str], x2_size: int, preconcat_size: int
) -> None:
    parameter = CoolChicEncoderParameter(
        layers_synthesis=layers,
        ups_k_size=x2_size,
        ups_preconcat_k_size=preconcat_size,
        img_size=(8, 8),
    )
    assert not PictureSweep.fits(parameter.to_header())
