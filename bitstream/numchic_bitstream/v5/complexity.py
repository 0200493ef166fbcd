# SPDX-License-Identifier: BSD-3-Clause
"""Multiply-accumulates of one decoder, from its header (coolchic-5, section 16). Exact."""

from __future__ import annotations

from typing import NamedTuple

from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.headers import CoolChicHeader, FrameHeader


class Macs(NamedTuple):
    """Multiply-accumulates per module, for the whole frame."""

    arm: int
    ifce: int
    upsampling: int
    synthesis: int

    @property
    def total(self) -> int:
        """Sum over the modules."""
        return sum(self)


def count_macs(header: CoolChicHeader) -> Macs:
    """Count the multiply-accumulates that decoding takes (section 16)."""
    height, width = header.derived.dense_size
    return Macs(
        arm_macs(header) * header.derived.n_samples,
        ifce_macs(header),
        upsampling_macs(header),
        sum(macs for _, macs, _ in synthesis_stages(header)) * height * width,
    )


def count_warp_macs(frame: FrameHeader, motion: CoolChicHeader) -> int:
    """Count the multiply-accumulates that the warping of a P or B frame takes (section 16)."""
    height, width = motion.img_size
    k, block = frame.warp_filter_size or 0, 1 << motion.latent_resolution[0]
    per_sample = 3 * len(frame.index_references) * (k * k - k + 2 * k * block)
    return per_sample * height * width // block


def arm_macs(header: CoolChicHeader) -> int:
    """Multiply-accumulates per sample."""
    width = header.derived.arm_width
    return width * width * header.n_hidden_layers_arm + (
        2 * width * (1 + header.linear_stabiliser_arm)
    )


def ifce_macs(header: CoolChicHeader) -> int:
    """Multiply-accumulates of the features of all grids."""
    coarser = zip(header.derived.grids[1:], header.derived.ifce_inputs, strict=False)
    return header.output_feature_ifce * sum(grid.n_samples * c for grid, c in coarser)


def upsampling_macs(header: CoolChicHeader) -> int:
    """Multiply-accumulates of all levels."""
    total = 0
    lowest, highest = header.latent_resolution
    for n_channels, level in enumerate(range(highest, lowest, -1), start=1):
        height, width = level_size(header.img_size, level)
        total += 3 * n_channels * height * width * header.ups_k_size
        height, width = level_size(header.img_size, level - 1)
        total += 2 * header.ups_preconcat_k_size * height * width
    return total


class SynthesisStage(NamedTuple):
    """One layer of the synthesis."""

    n_outputs: int
    macs: int
    reach: int


def synthesis_stages(header: CoolChicHeader) -> list[SynthesisStage]:
    """Trunk, stabiliser and output transform; multiply-accumulates are per pixel."""
    stages = []
    n_inputs = header.derived.synthesis_inputs
    for layer in header.syn_layer:
        macs = layer.out_ft * n_inputs * layer.k_size**2
        stages.append(SynthesisStage(layer.out_ft, macs, layer.k_size // 2))
        n_inputs = layer.out_ft
    if header.linear_stabiliser_synth:
        stages.append(SynthesisStage(n_inputs, n_inputs * header.derived.n_latents, 0))
    return [*stages, SynthesisStage(n_inputs, n_inputs**2, 0)]
