# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation of the networks: the sample, second derivatives, steps and integers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from numchic_bitstream.v5 import expgolomb
from numchic_bitstream.v5.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_trainer import CoolChicEncoder
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.kernels.integers import add_code_lengths, code_length, descend
from numchic_trainer.model.encoder import KINDS, MODULES
from numchic_trainer.model.laplace import laplace_bits
from numchic_trainer.quantisation import rdoq, stepsearch
from numchic_trainer.quantisation.curvature import (
    rate_curvature,
    synthesis_curvature,
    synthesis_rows,
)
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.sample import BLOCK, HalfLosses, PictureSample, RateSample
from numchic_trainer.quantisation.stepsearch import best_order, quantise_networks, whole_loss
from numchic_trainer.training.ssim import ssim
from numchic_trainer.training.target import Target


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """At these sizes more threads only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def encoder(
    size: tuple[int, int] = (18, 26), preset: Preset = "lop", **changes: Any
) -> CoolChicEncoder:
    """Model with latents and networks drawn at random."""
    torch.manual_seed(1)
    parameter = architecture(TrainConfig(hyperlatent_resolution=None), preset, size)
    for name, value in changes.items():
        setattr(parameter, name, value)
    model = CoolChicEncoder(parameter)
    model.synthesis.output_transform.bias.data += 0.5
    with torch.no_grad():
        for grid in model.latent_grids:
            grid.normal_(0, 0.1)
        for network in (model.arm, model.ifce, model.synthesis.trunk):
            for p in [] if network is None else network.parameters():
                p.add_(torch.randn_like(p), alpha=0.03)
    return model


def target_of(model: CoolChicEncoder, planes: str = "rgb") -> Target:
    """Target near the output of a model."""
    with torch.no_grad():
        raw = model.eval()()["raw_out"]
    y, u, v = torch.clamp(raw + 0.02 * torch.randn_like(raw), 0, 1)[0]
    if planes == "yuv420":
        u, v = (plane[: len(plane) // 2 * 2 : 2, : plane.shape[1] // 2 * 2 : 2] for plane in (u, v))
    return Target((y, u, v), 1e-3)


FORMS: list[dict[str, Any]] = [
    {},
    {"preset": "hop"},
    {"ifce_resolution": None},
    {"hyper_latent_resolution": (4, 6)},
    {"hyper_latent_resolution": (0, 2), "ifce_resolution": (0, 4)},
    {"flag_common_randomness": True},
    {"latent_resolution": (1, 3), "ifce_resolution": (1, 3)},
    {"latent_resolution": (0, 0), "ifce_resolution": (0, 0)},
    {"linear_stabiliser_arm": False, "linear_stabiliser_synth": False},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(18, 26), (1, 1), (1, 37), (65, 13)])
def test_sample_of_a_small_picture_is_the_whole(
    form: dict[str, Any], size: tuple[int, int]
) -> None:
    model = encoder(size, **form)
    target = target_of(model)
    output = model()
    losses = HalfLosses(model, target, size[0] * size[1] * 3)
    assert losses.symbols.n_symbols == sum(grid.numel() for grid in model.latent_grids)
    rate = target.rate_weight() * output["rate"]
    distortion = target.distortion(output["raw_out"], rounded=True)
    for module, whole in zip(MODULES, (rate, rate, distortion, distortion), strict=True):
        if module != "ifce" or model.ifce is not None:
            torch.testing.assert_close(losses.half(module)(True), whole, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("preset", ["lop", "hop"])
def test_sample_of_symbols_is_near_the_whole(preset: Preset) -> None:
    model = encoder((205, 301), preset, hyper_latent_resolution=(4, 6)).eval()
    whole = model()["rate"].detach()
    found = RateSample(model, 9000)
    assert 8500 < found.n_symbols < 9500
    torch.testing.assert_close(found.bits().detach(), whole, rtol=0.02, atol=0)
    assert sum(part.weight * part.symbols.numel() for part in found.parts) == pytest.approx(
        sum(grid.numel() for grid in model.latent_grids), rel=1e-3
    )


@pytest.mark.parametrize("form", [{}, {"ups_k_size": 4, "ups_preconcat_k_size": 3}, FORMS[5]])
def test_blocks_are_what_they_are_in_the_whole(form: dict[str, Any]) -> None:
    model = encoder((205, 333), "mop", **form).eval()
    with torch.no_grad():
        for p in model.upsampling.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
        target = target_of(model)
        found = PictureSample(model, target, 6 * BLOCK**2)
        dense = found.dense()
        blocks = torch.split(found.render(dense), BLOCK, 2)
        whole = model.render(model.dense(model.quantised_latents()))
        assert len(found.blocks) == len(blocks) == 6
        for (rows, columns), block in zip(found.blocks, blocks, strict=True):
            torch.testing.assert_close(block, whole[..., rows, columns], rtol=1e-4, atol=1e-5)
        planes = torch.stack(target.planes)
        parts = [planes[:, rows, columns] for rows, columns in found.blocks]
        clamped = [torch.clamp(block, 0, 1) for block in blocks]
        wanted = torch.stack(
            [torch.mean((a - b) ** 2) for a, b in zip(clamped, parts, strict=True)]
        )
        distortion = found.distortion(dense, rounded=False)
        torch.testing.assert_close(distortion, wanted.mean(), rtol=1e-4, atol=1e-8)


def test_blocks_of_halved_chroma_have_even_bounds() -> None:
    model = encoder((203, 207), "hop")
    target = target_of(model, "yuv420")
    found = PictureSample(model, target, 4 * BLOCK**2)
    assert len(found.blocks) == 4
    for rows, columns in found.blocks:
        assert rows.start % 2 == columns.start % 2 == 0
    whole = target.distortion(model.eval()()["raw_out"], rounded=False)
    sampled = found.distortion(found.dense(), rounded=False)
    torch.testing.assert_close(sampled, whole, rtol=0.1, atol=0)


def test_what_blocks_cannot_judge_is_judged_as_a_whole() -> None:
    resized = encoder((200, 200), latent_resolution=(1, 3), ifce_resolution=None)
    assert not PictureSample(resized, target_of(resized), 5000).blocks
    model = encoder((200, 200))
    tuned = dataclasses.replace(target_of(model), measure=ssim())
    assert not PictureSample(model, tuned, 5000).blocks
    narrow = encoder((60, 2000))
    assert not PictureSample(narrow, target_of(narrow), 5000).blocks


def _gradient(value: Tensor, parameters: list[Tensor]) -> Tensor:
    found = torch.autograd.grad(
        value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten() for g in found])


def _parameters(model: CoolChicEncoder, *modules: str) -> list[Tensor]:
    return [
        p
        for module in modules
        for kind in KINDS
        for p in model.network_parameters(module, cast("Any", kind))
        if p.requires_grad
    ]


@pytest.mark.parametrize("form", [{}, {"ifce_resolution": None}, FORMS[4], FORMS[8]])
def test_curvature_of_the_rate(form: dict[str, Any]) -> None:
    """The plain form: the gradient of every symbol on its own."""
    model = encoder((6, 7), **form)
    found = RateSample(model, 1000)
    names = ["arm"] if model.ifce is None else ["arm", "ifce"]
    parameters = _parameters(model, *names)
    (part,), (contexts,) = found.parts, found.contexts()
    mu, scale, _ = model.arm(contexts.t())
    bits = laplace_bits(part.symbols, mu, scale)
    rows = torch.stack([_gradient(b, parameters) for b in bits])
    wanted = math.log(2) * rows.t() @ rows
    torch.testing.assert_close(rate_curvature(model, found), wanted, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("form", [{"preset": "hop"}, FORMS[5], FORMS[8]])
def test_derivatives_of_single_pixels(form: dict[str, Any]) -> None:
    model = encoder(**form)
    side = 2 * model.header.derived.reach + 1
    patches = torch.randn(7, model.header.derived.synthesis_inputs, side, side)
    found = synthesis_rows(model, patches, torch.Generator().manual_seed(3))
    signs = torch.randint(0, 2, (7, 3, 1, 1), generator=torch.Generator().manual_seed(3)) * 2.0 - 1
    parameters = _parameters(model, "synthesis")
    for patch, sign, row in zip(patches, signs, found, strict=True):
        centre = model.synthesis(patch[None])[0, :, side // 2, side // 2]
        value = (sign[:, 0, 0] * torch.clamp(centre, 0, 1)).sum()
        torch.testing.assert_close(row, _gradient(value, parameters), rtol=1e-4, atol=1e-4)


def test_curvature_of_the_synthesis() -> None:
    """The mean over random signs is the Gauss-Newton matrix; all pixels, borders too."""
    model = encoder((7, 6))
    dense = model.dense(model.quantised_latents()).detach()
    parameters = _parameters(model, "synthesis")
    samples = torch.clamp(model.synthesis(dense), 0, 1).flatten()
    rows = torch.stack([_gradient(sample, parameters) for sample in samples])
    wanted = 2 / len(rows) * rows.t() @ rows
    generator = torch.Generator().manual_seed(1)
    draws = [synthesis_curvature(model, dense, 10**6, generator) for _ in range(200)]
    assert float((torch.stack(draws).mean(0) - wanted).norm()) < 0.1 * float(wanted.norm())


def test_code_lengths() -> None:
    integers = np.array([0, 1, -1, 2, -7, 300, -65535, 65535])
    bits = np.zeros(MAX_EXPGOL_CNT + 1, np.int64)
    add_code_lengths(integers, bits)
    for order in range(MAX_EXPGOL_CNT + 1):
        lengths = [len(expgolomb.encode([int(q)], order)) for q in integers]
        assert [code_length(int(q), order) for q in integers] == lengths
        assert bits[order] == sum(lengths)
    assert best_order(integers) == (int(np.argmin(bits)), int(bits.min()))


def test_descent_ends_where_no_single_move_helps() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(30, 12)).astype(np.float32)
    curvature, damping = rows.T @ rows, rng.random(12)
    full = curvature.astype(np.float64) + np.diag(damping)
    start, slope = rng.integers(-20, 20, 12), 50 * rng.normal(size=12)
    orders, price = rng.integers(0, 4, 12), 3.0

    def value(integers: Any) -> float:
        d = integers - start
        bits = sum(
            code_length(int(q), int(order)) for q, order in zip(integers, orders, strict=True)
        )
        return float(slope @ d + d @ full @ d / 2 + price * bits)

    found, left = start.copy(), slope.copy()
    change = descend(found, left, curvature, damping, orders, price)
    assert change < 0
    assert change == pytest.approx(value(found) - value(start))
    np.testing.assert_allclose(left, slope + full @ (found - start), rtol=1e-6, atol=1e-6)
    for i in range(12):
        for shift in (-3, -2, -1, 1, 2, 3):
            moved = found.copy()
            moved[i] += shift
            assert value(moved) >= value(found) - 1e-6


SIZES: list[tuple[tuple[int, int], dict[str, Any], str]] = [
    ((1, 1), {}, "rgb"),
    ((1, 37), {"hyper_latent_resolution": (4, 6)}, "rgb"),
    ((65, 130), {"preset": "hop"}, "rgb"),
    ((64, 66), {}, "yuv420"),
    ((40, 40), {"ifce_resolution": None, "flag_common_randomness": True}, "rgb"),
    ((41, 40), {"latent_resolution": (1, 3), "ifce_resolution": (1, 3)}, "rgb"),
]


@pytest.mark.parametrize(("size", "form", "planes"), SIZES)
def test_integers_are_better_than_rounded_parameters(
    size: tuple[int, int], form: dict[str, Any], planes: str
) -> None:
    model = encoder(size, **form)
    target = target_of(model, planes)
    stepped = quantise_networks(model, target)
    assert stepped == pytest.approx(whole_loss(model, target))
    state, orders = model.get_param(), _copied(model.nn_expgol_cnt)
    found = optimise_integers(model, target, 5)
    assert found == pytest.approx(whole_loss(model, target))
    assert found < stepped if size != (1, 1) else found <= stepped
    for module in MODULES:
        for kind in KINDS:
            if module == "ifce" and model.ifce is None:
                continue
            step, order = model.nn_q_step[module][kind], model.nn_expgol_cnt[module][kind]
            assert 0 <= -math.log2(step) <= getattr(MAX_Q_STEP, f"{module}_{kind}")
            assert 0 <= order <= MAX_EXPGOL_CNT
            for p in model.network_parameters(module, cast("Any", kind)):
                integers = p.detach() / step
                assert torch.equal(integers, torch.round(integers))
                assert float(integers.abs().max()) <= 65535
    after = model.get_param()
    model.set_param(state)
    model.nn_expgol_cnt = orders
    assert optimise_integers(model, target, 5) == found
    assert all(torch.equal(a, b) for a, b in zip(after.values(), model.parameters(), strict=True))


def _copied(of_module: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {module: dict(of_kind) for module, of_kind in of_module.items()}


def test_blocks_and_sampled_symbols_serve_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for n_samples in (10**6, 3 * BLOCK**2):
        monkeypatch.setattr(stepsearch, "_N_SAMPLES", n_samples)
        monkeypatch.setattr(rdoq, "_N_SAMPLES", n_samples)
        model = encoder((150, 210))
        target = target_of(model)
        found += [quantise_networks(model, target), optimise_integers(model, target)]
    assert found[1] < found[0]
    assert found[2] == pytest.approx(found[0], rel=0.02)
    assert found[3] < found[2]


def test_what_is_worse_on_the_whole_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder()
    target = target_of(model)
    quantise_networks(model, target)
    state, orders = model.get_param(), _copied(model.nn_expgol_cnt)
    losses = iter((1.0, 2.0))
    monkeypatch.setattr(rdoq, "whole_loss", lambda *_: next(losses))
    assert optimise_integers(model, target) == 1.0
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.parameters(), strict=True))
    assert model.nn_expgol_cnt == orders


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        model = encoder((90, 100), "mop")
        target = target_of(model)
        quantise_networks(model, target)
        results.append((optimise_integers(model, target), model.get_param()))
    assert results[0][0] == results[1][0]
    first, second = (param.values() for _, param in results)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("preset", ["lop", "hop"])
def test_search_is_hardly_worse_than_all_steps(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for patience in (stepsearch._PATIENCE, {1: 30, -1: 30}):
        monkeypatch.setattr(stepsearch, "_PATIENCE", patience)
        model = encoder((40, 50), preset)
        losses.append(quantise_networks(model, target_of(model)))
    assert losses[0] <= losses[1] * 1.01


def test_parameters_too_large_for_a_fine_step() -> None:
    model = encoder()
    with torch.no_grad():
        model.synthesis.stabiliser.weight[0, 0] = 3000.0  # type: ignore[union-attr]
    quantise_networks(model, target_of(model))
    step = model.nn_q_step["synthesis"]["weight"]
    assert 3000 / step <= 65535
