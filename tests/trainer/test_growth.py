# SPDX-License-Identifier: BSD-3-Clause
"""What models of P and B frames start from: linear ones, and the networks of other frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inter_frames import InterCase
from numchic_bitstream import Frame, FrameHeader
from numchic_bitstream.structure import FrameType
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.quantisation.stepsearch import one_thread, quantise_networks
from numchic_trainer.training.comparison import InterComparison
from numchic_trainer.training.part import motion_target, residue_target
from numchic_trainer.video.config import INTER_PRESETS, InterPreset
from numchic_trainer.video.donors import preset_of, take_networks
from numchic_trainer.video.growth import grow
from numchic_trainer.write import write_model


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Tensors as small as these are only slowed down by threads."""
    with one_thread():
        yield


@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("preset", ["tiny", "vlop", "lop", "mop", "hop"])
def test_larger_networks_give_what_a_linear_one_gives(
    preset: InterPreset, n_references: int
) -> None:
    linear = InterCase("linear", n_references).trained()
    large = InterCase(preset, n_references).model()
    grow(large, linear)
    raw, bits = large.evaluate()
    expected, n_bits = linear.evaluate()
    torch.testing.assert_close(raw, expected, rtol=1e-5, atol=1e-5)
    extra = [
        grid.n_samples
        for part in large.parts
        for grid in part.grids
        if grid.hyper  # of which a linear model has none
    ]
    assert n_bits * (1 - 1e-5) <= bits <= n_bits + 2 * sum(extra) + 1


def test_grown_networks_can_learn() -> None:
    case = InterCase("lop")
    large = case.model()
    grow(large, InterCase("linear").trained())
    output = large(noise_parameter=0.0)
    loss = case.target().distortion(output["raw_out"], rounded=False)
    loss.backward()  # type: ignore[no-untyped-call]
    for part in large.parts:
        for layer in part.synthesis.trunk[1:]:
            assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def coded(case: InterCase) -> Frame:
    """A frame, its networks quantised."""
    model, target = case.trained(), case.target()
    comparison = InterComparison(model, target, Workers())
    quantise_networks(model.motion, motion_target(model, target, comparison))
    quantise_networks(model.residue, residue_target(model, target, comparison))
    residue, motion = map(write_model, model.parts)
    kind: FrameType = "P" if case.n_references == 1 else "B"
    return Frame(FrameHeader(frame_type=kind), residue, motion)


def networks(model: InterEncoder) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {
        name: p.detach().numpy().copy()
        for name, p in model.named_parameters()
        if p.requires_grad and "latent" not in name
    }


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("preset", ["linear", "mop"])
def test_networks_of_another_frame(preset: InterPreset, ours: int, theirs: int) -> None:
    donor = coded(InterCase(preset, theirs))
    model, untouched = InterCase(preset, ours).model(), InterCase(preset, ours).model()
    take_networks(model, donor)
    found, before = networks(model), networks(untouched)
    same = InterCase(preset, theirs).model()
    take_networks(same, donor)
    given = networks(same)
    for name, values in found.items():
        common = tuple(map(slice, np.minimum(values.shape, given[name].shape)))
        np.testing.assert_array_equal(values[common], given[name][common])
        assert values[common].size > 0
        beyond = values.copy()
        beyond[common] = before[name][common]
        np.testing.assert_array_equal(beyond, before[name], err_msg=name)
    first = "synthesis.trunk.0.weight"
    for part in ("residue", "motion"):
        assert not np.array_equal(found[f"{part}.{first}"], before[f"{part}.{first}"])
    for grid in model.latent_grids:
        assert not grid.any()


@pytest.mark.parametrize(
    ("ours", "theirs", "taken"),
    [
        ("lop", "tiny", ()),
        ("mop", "hop", ("motion",)),
        ("vlop", "lop", ("motion",)),
        ("linear", "tiny", ("motion",)),
        ("linear", "skip", ()),
        ("tiny", "vlop", ()),
    ],
)
def test_networks_of_other_sizes(
    ours: InterPreset, theirs: InterPreset, taken: tuple[str, ...]
) -> None:
    model = InterCase(ours).model()
    before = networks(model)
    take_networks(model, coded(InterCase(theirs)))
    changed = {
        name.split(".")[0]
        for name, values in networks(model).items()
        if not np.array_equal(values, before[name])
    }
    assert changed == set(taken)


@pytest.mark.parametrize("preset", INTER_PRESETS)
def test_sizes_of_a_coded_frame_have_a_name(preset: InterPreset) -> None:
    for n_references in (1, 2):
        assert preset_of(coded(InterCase(preset, n_references))) == preset
