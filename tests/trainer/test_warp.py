# SPDX-License-Identifier: BSD-3-Clause
"""Warping in training against the decoder's, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numchic.v5.resize import resize
from numchic.v5.warp import warp_rows
from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.warp import WarpSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.warp import warp

FILTERS = [2, 4, 6, 8, 10, 12, 14]
# Sizes of a picture and of its field: exact blocks of four, cut ones, and other fields.
SIZES = [
    ((16, 24), (4, 6)),
    ((9, 13), (3, 4)),
    ((17, 26), (5, 7)),
    ((20, 21), (20, 21)),
    ((20, 20), (1, 3)),
    ((5, 7), (9, 15)),
]


class Case:
    def __init__(self, size: tuple[int, int], field: tuple[int, int]) -> None:
        random = np.random.default_rng(sum(size))
        self.size = size
        self.reference = random.uniform(0, 1, (*size, 4)).astype(np.float32)
        self.reference[:, :, 3] = 0
        self.vectors = random.normal(0, 5, (2, *field)).astype(np.float32)
        flat = self.vectors.reshape(-1)
        special = np.array([0, -0.0, 3, -2, 1e-30, -1e-30, 0.5, -77.25, 1e4, -3e9])
        flat[random.permutation(flat.size)[: special.size]] = special[: flat.size]

    def dense(self) -> F32:
        return np.ascontiguousarray(resize(self.vectors, self.size, "nearest"))

    def sweep(self, k: int, workers: Workers | None = None) -> WarpSweep:
        return WarpSweep(self.reference, k, self.vectors.shape[1:], workers or Workers())


def decoded(reference: F32, flow: F32, k: int) -> F32:
    out = np.empty((3, *reference.shape[:2]), np.float32)
    warp_rows(reference, flow, k, 0, out)
    return out


def by_torch(case: Case, k: int, d_out: F32) -> F32:
    """Derivatives by the vectors of the field, in float64."""
    index = np.arange(case.vectors[0].size, dtype=np.float32).reshape(1, *case.vectors.shape[1:])
    owner = torch.from_numpy(resize(index, case.size, "nearest").reshape(-1)).long()
    # k = 2 and 4 go through float32 coordinates, which decide on which side of a sample they are.
    dtype = torch.float64 if k >= 6 else torch.float32
    field = torch.from_numpy(case.vectors).to(dtype).requires_grad_()
    dense = field.reshape(2, -1)[:, owner].reshape(2, *case.size)
    reference = torch.from_numpy(case.reference[:, :, :3]).to(dtype).permute(2, 0, 1)
    total = (warp(reference, dense, k) * torch.from_numpy(d_out).to(dtype)).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert field.grad is not None
    return field.grad.float().numpy()


@pytest.mark.parametrize("k", FILTERS)
@pytest.mark.parametrize(("size", "field"), SIZES)
def test_values_are_the_decoders(size: tuple[int, int], field: tuple[int, int], k: int) -> None:
    case = Case(size, field)
    found = case.sweep(k).warp(case.vectors)
    np.testing.assert_array_equal(found, decoded(case.reference, case.dense(), k))


@pytest.mark.parametrize("k", FILTERS)
@pytest.mark.parametrize("size", [(12, 16), (9, 13), (1, 5)])
def test_values_in_torch_are_the_decoders(size: tuple[int, int], k: int) -> None:
    case = Case(size, size)
    reference = torch.from_numpy(case.reference[:, :, :3]).permute(2, 0, 1)
    found = warp(reference, torch.from_numpy(case.vectors), k).numpy()
    wanted = decoded(case.reference, case.vectors, k)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 if k >= 6 else 1e-4)


@pytest.mark.parametrize("k", FILTERS)
def test_derivatives_in_torch_are_finite_differences(k: int) -> None:
    random = np.random.default_rng(k)
    reference = torch.from_numpy(random.uniform(0, 1, (3, 16, 21)))
    shape, step = (2, 16, 21), 1e-5
    # Away from integers; those of k = 2 are where a position is clipped, too.
    values = random.integers(-6, 6, shape) + random.uniform(0.05, 0.95, shape)
    vectors = torch.from_numpy(values).requires_grad_()
    weights = torch.from_numpy(random.normal(0, 1, reference.shape))
    (warp(reference, vectors, k) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    for axis in range(2):
        # A vector moves its own pixel alone, so that all may be moved together.
        moved = torch.zeros_like(vectors)
        moved[axis] = step
        after, before = [warp(reference, vectors.detach() + d, k) for d in (moved, -moved)]
        expected = ((after - before) / (2 * step) * weights).sum(0)
        torch.testing.assert_close(vectors.grad[axis], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("k", FILTERS)
@pytest.mark.parametrize(("size", "field"), SIZES)
def test_derivatives_are_those_of_torch(
    size: tuple[int, int], field: tuple[int, int], k: int
) -> None:
    case = Case(size, field)
    d_out = np.random.default_rng(k).normal(0, 1, (3, *size)).astype(np.float32)
    sweep, found = case.sweep(k), np.full_like(case.vectors, np.nan)
    sweep.warp(case.vectors)
    sweep.differentiate(d_out, found)
    np.testing.assert_allclose(found, by_torch(case, k, d_out), rtol=1e-4, atol=1e-4)


def test_zero_vectors_can_be_left() -> None:
    ramp = np.zeros((16, 16, 4), np.float32)
    ramp[:, :, :3] = np.linspace(0, 1, 16, dtype=np.float32)[None, :, None]
    sweep = WarpSweep(ramp, 8, (4, 4), Workers())
    vectors = np.zeros((2, 4, 4), np.float32)
    np.testing.assert_allclose(sweep.warp(vectors), ramp[:, :, :3].transpose(2, 0, 1), atol=1e-7)
    sweep.differentiate(np.ones((3, 16, 16), np.float32), vectors)
    assert (vectors[0] > 0.5).all()


@pytest.mark.parametrize("k", FILTERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(k: int, value: float) -> None:
    case = Case((16, 24), (4, 6))
    case.vectors[:] = 0
    case.vectors[0, 1, 2] = value
    found = case.sweep(k).warp(case.vectors)
    if k > 2 or np.isnan(value):
        assert np.isnan(found[:, 4:8, 8:12]).all()
    found[:, 4:8, 8:12] = 0
    assert np.isfinite(found).all()


@pytest.mark.parametrize("k", [4, 8])
def test_threads_change_nothing(k: int) -> None:
    case = Case((151, 262), (38, 66))
    d_out = np.random.default_rng(k).normal(0, 1, (3, *case.size)).astype(np.float32)
    results = []
    for n_threads in (1, 2, 3):
        with Workers(n_threads) as workers:
            sweep, d_vectors = case.sweep(k, workers), np.empty_like(case.vectors)
            out = sweep.warp(case.vectors)
            sweep.differentiate(d_out, d_vectors)
        results.append((out.tobytes(), d_vectors.tobytes()))
    assert results[0] == results[1] == results[2]
