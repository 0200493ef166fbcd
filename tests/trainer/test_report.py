# SPDX-License-Identifier: BSD-3-Clause
"""The report of an encode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numchic import Picture
from numchic_trainer import TrainConfig, encode
from numchic_trainer.figures import block_means, block_side
from numchic_trainer.report import write_report
from pictures import picture, yuv_picture

FIGURES = ["comparison.png", "latents.png", "rate.png", "training.png"]


def rgb(height: int, width: int) -> Picture:
    red, green, blue = np.moveaxis(picture(height, width), -1, 0)
    return Picture((red, green, blue), "rgb", 8)


@pytest.mark.parametrize(
    "source", [rgb(21, 34), rgb(1, 1), rgb(40, 3), yuv_picture(10, 17, "yuv420", 10)]
)
def test_all_files_are_there(source: Picture, tmp_path: Path) -> None:
    result = encode(source, TrainConfig(preset="lop", iterations=20, init="zero"))
    paths = write_report(tmp_path / "new" / "folder", source, result.stream, result.log)
    assert [path.name for path in paths] == [*FIGURES, "index.html"]
    for path in paths[:-1]:
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 100
    page = paths[-1].read_text()
    assert all(name in page for name in FIGURES)
    assert f"{len(result.stream) - 45} bytes" in page
    assert "<td>45 bytes</td>" in page


def test_same_input_same_report_and_no_log(tmp_path: Path) -> None:
    source = rgb(12, 16)
    stream = encode(source, TrainConfig(preset="lop", iterations=20)).stream
    first = [path.read_bytes() for path in write_report(tmp_path, source, stream, [])]
    again = [path.read_bytes() for path in write_report(tmp_path, source, stream, [])]
    assert first == again


@pytest.mark.parametrize("shape", [(1, 1), (1, 29), (65, 130), (30, 20)])
def test_large_arrays_are_drawn_as_means(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numchic_trainer.figures._LARGEST", 10)
    values = np.random.default_rng(1).normal(size=shape)
    side = block_side(shape)
    means = [
        [values[y : y + side, x : x + side].mean() for x in range(0, shape[1], side)]
        for y in range(0, shape[0], side)
    ]
    np.testing.assert_allclose(block_means(values.__getitem__, shape), means, rtol=1e-9, atol=1e-12)
    assert max(len(means), len(means[0])) <= 10


@pytest.mark.parametrize("source", [rgb(41, 34), yuv_picture(30, 37, "yuv420", 10)])
def test_large_pictures_are_drawn_small(
    source: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = encode(source, TrainConfig(preset="lop", iterations=0)).stream
    monkeypatch.setattr("numchic_trainer.figures._LARGEST", 10)
    weights = np.ones((source.height, source.width), np.float32)
    page = write_report(tmp_path, source, stream, [], weights)[-1].read_text()
    side = block_side(source.planes[0].shape)
    assert side > 1
    assert f"means of {side} x {side} samples" in page


@pytest.mark.parametrize("source", [rgb(21, 34), rgb(1, 1), yuv_picture(10, 17, "yuv420", 10)])
def test_weights_have_a_figure(source: Picture, tmp_path: Path) -> None:
    weights = np.zeros((source.height, source.width), np.float32)
    weights[0, 0] = weights.size
    result = encode(source, TrainConfig(preset="lop", iterations=2, rdoq=False), weights=weights)
    paths = write_report(tmp_path, source, result.stream, result.log, weights)
    assert [path.name for path in paths] == [FIGURES[0], "weights.png", *FIGURES[1:], "index.html"]
    page = paths[-1].read_text()
    assert "weights.png" in page
    assert f"weighted mse: {1000 * result.distortion:.4f}e-3" in page
