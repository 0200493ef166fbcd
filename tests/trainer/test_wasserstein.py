# SPDX-License-Identifier: BSD-3-Clause
"""The perceptual distortion (training, section 11)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from numchic import UsageError
from numchic_trainer import TrainConfig, encode
from numchic_trainer.training.distortion import Planes
from numchic_trainer.training.features import FilterBank, Vgg16
from numchic_trainer.training.wasserstein import Wasserstein, wasserstein_distance
from pictures import picture, yuv_picture


def maps(*shapes: tuple[int, int, int]) -> list[Tensor]:
    return [torch.rand(shape, dtype=torch.float64) for shape in shapes]


def low_pass(x: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros_like(x)
    height, width = x.shape
    for dy, wy in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        for dx, wx in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            for i in range(height):
                for j in range(width):
                    if 0 <= i + dy < height and 0 <= j + dx < width:
                        result[i, j] += wy * wx * x[i + dy, j + dx]
    return result


def naive_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of one channel, from the text."""
    log2_sigma = np.full(a.shape, 3.0)
    total = float(np.mean(np.maximum(0, 1 - np.abs(log2_sigma)) * (a - b) ** 2))
    statistics = [(a, a**2), (b, b**2)]
    for level in range(1, 6):
        statistics = [(low_pass(f), low_pass(f2)) for f, f2 in statistics]
        (ma, ea), (mb, eb) = statistics
        sa, sb = (np.sqrt(np.maximum(e - m**2, 5e-7)) for m, e in statistics)
        weight = np.maximum(0, 1 - np.abs(log2_sigma - level))
        total += float(np.mean(weight * ((ma - mb) ** 2 + (sa - sb) ** 2)))
        statistics = [(ma[::2, ::2], ea[::2, ::2]), (mb[::2, ::2], eb[::2, ::2])]
        log2_sigma = low_pass(log2_sigma)[::2, ::2]
    return total


@pytest.mark.parametrize("size", [(1, 1), (9, 14), (33, 20)])
def test_distance_is_that_of_the_text(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    a, b = maps((2, *size)), maps((2, *size))
    naive = [naive_distance(x.numpy(), y.numpy()) for x, y in zip(a[0], b[0], strict=True)]
    assert float(wasserstein_distance(a, b)) == pytest.approx(np.mean(naive))
    assert float(wasserstein_distance(a, a)) == 0.0


def test_gradient() -> None:
    torch.manual_seed(0)
    (b,) = maps((2, 7, 9))
    (a,) = maps((2, 7, 9))
    a[:, 2:] = 0.3  # flat: the variance is clamped
    a.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: wasserstein_distance([x + 0.1 * torch.sin(9 * x)], [b]), [b.requires_grad_()]
    )
    full, cut = (
        torch.autograd.grad(wasserstein_distance([a], [b], reference_gradient=mode), a)[0]
        for mode in (False, True)
    )
    assert torch.isfinite(full).all()
    assert not torch.allclose(full, cut)


def samples(*size: int) -> Tensor:
    return torch.from_numpy(picture(*size).astype(np.float32) / 255).permute(2, 0, 1)[None]


def three(batch: Tensor) -> Planes:
    y, u, v = batch[0]
    return y, u, v


def test_filter_bank() -> None:
    found = FilterBank()(samples(40, 70))
    assert [tuple(m.shape) for m in found] == [(13, 40, 70), (13, 20, 35), (13, 10, 17), (13, 5, 8)]
    again = FilterBank()(samples(40, 70))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert len(FilterBank()(samples(1, 1))) == 1


def test_texture_is_judged_by_its_statistics() -> None:
    torch.manual_seed(1)
    base = torch.full((1, 3, 96, 96), 0.5)
    texture = (base + 0.1 * torch.randn(1, 3, 96, 96)).clamp(0, 1)
    other = (base + 0.1 * torch.randn(1, 3, 96, 96)).clamp(0, 1)
    blurred = F.avg_pool2d(F.pad(texture, (2,) * 4, mode="replicate"), 5, 1)
    measure, original = Wasserstein(), three(texture)
    assert F.mse_loss(other, texture) > F.mse_loss(blurred, texture)
    found = measure(three(other), original) - 0.2 * F.mse_loss(other, texture)
    assert found < 0.2 * measure(three(blurred), original)


def test_vgg16(tmp_path: Path) -> None:
    torch.manual_seed(2)
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21]
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512]
    tensors = {}
    for i, n_in, n_out in zip(indices, widths, widths[1:], strict=False):
        tensors[f"features.{i}.weight"] = torch.randn(n_out, n_in, 3, 3) / (9 * n_in) ** 0.5
        tensors[f"features.{i}.bias"] = torch.zeros(n_out)
    path = tmp_path / "vgg.safetensors"
    save_file(tensors, path)
    found = Vgg16(path)(samples(16, 24))
    shapes = [tuple(m.shape) for m in found]
    assert shapes == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    del tensors["features.21.bias"]
    save_file(tensors, path)
    with pytest.raises(UsageError, match=r"features\.21\.bias"):
        Vgg16(path)


def test_encoding_with_any_extractor() -> None:
    calls = []

    def extractor(x: Tensor) -> list[Tensor]:
        calls.append(x.shape)
        return [x[0]]

    config = TrainConfig(preset="lop", iterations=40, tune="wasserstein")
    result = encode(picture(16, 16), config, extractor=extractor)
    assert calls
    assert result.stream != encode(picture(16, 16), config).stream
    with pytest.raises(UsageError, match="RGB"):
        encode(yuv_picture(8, 8, "yuv420"), config)
