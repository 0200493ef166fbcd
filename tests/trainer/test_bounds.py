# SPDX-License-Identifier: BSD-3-Clause
"""No sweep looks outside its arrays: compiled kernels do not notice, kernels in plain Python do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np

from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.rate import RateSweep
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


def sweep(preset: Preset, size: tuple[int, int], settings: dict[str, Any]) -> None:
    model = CoolChicEncoder(architecture(TrainConfig(**settings), preset, size))
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
    picture.differentiate(symbols, by_picture, np.ones_like(raw), d_symbols, d_picture)
    assert np.isfinite(d_symbols).all()


def test_every_place_is_inside() -> None:
    environment = {
        **os.environ, "NUMCHIC_KERNELS": "python", "PYTHONPATH": os.pathsep.join(sys.path)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__], env=environment, check=False, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr


if __name__ == "__main__":
    for case in CASES:
        sweep(*case)
