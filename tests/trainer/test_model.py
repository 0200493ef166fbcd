# SPDX-License-Identifier: BSD-3-Clause
"""The documented interface of the modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from numchic_bitstream.v5.parameters import n_parameters
from numchic_trainer import (
    Arm,
    ArmLinear,
    CoolChicEncoder,
    Synthesis,
    SynthesisConv2d,
    Upsampling,
    UpsamplingSeparableSymmetricConv2d,
    UpsamplingSeparableSymmetricConvTranspose2d,
)
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.functions import arm_rate
from numchic_trainer.model.laplace import laplace_bits


def small_encoder(**changes: object) -> CoolChicEncoder:
    torch.manual_seed(1)
    parameter = architecture(TrainConfig(), "lop", (18, 26))
    for name, value in changes.items():
        setattr(parameter, name, value)
    model = CoolChicEncoder(parameter)
    with torch.no_grad():
        for grid in model.latent_grids:
            grid.normal_(0, 0.1)
    return model


def test_presets_have_the_published_sizes() -> None:
    """Training, section 2.1: parameters per module and multiply-accumulates per pixel."""
    expected: dict[Preset, tuple[int, ...]] = {
        "lop": (180, 54, 60, 211),
        "mop": (480, 108, 60, 383),
        "hop": (924, 162, 60, 735),
        "vhop": (1512, 162, 60, 911),
    }
    config = TrainConfig(hyperlatent_resolution="auto")
    for preset, sizes in expected.items():
        model = CoolChicEncoder(architecture(config, preset, (256, 256)))
        assert tuple(n_parameters(model.header).values()) == sizes
        count = sum(p.numel() for n, p in model.named_parameters() if "latent" not in n)
        assert count == sum(sizes)
    assert model.get_total_mac_per_pixel() == pytest.approx(3000, rel=0.1)


def test_arm_linear() -> None:
    layer = ArmLinear(3, 3, residual=True)
    x = torch.randn(5, 3)
    assert torch.equal(layer(x), x)
    with pytest.raises(ValueError, match="as many"):
        ArmLinear(3, 2, residual=True)
    wide = ArmLinear(4000, 2)
    assert float(wide.weight.detach().std()) == pytest.approx(0.25, rel=0.05)
    assert not wide.bias.any()


@pytest.mark.parametrize("n_hidden", [0, 2])
@pytest.mark.parametrize("stabiliser", [False, True])
def test_arm_agrees_with_the_fused_rate(n_hidden: int, stabiliser: bool) -> None:
    arm = Arm(6, n_hidden, stabiliser)
    with torch.no_grad():
        for p in arm.parameters():
            p.normal_(0, 0.3)
    x = torch.randn(50, 6)
    symbols = torch.arange(50) % 7 - 3.0
    mu, scale, log_scale = arm(x)
    assert mu.shape == scale.shape == log_scale.shape == (50,)
    hidden: Any = [(layer.weight, layer.bias) for layer in arm.hidden]
    side = None if arm.stabiliser is None else (arm.stabiliser.weight, arm.stabiliser.bias)
    output = (arm.output.weight, arm.output.bias)
    for column, symbol, expected in zip(x, symbols, laplace_bits(symbols, mu, scale), strict=True):
        found = arm_rate(column[:, None], symbol[None], hidden, output, side)
        assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kernel_size", [4, 6, 8, 14])
def test_transposed_filter_equals_a_transposed_convolution(kernel_size: int) -> None:
    layer = UpsamplingSeparableSymmetricConvTranspose2d(kernel_size)
    with torch.no_grad():
        layer.weight.normal_()
    x = torch.randn(1, 1, 5, 7)
    kernel = torch.cat([layer.weight, layer.weight.flip(0)]).detach()
    margin = kernel_size
    padded = F.pad(x, (margin,) * 4, mode="replicate") if margin < 5 else None
    if padded is None:
        padded = F.pad(F.pad(x, (4,) * 4, mode="replicate"), (margin - 4,) * 4, mode="replicate")
    whole = F.conv_transpose2d(padded, torch.outer(kernel, kernel)[None, None], stride=2)
    start = 2 * margin + kernel_size // 2 - 1
    expected = whole[..., start : start + 10, start : start + 14]
    assert torch.allclose(layer(x), expected, atol=1e-4)


@pytest.mark.parametrize("kernel_size", [1, 3, 7, 15])
def test_separable_filter_equals_a_convolution(kernel_size: int) -> None:
    layer = UpsamplingSeparableSymmetricConv2d(kernel_size)
    x = torch.randn(1, 1, 5, 7)
    assert torch.allclose(layer(x), 2 * x)
    with torch.no_grad():
        layer.weight.normal_()
    kernel = torch.cat([layer.weight, layer.weight[:-1].flip(0)]).detach()
    square = torch.outer(kernel, kernel)[None, None]
    expected = F.conv2d(x, square, padding=kernel_size // 2) + x
    assert torch.allclose(layer(x), expected, atol=1e-4)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        UpsamplingSeparableSymmetricConvTranspose2d(5)
    with pytest.raises(ValueError, match="odd"):
        UpsamplingSeparableSymmetricConv2d(4)
    with pytest.raises(ValueError, match="48-1-linear-relu"):
        Synthesis(7, ["48-1-lin-relu"])
    with pytest.raises(ValueError, match="as many"):
        SynthesisConv2d(3, 4, 3, residual=True)


def test_shared_upsampling_kernels() -> None:
    latents = [torch.randn(1, 1, 9, 7), torch.randn(1, 1, 5, 4), torch.randn(1, 1, 3, 2)]
    assert Upsampling(8, 7, 1, 1)(latents).shape == (1, 3, 9, 7)


def test_synthesis_parameters_by_kind() -> None:
    synthesis = Synthesis(4, ["8-1-linear-relu", "3-3-linear-none"], True, True)
    assert synthesis.stabiliser is not None
    assert synthesis.stabiliser.weight.shape == (3, 2, 1, 1)
    weights, biases = synthesis.get_param("weight"), synthesis.get_param("bias")
    assert set(weights) | set(biases) == set(synthesis.get_param())
    assert synthesis(torch.randn(1, 4, 5, 6)).shape == (1, 3, 5, 6)


def test_forward_and_its_options() -> None:
    model = small_encoder(flag_common_randomness=True)
    output = model(flag_additional_outputs=True)
    assert output["raw_out"].shape == (1, 3, 18, 26)
    assert output["rate"].ndim == 0
    extra = output["additional_data"]
    total = float(sum(bits.sum() for bits in extra["rate"]))
    assert total == pytest.approx(float(output["rate"].detach()), rel=1e-4)
    model.eval()
    rounded = model(flag_additional_outputs=True, AC_MAX_VAL=1)["additional_data"]["latents"]
    assert all(torch.equal(grid, grid.round().clamp(-1, 2)) for grid in rounded)
    plain = model()["raw_out"]
    for option in ("no_common_randomness", "only_common_randomness"):
        assert not torch.equal(model(**{option: True})["raw_out"], plain)


def test_every_parameter_gets_a_gradient() -> None:
    model = small_encoder()
    with torch.no_grad():
        for layer in (*model.arm.hidden, *model.synthesis.trunk):
            layer.weight.add_(0.01 * torch.randn_like(layer.weight))
    output = model()
    (output["raw_out"].square().mean() + 1e-3 * output["rate"]).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name


def test_parameters_are_copied_out_and_put_back() -> None:
    model = small_encoder()
    before, image = model.get_param(), model.eval()()["raw_out"]
    model.reinitialize_parameters()
    assert not any(grid.any() for grid in model.latent_grids)
    model.set_param(before)
    assert torch.equal(model()["raw_out"], image)
    with pytest.raises(RuntimeError):
        model.set_param(model.arm.get_param())


def test_complexity_is_told() -> None:
    model = small_encoder()
    model.get_flops()
    assert model.total_flops > 0
    assert "synthesis" in model.flops_str
    assert model.get_network_rate()[1] == 0
    assert model.get_network_quantization_step()["arm"]["weight"] is None
    assert model.get_network_expgol_count()["arm"]["weight"] is None


def test_other_devices_and_types_run_in_plain_torch() -> None:
    """Double precision takes the way of other devices."""
    model = small_encoder().eval()
    fused = model()
    plain = model.double()()
    assert torch.allclose(plain["raw_out"].float(), fused["raw_out"], atol=1e-4)
    assert plain["rate"].item() == pytest.approx(fused["rate"].item(), rel=1e-4)
    model.train()
    model()["rate"].backward()
    assert all(grid.grad is not None for grid in model.latent_grids)
