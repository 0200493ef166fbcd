# SPDX-License-Identifier: BSD-3-Clause
"""What encodes of videos must be good for, on clips made for it (video training, section 16)."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import numchic
from inter_frames import waves
from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic_bitstream import read_stream
from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.structure import FrameDataType
from numchic_trainer import VideoConfig, encode_video
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.quality import mean_squared_error, plane_error, psnr
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.target import Target
from numchic_trainer.video.flow import block_vectors, estimate_flow
from numchic_trainer.video.frame import CodedFrame, FrameTask, encode_frame
from numchic_trainer.video.inter import InterTask, train_inter
from numchic_trainer.video.structure import PlannedFrame

HEIGHT, WIDTH = 48, 96
QUICK = VideoConfig(preset="lop", iterations=60, inter_iterations=(60,), threads=1)
EMPTY = {"P": 83, "B": 91}  # bytes of a frame that is its reference, or the mean of both


@cache
def texture(seed: int, width: int = WIDTH) -> F64:
    """Fine and coarse structures, float64[3, H, W] about 1/2."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, 3, HEIGHT, width))
    fine, coarse = (
        sigma * gaussian_filter(layer, (0, sigma, sigma))
        for layer, sigma in zip(noise, (1.5, 4.0), strict=True)
    )
    signal: F64 = 0.5 + 0.15 * fine + 0.3 * coarse
    return signal


def picture(signal: F64 | F32) -> Picture:
    """Samples of a signal, with chroma of half its size, as decoders make them."""

    def samples(plane: F64) -> Any:
        return np.rint(255 * np.clip(plane, 0, 1)).astype(np.uint8)

    height, width = signal.shape[1:]
    luma, *chroma = np.asarray(signal, np.float64)
    means = [plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for plane in chroma]
    return Picture((samples(luma), samples(means[0]), samples(means[1])), "yuv420", 8)


def encode_inter(frame: Picture, *references: Picture, **settings: Any) -> CodedFrame:
    """Encode a P or B frame from references without errors."""
    config = dataclasses.replace(QUICK, **{"inter_iterations": (100,), **settings})
    kind: Any = "PB"[len(references) - 1]
    plan = PlannedFrame(len(references), kind, tuple(range(len(references))), 0, None)
    return encode_frame(FrameTask(plan, frame, references, None, config, config.lmbda), _unheeded)


def _unheeded(phase: str) -> None:
    pass


def equal(ours: Picture, theirs: Picture) -> bool:
    return all(map(np.array_equal, ours.planes, theirs.planes))


@pytest.mark.parametrize("structure", ["low-delay", "random-access:2"])
def test_a_static_clip_costs_next_to_nothing(structure: str) -> None:
    config = dataclasses.replace(QUICK, structure=structure, inter_preset=("skip",))
    result = encode_video(3 * [picture(texture(0))], config)
    first, *others = numchic.decode_frames(result.stream)
    assert all(equal(other, first) for other in others)
    for report in result.frames[1:]:
        assert report.n_bytes == EMPTY[report.kind]
        assert report.psnr == result.frames[0].psnr


@pytest.mark.parametrize("preset", ["auto", "tiny", "lop"])
def test_what_a_static_clip_costs_is_worth_it(preset: Any) -> None:
    config = dataclasses.replace(QUICK, structure="low-delay", inter_preset=(preset,))
    first, second = encode_video(2 * [picture(texture(0))], config).frames
    assert second.loss <= first.mse + config.lmbda * 8 * EMPTY["P"] / (HEIGHT * WIDTH)


@pytest.mark.parametrize("shift", [(3, -5), (-4, 2), (40, 1)])
def test_integer_translations_cost_next_to_nothing(shift: tuple[int, int]) -> None:
    original = texture(1)
    rows = np.clip(np.arange(HEIGHT) + shift[1], 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH) + shift[0], 0, WIDTH - 1)
    moved = original[:, rows][:, :, columns]
    coded = encode_inter(picture(moved), picture(original), lmbda=0.01)
    assert coded.report.global_flow == shift
    assert (coded.report.preset, coded.report.n_bytes) == ("skip", EMPTY["P"])
    np.testing.assert_array_equal(coded.decoded.planes[0], picture(moved).planes[0])
    # What was averaged before the shift is averaged again if the shift is odd.
    seen = shifted_reference(picture(original), shift)[..., :3].transpose(2, 0, 1)
    for plane, wanted in zip(coded.decoded.planes, picture(seen).planes, strict=True):
        assert np.abs(plane.astype(int) - wanted).max() <= 1
    assert min(coded.report.psnr) > 35


@pytest.mark.parametrize("t", [0.5, -1.5])
def test_translations_by_half_a_pixel_are_predicted(t: float) -> None:
    size = (64, 96)
    target = Target.of_picture(waves(t, size), 1e-3)
    reference, luma = shifted_reference(waves(0, size), (0, 0)), target.planes[0].numpy()
    flow = estimate_flow(luma, np.ascontiguousarray(reference[..., 0]))
    task = InterTask(target, [reference], block_vectors(flow, (16, 24)), None, 0, 0, QUICK)
    _, model = train_inter(task, Workers(), _unheeded)
    motion, bits = model.motion.evaluate()
    (warped,) = InterComparison(model, target, Workers()).warp(motion[0].numpy())
    assert psnr(float(np.mean((warped[0] - luma) ** 2))) > 40
    assert bits / 8 < 16 * 24 / 100


