# SPDX-License-Identifier: BSD-3-Clause
"""The sweep over all latents against the plain model in float64 (training, sections 2.4 and 3)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from numchic_bitstream.arrays import F32
from numchic_trainer import CoolChicEncoder, CoolChicEncoderParameter
from numchic_trainer.architecture import architecture
from numchic_trainer.config import PRESETS, Preset, TrainConfig
from numchic_trainer.kernels import rate
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import rate_parameters


class Case(NamedTuple):
    """A model with grids, and the same as arrays."""

    model: CoolChicEncoder
    grids: list[Tensor]
    symbols: F32
    weights: list[F32]

    def sweep(self, n_threads: int = 1) -> RateSweep:
        return RateSweep(self.model.header, Workers(n_threads))


class Derivatives(NamedTuple):
    """What :meth:`RateSweep.differentiate` gives."""

    bits: float
    symbols: F32
    weights: list[F32]


def case(parameter: CoolChicEncoderParameter) -> Case:
    torch.manual_seed(parameter.img_size[0])
    model = CoolChicEncoder(parameter)
    with torch.no_grad():
        for weight in rate_parameters(model):
            weight.add_(0.1 * torch.randn_like(weight))
        model.arm.output.bias[1] += 4.0  # scales near 1
    grids = [2.0 * torch.randn(grid.shape) for grid in model.grids]
    symbols = torch.cat([grid.flatten() for grid in grids]).numpy()
    return Case(model, grids, symbols, [w.detach().numpy() for w in rate_parameters(model)])


def small(**changes: Any) -> Case:
    """A case of few numbers, with some of them changed."""
    parameter: dict[str, Any] = {
        "layers_synthesis": ["3-1-linear-none"],
        "output_feature_ifce": 3,
        "spatial_context_arm": 7,
        "img_size": (65, 130),
    }
    return case(CoolChicEncoderParameter(**parameter | changes))


def differentiate(a: Case, sweep: RateSweep, scale: float = 1.0) -> Derivatives:
    d_symbols = np.full_like(a.symbols, np.nan)
    d_weights = [np.full_like(weight, np.nan) for weight in a.weights]
    bits = sweep.differentiate(a.symbols, a.weights, scale, d_symbols, d_weights)
    return Derivatives(bits, d_symbols, d_weights)


def close(found: F32, truth: Tensor) -> bool:
    error = np.abs(found - truth.numpy()).max()
    return bool(error <= 2e-4 * max(float(truth.abs().max()), 1e-2))


def assert_equal_to_plain(a: Case) -> None:
    found = differentiate(a, a.sweep())
    assert a.sweep().bits(a.symbols, a.weights) == found.bits
    a.model.double()  # the plain way
    grids = [grid.double().requires_grad_() for grid in a.grids]
    total = a.model.latent_rate(grids)
    assert found.bits == pytest.approx(total.item(), rel=1e-6)
    # The IFCE of the coarsest grid multiplies zeros.
    leaves = [*grids, *rate_parameters(a.model)]
    truth = torch.autograd.grad(total, leaves, materialize_grads=True)
    by_grids, by_weights = truth[: len(grids)], truth[len(grids) :]
    assert close(found.symbols, torch.cat([g.flatten() for g in by_grids]))
    for mine, expected in zip(found.weights, by_weights, strict=True):
        assert mine.shape == expected.shape
        assert close(mine, expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: Preset) -> None:
    config = TrainConfig(preset=preset, iterations=100)
    assert_equal_to_plain(case(architecture(config, preset, (70, 45))))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (9, 1), (2, 9), (37, 23), (65, 130), (3, 1100), (1100, 3)]
)
def test_sizes(size: tuple[int, int]) -> None:
    assert_equal_to_plain(small(img_size=size, spatial_context_arm=40))


@pytest.mark.parametrize(
    "changes",
    [
        {"hyper_latent_resolution": None},
        {"hyper_latent_resolution": (0, 6)},  # features of a grid as large as itself
        {"ifce_resolution": None},
        {"ifce_resolution": (1, 6)},
        {"ifce_resolution": (5, 5)},
        {"ifce_resolution": None, "spatial_context_arm": 2},  # the output layer is residual
        {"ifce_resolution": None, "spatial_context_arm": 1},
        {"linear_stabiliser_arm": False},
        {"n_hidden_layers_arm": 0},
        {"n_hidden_layers_arm": 0, "linear_stabiliser_arm": False},
        {"n_hidden_layers_arm": 0, "ifce_resolution": None, "spatial_context_arm": 2},
        {"n_hidden_layers_arm": 1},
        {"n_hidden_layers_arm": 3},
        {"latent_resolution": (1, 3), "hyper_latent_resolution": (2, 3)},
    ],
)
def test_architectures(changes: dict[str, Any]) -> None:
    assert_equal_to_plain(small(**changes))


SKIP = {
    "hyper_latent_resolution": None,
    "ifce_resolution": None,
    "output_feature_ifce": 0,
    "linear_stabiliser_arm": False,
    "n_hidden_layers_arm": 0,
}


@pytest.mark.parametrize("levels", [(0, 0), (6, 6), (2, 6)])
@pytest.mark.parametrize("n_contexts", [1, 2, 6])
@pytest.mark.parametrize("size", [(1, 1), (16, 12), (77, 131)])
def test_smallest_models(levels: tuple[int, int], n_contexts: int, size: tuple[int, int]) -> None:
    changes = {"latent_resolution": levels, "spatial_context_arm": n_contexts, "img_size": size}
    assert_equal_to_plain(small(**SKIP | changes))


@pytest.mark.parametrize("changes", [SKIP, SKIP | {"spatial_context_arm": 1}])
def test_smallest_models_with_threads(changes: dict[str, Any]) -> None:
    a = small(**changes | {"latent_resolution": (0, 0), "img_size": (200, 260)})
    one, *others = [differentiate(a, a.sweep(n)) for n in (1, 2, 4)]
    for other in others:
        assert other.bits == one.bits
        assert np.array_equal(other.symbols, one.symbols)
        assert all(map(np.array_equal, other.weights, one.weights))


def test_bands_lower_than_the_reach_of_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_LEAST", 100)
    monkeypatch.setattr(rate, "_MOST_PARTS", 1000)
    a = small(img_size=(60, 70), spatial_context_arm=40)
    assert len(a.sweep()._parts) > 20
    assert_equal_to_plain(a)


def test_many_sheets_in_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_LEAST", 10**6)
    a = small(img_size=(150, 260), spatial_context_arm=40)
    assert len(a.sweep()._parts) == 1
    assert_equal_to_plain(a)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    a = small(img_size=(200, 260))
    one, *others = [differentiate(a, a.sweep(n)) for n in (1, 2, 4)]
    for other in others:
        assert other.bits == one.bits
        assert np.array_equal(other.symbols, one.symbols)
        assert all(map(np.array_equal, other.weights, one.weights))


def test_a_sweep_remembers_nothing() -> None:
    a, b = small(), small(spatial_context_arm=7)
    b.symbols[:] *= -0.5
    sweep = a.sweep()
    differentiate(b, sweep)
    again, fresh = differentiate(a, sweep), differentiate(a, a.sweep())
    assert again.bits == fresh.bits
    assert np.array_equal(again.symbols, fresh.symbols)
    assert all(map(np.array_equal, again.weights, fresh.weights))


def test_scale() -> None:
    a = small()
    plain, scaled = differentiate(a, a.sweep()), differentiate(a, a.sweep(), 0.25)
    assert scaled.bits == plain.bits
    pairs = [(plain.symbols, scaled.symbols), *zip(plain.weights, scaled.weights, strict=True)]
    assert all(np.array_equal(0.25 * x, y) for x, y in pairs)


def test_finite_differences() -> None:
    a = small(img_size=(21, 34))
    sweep = a.sweep()
    found = differentiate(a, sweep)
    arrays = [a.symbols, *a.weights]
    for array, slopes in zip(arrays, [found.symbols, *found.weights], strict=True):
        flat, step = array.reshape(-1), 1e-3
        for i in range(0, flat.size, max(flat.size // 7, 1)):
            before = flat[i]
            totals = []
            for moved in (before + step, before - step):
                flat[i] = moved
                totals.append(sweep.bits(a.symbols, a.weights))
            flat[i] = before
            slope = (totals[0] - totals[1]) / (2 * step)
            tolerance = 0.05 * float(np.abs(slopes).max())
            assert slope == pytest.approx(float(slopes.flat[i]), abs=tolerance)


def test_details() -> None:
    a = small()
    bits, mu, scale = a.sweep().details(a.symbols, a.weights)
    assert bits.sum(dtype=np.float64) == pytest.approx(a.sweep().bits(a.symbols, a.weights))
    a.model.double()
    contexts = a.model.contexts([grid.double() for grid in a.grids])
    true_mu, true_scale, _ = a.model.arm(contexts.t())
    np.testing.assert_allclose(mu, true_mu.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scale, true_scale.detach(), rtol=1e-4)


def test_the_model_uses_the_sweep() -> None:
    a = small()
    found = differentiate(a, a.sweep())
    grids = [grid.clone().requires_grad_() for grid in a.grids]
    total = a.model.latent_rate(grids)
    assert total.item() == np.float32(found.bits)
    leaves = [*grids, *rate_parameters(a.model)]
    gradients = torch.autograd.grad(3.0 * total, leaves)
    by_grids = torch.cat([gradient.flatten() for gradient in gradients[: len(grids)]])
    assert np.array_equal(by_grids, 3.0 * found.symbols)
    assert all(map(np.array_equal, gradients[len(grids) :], [3.0 * w for w in found.weights]))
    with torch.no_grad():
        assert a.model.latent_rate(grids) == total
        given = a.model.latent_rate(grids, a.model.contexts(grids))
    assert given.item() == pytest.approx(total.item(), rel=1e-6)


def test_nan_is_not_hidden() -> None:
    a = small()
    a.symbols[100] = np.nan
    assert np.isnan(a.sweep().bits(a.symbols, a.weights))
