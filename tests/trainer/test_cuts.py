# SPDX-License-Identifier: BSD-3-Clause
"""Scene cuts (video training, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clips import BUNNY, CARPHONE, luma
from numchic_bitstream.arrays import F32
from numchic_trainer.video.cuts import scene_cuts


def scene(seed: int, n_frames: int, height: int = 72, width: int = 96) -> list[F32]:
    """Rectangles, behind a window that moves by (2, 1) from frame to frame, and some noise."""
    random = np.random.default_rng(seed)
    field = np.zeros((height + n_frames, width + 2 * n_frames))
    for value in random.uniform(size=80):
        y, x = random.integers(field.shape)
        h, w = random.integers(2, 2 * height // 3, 2)
        field[y : y + h, x : x + w] = value
    seen = [field[t:, 2 * t :][:height, :width] for t in range(n_frames)]
    return [(s + random.normal(scale=0.01, size=s.shape)).astype(np.float32) for s in seen]


def test_a_new_scene_is_a_cut() -> None:
    assert scene_cuts([*scene(0, 4), *scene(1, 3), *scene(2, 1)]) == [4, 7]


def test_large_pictures() -> None:
    assert scene_cuts([*scene(0, 2, 300, 400), *scene(1, 2, 300, 400)]) == [2]


def test_what_is_no_cut() -> None:
    assert scene_cuts([]) == []
    assert scene_cuts(scene(0, 1)) == []
    assert scene_cuts([np.zeros((48, 64), np.float32)] * 3) == []
    assert scene_cuts([np.zeros((1, 1), np.float32)] * 2) == []
    random = np.random.default_rng(0)
    wall = [random.normal(0.3, 0.015, (48, 64)).astype(np.float32) for _ in range(3)]
    assert scene_cuts(wall) == []


def test_from_black_to_white() -> None:
    assert scene_cuts([np.full((8, 8), v, np.float32) for v in (0, 1)]) == [1]


def test_frames_are_taken_one_by_one() -> None:
    taken = []

    def frames() -> Iterator[F32]:
        for i, frame in enumerate(scene(0, 3)):
            taken.append(i)
            yield frame

    assert scene_cuts(frames()) == []
    assert taken == [0, 1, 2]


def test_clips() -> None:
    carphone, bunny = luma(CARPHONE), luma(BUNNY)
    padded = np.pad(bunny[:, :, :176], ((0, 0), (0, 24), (0, 0)), "reflect")
    assert scene_cuts([*carphone[5:], *padded[:4]]) == [4]
