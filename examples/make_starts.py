# SPDX-License-Identifier: BSD-3-Clause
"""Train the networks that ``--init shared`` starts from: ``python make_starts.py FOLDER OUT``.

FOLDER holds kodim01.png ... of the Kodak Lossless True Color Image Suite; those that measurements
use are left out. Takes about fifteen minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from numchic_bitstream import read_stream
from numchic_trainer import TrainConfig, encode, load_model
from numchic_trainer.config import Preset

PICTURES = (1, 2, 4, 6, 7, 9, 10, 12, 17, 18, 21, 22)
SIZE = 128
COLUMNS = 4


def mosaic(folder: Path) -> NDArray[np.uint8]:
    """One crop of every picture, side by side: shape (384, 512, 3)."""
    random = np.random.default_rng(1)
    tiles = []
    for number in PICTURES:
        samples = np.asarray(Image.open(folder / f"kodim{number:02d}.png").convert("RGB"))
        y, x = (
            random.integers(0, samples.shape[0] - SIZE),
            random.integers(0, samples.shape[1] - SIZE),
        )
        tiles.append(samples[y : y + SIZE, x : x + SIZE])
    rows = [tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate([np.concatenate(row, 1) for row in rows])


def main(folder: Path, out: Path) -> None:
    """Train all presets."""
    samples = mosaic(folder)
    for preset in get_args(Preset):
        config = TrainConfig(preset=preset, iterations=800, init="random")
        stream = encode(samples, config).stream
        model = load_model(read_stream(stream).frames[0].residue)
        networks = {
            name: tensor.detach().contiguous()
            for name, tensor in model.named_parameters()
            if not name.startswith(("latent_grids", "synthesis.output_transform"))
        }
        save_file(networks, out / f"{preset}.safetensors", {"pictures": f"kodim {PICTURES}"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
