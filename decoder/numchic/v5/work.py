# SPDX-License-Identifier: BSD-3-Clause
"""Time that decoding 5.0 takes, estimated from headers.

Multiply-accumulates leave out much of what decoding takes: finding symbols, rows so short that
there is more overhead than arithmetic, resizing, common randomness, reading network parameters.
*Work* counts all of it, in units of one multiply-accumulate of a large picture, some 0.1 ns. It is
meant for limits: for pictures of any shape and any legal architecture the time per unit is the same
within a small factor, from below as well as from above.
"""

from __future__ import annotations

from numchic.schedule import BAND_ROWS
from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.complexity import (
    arm_macs,
    ifce_macs,
    synthesis_stages,
    upsampling_macs,
)
from numchic_bitstream.v5.headers import CoolChicHeader, FrameHeader
from numchic_bitstream.v5.parameters import n_parameters
from numchic_bitstream.v5.stream import Frame

# Work, fitted to measured times of some 300 streams with all extremes of the header.
_PER_DECODER = 10_000_000
_PER_GRID = 1_000_000
_PER_ARM_WEIGHT = 500  # and grid, for the bound of its accumulators
_PER_PARAMETER = 5_000
_PER_LATENT_BYTE = 2_000  # unlikely symbols take longer to find
_PER_SAMPLE = 400
_PER_NEIGHBOUR = 10
_PER_FEATURE = 20
_PER_TIME_STEP = 2_500
_PER_UPSAMPLED = 6
_PER_UPSAMPLED_ROW = 2_000
_ROW_OVERHEAD = 32  # samples by which every row of the synthesis seems to be longer
_PER_SYNTHESISED_ROW = 400
_PER_PIXEL = 50
_PER_RESIZED = 40
_PER_RESIZED_ROW = 5_000
_PER_RANDOM = 100
_PER_RANDOM_ROW = 10_000
_PER_WARPED = 2_000
_PER_WARP_TAP = 20


def frame_work(frame: Frame) -> int:
    """Estimate what decoding a frame takes."""
    warping = estimate_warp_work(frame.header, frame.residue.header.img_size)
    return warping + sum(estimate_work(part.header) for part in frame.parts)


def estimate_work(header: CoolChicHeader) -> int:
    """Estimate what decoding takes, in multiply-accumulates of a large picture.

    Parameters
    ----------
    header : CoolChicHeader
        With the sizes of the payloads.
    """
    return (
        _PER_DECODER
        + _PER_PARAMETER * sum(n_parameters(header).values())
        + _latent_work(header)
        + _upsampling_work(header)
        + _synthesis_work(header)
        + _output_work(header)
    )


def estimate_warp_work(frame: FrameHeader, img_size: tuple[int, int]) -> int:
    """Estimate what predicting a frame takes, in the same unit; 0 for an intra frame."""
    k = frame.warp_filter_size or 0
    per_sample = _PER_WARPED + _PER_WARP_TAP * k * k
    return len(frame.index_references) * per_sample * img_size[0] * img_size[1]


def _latent_work(header: CoolChicHeader) -> int:
    """ARM, IFCE and range decoder; small batches of samples cost more per sample."""
    grids = header.derived.grids
    n_features = header.output_feature_ifce
    macs = arm_macs(header)
    per_sample = _PER_SAMPLE + _PER_NEIGHBOUR * header.spatial_context_arm
    per_sample += macs + _PER_FEATURE * n_features
    work = _PER_LATENT_BYTE * header.n_bytes_latent + ifce_macs(header)
    for grid in grids:
        n_samples = grid.height * grid.width
        n_times = grid.width + 10 * (grid.height - 1)
        work += _PER_GRID + _PER_ARM_WEIGHT * macs
        work += per_sample * n_samples + _PER_TIME_STEP * n_times
        work += 2 * macs * min(n_samples, n_times)
    for grid, n_inputs in zip(grids[1:], header.derived.ifce_inputs, strict=False):
        if n_inputs:
            work += _PER_FEATURE * n_features * grid.height * grid.width
    return work


def _upsampling_work(header: CoolChicHeader) -> int:
    """Multiply-accumulates weigh threefold: rows are read and written for every tap."""
    work = 3 * upsampling_macs(header)
    lowest, highest = header.latent_resolution
    for n_channels, level in enumerate(range(highest, lowest, -1), start=1):
        height, width = level_size(header.img_size, level - 1)
        work += n_channels * height * (_PER_UPSAMPLED * width + _PER_UPSAMPLED_ROW)
    return work


def _synthesis_work(header: CoolChicHeader) -> int:
    """All layers, with the rows that neighbouring bands both compute."""
    height, width = header.derived.dense_size
    n_joints = (height - 1) // BAND_ROWS
    work, ahead = 0, 0
    for stage in reversed(synthesis_stages(header)):
        rows = height + min(2 * ahead * n_joints, height * n_joints)
        work += rows * stage.macs * (width + _ROW_OVERHEAD)
        work += rows * stage.n_outputs * _PER_SYNTHESISED_ROW
        ahead += stage.reach
    return work


def _output_work(header: CoolChicHeader) -> int:
    """Common randomness, resize and rounding."""
    height, width = header.img_size
    n_outputs = header.syn_layer[-1].out_ft
    work = _PER_PIXEL * height * width
    if header.derived.dense_size != header.img_size:
        work += n_outputs * height * (_PER_RESIZED * width + _PER_RESIZED_ROW)
    if header.flag_common_randomness:
        n_channels = header.derived.n_latents + 2
        work += n_channels * height * (_PER_RANDOM * width + _PER_RANDOM_ROW)
    return work