def test_the_mean_of_two_frames_takes_next_to_nothing() -> None:
    first, last = texture(2), texture(3)
    coded = encode_inter(picture((first + last) / 2), picture(first), picture(last))
    assert coded.report.n_bytes <= 100
    assert coded.report.residue_latent_bytes == 4
    assert min(coded.report.psnr) > 50


def scene(x: int) -> Picture:
    """A bright thing before a background."""
    signal = texture(4).copy()
    signal[:, 8:40, x : x + 40] = texture(5)[:, 8:40, :40] + 0.3
    return picture(signal)


def test_what_is_uncovered_is_seen_in_the_future() -> None:
    p = encode_inter(scene(28), scene(0), inter_preset=("tiny",))
    b = encode_inter(scene(28), scene(0), scene(56), inter_preset=("tiny",))
    assert b.report.loss < p.report.loss


def test_no_frame_is_predicted_across_a_cut() -> None:
    before, after = texture(6, WIDTH + 8), texture(7, WIDTH + 8)
    frames = [picture(before[:, :, t : t + WIDTH]) for t in range(3)]
    frames += [picture(after[:, :, t : t + WIDTH] + 0.25) for t in range(3)]
    config = dataclasses.replace(
        QUICK, iterations=10, inter_iterations=(0,), inter_preset=("skip",), motion_start=False
    )
    result = encode_video(frames, config)
    assert (result.intra, result.p) == ((0, 3), (2, 5))
    kinds = {report.index: report.kind for report in result.frames}
    assert [kinds[index] for index in range(6)] == [*"IBPIBP"]
    for report in result.frames:
        assert all((index < 3) == (report.index < 3) for index in report.references)


@pytest.mark.parametrize("preset", ["auto", "lop"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_iterations(preset: Any, n: int) -> None:
    coded = encode_inter(scene(2), scene(0), inter_preset=(preset,), inter_iterations=(n,))
    assert coded.report.loss < 0.05


def test_a_larger_lambda_gives_fewer_bytes_and_a_larger_error() -> None:
    reports = [
        encode_inter(scene(28), scene(8), lmbda=x, inter_iterations=(60,)).report
        for x in (2e-4, 1e-3, 5e-3)
    ]
    sizes, errors = [r.n_bytes for r in reports], [r.mse for r in reports]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert sizes[0] > 1.5 * sizes[2]


def test_more_iterations_give_a_smaller_loss() -> None:
    losses = [
        encode_inter(scene(28), scene(8), inter_iterations=(n,)).report.loss for n in (20, 60, 180)
    ]
    assert losses == sorted(losses, reverse=True)


def test_a_chain_of_frames_does_not_drift() -> None:
    signal = texture(8, WIDTH + 32)
    random = np.random.default_rng(9)
    frames = [
        picture(signal[:, :, 3 * t : 3 * t + WIDTH] + random.normal(0, 0.01, (3, HEIGHT, WIDTH)))
        for t in range(9)
    ]
    config = dataclasses.replace(
        QUICK, structure="low-delay", inter_iterations=(24,), inter_preset=("tiny",)
    )
    result = encode_video(frames, config)
    assert [report.kind for report in result.frames] == ["I", *8 * "P"]
    assert any(report.preset == "tiny" for report in result.frames)
    for report, decoded in zip(result.frames, numchic.decode_frames(result.stream), strict=True):
        errors = [
            plane_error(ours, theirs, 8)
            for ours, theirs in zip(frames[report.index].planes, decoded.planes, strict=True)
        ]
        assert report.psnr == tuple(map(psnr, errors))
    stream = read_stream(result.stream)
    n_bytes = sum(
        report.header_bytes + report.residue_network_bytes + report.residue_latent_bytes
        + report.motion_network_bytes + report.motion_latent_bytes
        for report in result.frames
    )  # fmt: skip
    assert stream.header.n_bytes_header + n_bytes + result.trailer_bytes == len(result.stream)


@pytest.mark.parametrize(
    ("data_type", "size"),
    [("rgb", (1, 1)), ("yuv444", (1, 37)), ("yuv444", (37, 1)), ("yuv420", (2, 2))],
)
def test_the_smallest_pictures(data_type: FrameDataType, size: tuple[int, int]) -> None:
    frames = [waves(t, size, data_type) for t in (0, 9, 4)]
    config = dataclasses.replace(
        QUICK, iterations=4, structure="random-access:2", inter_iterations=(8,)
    )
    result = encode_video(frames, config)
    assert [report.kind for report in result.frames] == [*"IPB"]
    for report, decoded in zip(
        sorted(result.frames, key=lambda r: r.index),
        numchic.decode_frames(result.stream),
        strict=True,
    ):
        mse = mean_squared_error(frames[report.index], decoded)
        assert report.mse == pytest.approx(mse, rel=1e-12)
