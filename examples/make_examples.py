# SPDX-License-Identifier: BSD-3-Clause
"""Encode the pictures of this folder: ``pip install scikit-image``, then run this file.

Takes about ten minutes. See README.md for the sources and their licences.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray

from numchic.files.images import write_file
from numchic_trainer import TrainConfig, encode

FOLDER = Path(__file__).parent

# Name, first row and column, height and width of the crop, lambda.
CROPS = [
    ("astronaut", 0, 96, 256, 256, 1e-3),
    ("chelsea", 20, 60, 256, 320, 2e-3),
    ("coffee", 60, 120, 256, 384, 4e-3),
]


def crop(name: str, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
    """Part of one of scikit-image's pictures."""
    samples: NDArray[np.uint8] = getattr(skimage.data, name)()
    return samples[y : y + height, x : x + width]


def main() -> None:
    """Encode all pictures."""
    for name, *area, lmbda in CROPS:
        result = encode(crop(name, *map(int, area)), TrainConfig(lmbda=lmbda, iterations=2000))
        write_file(FOLDER / f"{name}.cool", result.stream)
        print(
            f"{name}: {len(result.stream)} bytes, {result.bits_per_pixel:.3f} bits per pixel, "
            f"{result.psnr_db:.2f} dB, {result.preset}"
        )


if __name__ == "__main__":
    main()
