# SPDX-License-Identifier: BSD-3-Clause
"""No sweep looks outside its arrays: compiled kernels do not notice, kernels in plain Python do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np

from numchic_trainer import CoolChicEncoderParameter
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.prediction import NOTHING, PredictionSweep
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.warp import WarpSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.encoder import CoolChicEncoder, picture_parameters, rate_parameters

CASES: list[tuple[Preset, tuple[int, int], dict[str, Any]]] = [
    ("lop", (1, 1), {}),
    ("hop", (2, 1), {"latent_resolution": (1, 3)}),
    ("lop", (1, 515), {}),  # more than a block, by less than a vector
    ("lop", (19, 1), {"common_randomness": True}),
    ("hop", (17, 33), {"hyperlatent_resolution": "auto"}),
    ("lop", (16, 16), {"latent_resolution": (0, 1)}),
    ("lop", (3, 35), {"latent_resolution": (0, 0), "ifce_resolution": None}),
]

PREDICTIONS = [
    ((6, 10), (2, 3), 8, True),
    ((5, 7), (2, 2), 14, False),
    ((1, 1), (1, 1), 6, False),
    ((4, 6), (1, 2), 4, True),
    ((2, 2), (5, 1), 2, True),
]

# Of frames of videos: a residue, motion, and the smallest of each.
_SMALL: dict[str, Any] = {
    "linear_stabiliser_synth": False,
    "linear_stabiliser_arm": False,
    "n_hidden_layers_arm": 0,
    "output_feature_ifce": 0,
    "ifce_resolution": None,
    "hyper_latent_resolution": None,
    "ups_k_size": 4,
    "ups_preconcat_k_size": 1,
}
FRAMES: list[tuple[list[str], dict[str, Any]]] = [
    (["8-1-linear-relu", "5-1-linear-none", "5-3-residual-relu", "5-3-residual-none"], {}),
    (["16-1-linear-relu", "4-1-linear-none"], {"latent_resolution": (2, 6)}),
    (["2-1-linear-none"], {"latent_resolution": (2, 6), **_SMALL}),
    (["4-1-linear-none"], {"latent_resolution": (0, 0), "spatial_context_arm": 1, **_SMALL}),
]
SIZES = [(1, 1), (1, 19), (17, 33)]


def sweep(parameter: CoolChicEncoderParameter) -> None:
    model = CoolChicEncoder(parameter)
    header = model.header
    noise = model.get_buffer("noise")[0].numpy() if header.flag_common_randomness else None
    rate, picture = RateSweep(header, Workers()), PictureSweep(header, noise, Workers())
    by_rate = [p.detach().numpy() for p in rate_parameters(model)]
    by_picture = [p.detach().numpy() for p in picture_parameters(model)]
    symbols = np.random.default_rng(0).normal(size=header.derived.n_samples).astype(np.float32)
    d_symbols = np.empty_like(symbols)
    rate.differentiate(symbols, by_rate, 1.0, d_symbols, [np.empty_like(w) for w in by_rate])
    raw = picture.render(symbols, by_picture)
    d_picture = [np.empty_like(w) for w in by_picture]
    picture.differentiate(symbols, np.ones_like(raw), d_symbols, d_picture)
    assert np.isfinite(d_symbols).all()


def predict(size: tuple[int, int], field: tuple[int, int], k: int, halved: bool) -> None:
    random = np.random.default_rng(k)
    reference = random.uniform(0, 1, (*size, 4)).astype(np.float32)
    sweep = WarpSweep(reference, k, field, Workers())
    vectors = random.normal(0, 9, (2, *field)).astype(np.float32)
    vectors[:, -1, -1] = 1e6, -1e6
    warped = [sweep.warp(vectors)] * 2
    small = (size[0] // 2, size[1] // 2) if halved else size
    original = (np.zeros(size, np.float32), *np.zeros((2, *small), np.float32))
    residue = random.normal(0, 1, (5, *size)).astype(np.float32)
    d_warped = [np.empty_like(warped[0]) for _ in warped]
    errors = PredictionSweep(original, 255, Workers())
    d_residue = np.empty_like(residue)
    errors.differentiate(residue, warped, d_residue, d_warped)
    errors.differentiate(residue, warped, d_residue, [NOTHING] * 2)
    errors.differentiate(residue, warped, NOTHING, d_warped)
    assert np.isfinite(errors.evaluate(residue, warped))
    sweep.differentiate(d_warped[0], vectors)
    assert np.isfinite(vectors).all()


def test_every_place_is_inside() -> None:
    environment = {
        **os.environ, "NUMCHIC_KERNELS": "python", "PYTHONPATH": os.pathsep.join(sys.path)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__], env=environment, check=False, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr


if __name__ == "__main__":
    for preset, size, settings in CASES:
        sweep(architecture(TrainConfig(**settings), preset, size))
    for layers, parameters in FRAMES:
        for size in SIZES:
            sweep(CoolChicEncoderParameter(layers_synthesis=layers, img_size=size, **parameters))
    for prediction in PREDICTIONS:
        predict(*prediction)
