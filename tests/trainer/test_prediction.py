# SPDX-License-Identifier: BSD-3-Clause
"""The error of predicted frames against plain torch and against the decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from numchic.v5.frame import to_samples
from numchic.v5.prediction import combine as decoded
from numchic_bitstream.arrays import F32
from numchic_bitstream.structure import FrameDataType
from numchic_trainer.kernels.prediction import NOTHING, PredictionSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.warp import combine

SIZES = [(2, 2), (6, 18), (48, 70), (130, 258)]


class Case:
    """A frame whose samples, alpha and beta lie inside, outside and on the borders of 0 .. 1."""

    def __init__(self, size: tuple[int, int], n_references: int, halved: bool) -> None:
        random = np.random.default_rng(size[0] + n_references)
        self.residue = random.normal(0, 0.1, (3 + n_references, *size)).astype(np.float32)
        self.residue[3:] = random.uniform(-1, 1, (n_references, *size)).astype(np.float32)
        self.residue[3:, 0, 0], self.residue[3:, 0, 1] = 0.5, -0.5
        warped = random.uniform(0, 1.2, (n_references, 3, *size)).astype(np.float32)
        self.warped = list(warped)
        small = (size[0] // 2, size[1] // 2) if halved else size
        sizes = (size, small, small)
        luma, *chroma = [random.uniform(0, 1, s).astype(np.float32) for s in sizes]
        self.original = (luma, chroma[0], chroma[1])

    def sweep(self, workers: Workers | None = None, maximum: int = 255) -> PredictionSweep:
        return PredictionSweep(self.original, maximum, workers or Workers())

    def outputs(self) -> tuple[F32, list[F32]]:
        return np.full_like(self.residue, np.nan), [np.full_like(w, np.nan) for w in self.warped]


def plain(signal: Tensor, original: tuple[F32, F32, F32]) -> Tensor:
    """Mean squared error as training sees it."""
    errors = []
    for channel, plane in zip(signal, original, strict=True):
        step = channel.shape[0] // plane.shape[0]
        mean = functional.avg_pool2d(channel[None], step)[0] if step > 1 else channel
        errors.append((mean.clamp(0, 1) - torch.from_numpy(plane).to(mean)) ** 2)
    return torch.cat([e.reshape(-1) for e in errors]).mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("halved", [False, True])
def test_value_and_derivatives(size: tuple[int, int], n_references: int, halved: bool) -> None:
    case = Case(size, n_references, halved)
    residue = torch.from_numpy(case.residue).double().requires_grad_()
    warped = [torch.from_numpy(w).double().requires_grad_() for w in case.warped]
    expected = plain(combine(residue, warped), case.original)
    expected.backward()  # type: ignore[no-untyped-call]
    d_residue, d_warped = case.outputs()
    found = case.sweep().differentiate(case.residue, case.warped, d_residue, d_warped)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    n = residue.shape[1] * residue.shape[2]
    for mine, leaf in zip((d_residue, *d_warped), (residue, *warped), strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(mine, leaf.grad.numpy(), rtol=1e-4, atol=1e-6 / n)


@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("halved", [False, True])
def test_some_derivatives_alone(n_references: int, halved: bool) -> None:
    case = Case((48, 70), n_references, halved)
    (d_residue, d_warped), (own_residue, own_warped) = case.outputs(), case.outputs()
    sweep, none = case.sweep(), [NOTHING] * n_references
    errors = [
        sweep.differentiate(case.residue, case.warped, d_residue, d_warped),
        sweep.differentiate(case.residue, case.warped, own_residue, none),
        sweep.differentiate(case.residue, case.warped, NOTHING, own_warped),
    ]
    assert errors == [errors[0]] * 3
    np.testing.assert_array_equal(own_residue, d_residue)
    np.testing.assert_array_equal(own_warped, d_warped)


def test_a_missing_beta_has_no_derivative() -> None:
    case = Case((6, 18), 1, halved=True)
    d_plain, d_warped = case.outputs()
    found = case.sweep().differentiate(case.residue, case.warped, d_plain, d_warped)
    case.residue = np.concatenate([case.residue, case.residue[3:]])
    d_residue, d_warped = case.outputs()
    assert case.sweep().differentiate(case.residue, case.warped, d_residue, d_warped) == found
    np.testing.assert_array_equal(d_residue[:4], d_plain)
    assert not d_residue[4].any()


@pytest.mark.parametrize(("raw", "wanted", "moves"), [
    (2.0, 0.2, True), (2.0, 1.0, False), (0.5, 1.0, True), (-0.5, 0.2, True), (-2.0, 0.2, True),
])  # fmt: skip
def test_alpha_outside_moves_inwards(raw: float, wanted: float, moves: bool) -> None:
    planes = (np.full((2, 2), wanted, np.float32),) * 3
    residue = np.zeros((4, 2, 2), np.float32)
    residue[3] = raw
    warped = [np.full((3, 2, 2), 0.6, np.float32)]
    d_residue = np.empty_like(residue)
    sweep = PredictionSweep(planes, 255, Workers())
    sweep.differentiate(residue, warped, d_residue, [np.empty_like(warped[0])])
    assert d_residue[3].any() == moves
    leaf = torch.from_numpy(residue).requires_grad_()
    plain(combine(leaf, [torch.from_numpy(warped[0])]), planes).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    np.testing.assert_allclose(d_residue, leaf.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("data_type", ["rgb", "yuv420", "yuv444"])
@pytest.mark.parametrize("bitdepth", [8, 10])
def test_evaluation_is_of_the_decoders_samples(
    size: tuple[int, int], n_references: int, data_type: FrameDataType, bitdepth: int
) -> None:
    case = Case(size, n_references, data_type == "yuv420")
    signal = decoded(case.residue, np.stack(case.warped))
    maximum = (1 << bitdepth) - 1
    samples = to_samples(signal, data_type, bitdepth)
    planes = [p.astype(np.float32) / np.float32(maximum) for p in samples]
    errors = [(p - o).astype(np.float64) ** 2 for p, o in zip(planes, case.original, strict=True)]
    expected = sum(e.sum() for e in errors) / sum(e.size for e in errors)
    found = case.sweep(maximum=maximum).evaluate(case.residue, case.warped)
    assert found == pytest.approx(expected, rel=1e-6)
    # No sample differs.
    case.original = (planes[0], planes[1], planes[2])
    assert case.sweep(maximum=maximum).evaluate(case.residue, case.warped) == 0.0


@pytest.mark.parametrize("n_references", [1, 2])
def test_signals_in_torch_are_the_decoders(n_references: int) -> None:
    case = Case((48, 70), n_references, halved=True)
    expected = decoded(case.residue, np.stack(case.warped))
    in_torch = combine(torch.from_numpy(case.residue), [torch.from_numpy(w) for w in case.warped])
    np.testing.assert_array_equal(in_torch.numpy(), expected)


@pytest.mark.parametrize("place", [0, 1, 3, 4])
@pytest.mark.parametrize("halved", [False, True])
def test_nan_is_not_clamped_away(place: int, halved: bool) -> None:
    case = Case((6, 18), 2, halved)
    case.residue[place, 5, 17] = np.nan
    d_residue, d_warped = case.outputs()
    assert np.isnan(case.sweep().differentiate(case.residue, case.warped, d_residue, d_warped))
    assert np.isnan(case.sweep().evaluate(case.residue, case.warped))


@pytest.mark.parametrize("halved", [False, True])
def test_threads_change_nothing(halved: bool) -> None:
    case = Case((260, 258), 2, halved)
    results = []
    for n_threads in (1, 2, 3):
        d_residue, d_warped = case.outputs()
        with Workers(n_threads) as workers:
            sweep = case.sweep(workers)
            error = sweep.differentiate(case.residue, case.warped, d_residue, d_warped)
            evaluated = sweep.evaluate(case.residue, case.warped)
        derivatives = [d.tobytes() for d in (d_residue, *d_warped)]
        results.append((error, evaluated, derivatives))
    assert results[0] == results[1] == results[2]
