# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
import math
import pickle
import random

import pytest
from hypothesis import given

from builders import header
from numchic_bitstream import CoolChicHeader
from numchic_bitstream.structure import level_size
from numchic_bitstream.v5.headers import write_coolchic_header
from reference import headers as naive
from strategies import coolchic_headers


def test_worked_grid_list() -> None:
    """Section 3.1."""
    example = header(img_size=(512, 768), latent_resolution=(0, 6), hyperlatent_resolution=(4, 6))
    assert example.derived.grids == (
        (0, False, 512, 768),
        (1, False, 256, 384),
        (2, False, 128, 192),
        (3, False, 64, 96),
        (4, False, 32, 48),
        (4, True, 32, 48),
        (5, False, 16, 24),
        (5, True, 16, 24),
        (6, False, 8, 12),
        (6, True, 8, 12),
    )


def test_hyperlatents_may_be_finer_than_latents() -> None:
    example = header(latent_resolution=(2, 3), hyperlatent_resolution=(1, 2))
    assert [(grid.level, grid.hyper) for grid in example.derived.grids] == [
        (1, True),
        (2, False),
        (2, True),
        (3, False),
    ]


@pytest.mark.parametrize(
    ("img_size", "level", "expected"),
    [((37, 53), 0, (37, 53)), ((37, 53), 3, (5, 7)), ((1, 16383), 15, (1, 1))],
)
def test_level_size(img_size: tuple[int, int], level: int, expected: tuple[int, int]) -> None:
    assert level_size(img_size, level) == expected


def test_worked_ifce_inputs() -> None:
    """Sections 3.2 and 4.1."""
    example = header(
        img_size=(512, 768),
        latent_resolution=(0, 6),
        hyperlatent_resolution=(4, 6),
        ifce_resolution=(0, 2),
    )
    assert example.derived.ifce_inputs == (9, 8, 7, 0, 0, 0, 0, 0, 0, 0)


def test_the_coarsest_grid_has_a_dummy_input() -> None:
    example = header(latent_resolution=(0, 1), hyperlatent_resolution=None)
    assert example.derived.ifce_inputs == (1, 1)


def test_no_features_no_inputs() -> None:
    assert set(header(output_feature_ifce=0).derived.ifce_inputs) == {0}


def heights() -> list[int]:
    near_powers = {2**i + d for i in range(15) for d in (-2, -1, 0, 1, 2)}
    sample = random.Random(1).sample(range(300, 16384), 100)
    return sorted(h for h in {*range(1, 300), *near_powers, *sample} if 1 <= h <= 16383)


def test_ifce_resolution_is_that_of_the_floating_point_expression() -> None:
    """Section 3.2: r_k = ceil(log2(H / h_k)); for H = 5 that is 0, 1, 2, 3, 3, ..."""
    for height in heights():
        bands = [
            header(
                img_size=(height, 1),
                latent_resolution=(0, 15),
                hyperlatent_resolution=None,
                ifce_resolution=(r, r),
            ).derived.ifce_inputs
            for r in range(16)
        ]
        for level in range(16):
            grid_height = math.ceil(height / 2**level)
            resolution = math.ceil(math.log2(height / grid_height))
            inputs = [band[level] for band in bands]
            assert inputs == [max(15 - level, 1) if r == resolution else 0 for r in range(16)]


@given(coolchic_headers())
def test_grids_and_inputs_equal_the_naive_ones(header: CoolChicHeader) -> None:
    plain = naive.read_coolchic_header(write_coolchic_header(header))
    assert list(header.derived.grids) == naive.grid_list(plain)
    assert list(header.derived.ifce_inputs) == naive.ifce_inputs(plain)
    assert len(header.derived.grids) == header.n_latent_grids


@pytest.mark.parametrize(("common_randomness", "expected"), [(0, 3), (1, 6)])
def test_synthesis_inputs(common_randomness: int, expected: int) -> None:
    """Section 3.3."""
    example = header(flag_common_randomness=common_randomness)
    assert example.derived.n_latents == 3
    assert example.derived.synthesis_inputs == expected


def test_widths_and_sizes() -> None:
    """Section 3.3."""
    assert header().derived.arm_width == 3 + 2
    assert header(output_feature_ifce=0).derived.arm_width == 3
    example = header(latent_resolution=(1, 2), img_size=(5, 7))
    assert example.derived.dense_size == (3, 4)
    assert example.derived.reach == sum(layer.k_size // 2 for layer in example.syn_layer)
    assert example.derived.n_samples == sum(grid.n_samples for grid in example.derived.grids)


def test_what_belongs_to_latents() -> None:
    example = header(latent_resolution=(2, 3), hyperlatent_resolution=(1, 2))
    assert example.derived.latents("abcd") == ["b", "d"]


def test_it_is_derived_once_and_does_not_show() -> None:
    """Headers that were asked for it are equal to those that were not, and copied without it."""
    example, asked = header(), header()
    assert asked.derived is asked.derived
    assert asked == example
    assert hash(asked) == hash(example)
    assert repr(asked) == repr(example)
    assert dataclasses.asdict(asked) == dataclasses.asdict(example)
    assert pickle.loads(pickle.dumps(asked)) == asked
    larger = dataclasses.replace(asked, img_size=(512, 768))
    assert larger.derived == header(img_size=(512, 768)).derived != asked.derived
