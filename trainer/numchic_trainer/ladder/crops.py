# SPDX-License-Identifier: BSD-3-Clause
"""Random crops of photographs (ladder-stochastic, 15)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.ladder.network import MULTIPLE
from numchic_trainer.pictures import is_picture, read_picture

_LEAST_COLOUR, _MOST_COLOUR = 0.5, 2.5


class Crops:
    """Crops of the pictures of a folder, at their size and at half of it.

    Parameters
    ----------
    folder : Path
    refuse : callable, optional
        Called with a file that cannot be read, and why, instead of raising the error.

    Attributes
    ----------
    names : list of str
        Names of the files that are used.

    Raises
    ------
    UsageError
        There is no 8-bit RGB picture of at least 128 x 128.
    OSError
        A file cannot be read.
    """

    def __init__(
        self, folder: Path, refuse: Callable[[Path, Exception], None] | None = None
    ) -> None:
        self.names: list[str] = []
        self._pictures: list[NDArray[np.uint8]] = []
        for path in sorted(folder.iterdir()):
            if not is_picture(path):
                continue
            try:
                self._add(path)
            except (NumchicError, OSError) as error:
                if refuse is None:
                    raise
                refuse(path, error)
        if not self._pictures:
            raise UsageError(
                "no pictures to learn from", "images", None, str(folder),
                f"8-bit RGB of at least {MULTIPLE} x {MULTIPLE}",
            )  # fmt: skip
        self._areas = torch.tensor([float(p.shape[0] * p.shape[1]) for p in self._pictures])

    def _add(self, path: Path) -> None:
        picture = read_picture(path)
        if picture.data_type != "rgb" or picture.bitdepth != 8:
            return
        samples = picture.to_rgb().astype(np.uint8, copy=False)
        sizes = (samples, np.asarray(Image.fromarray(samples).reduce(2)))
        large_enough = [s for s in sizes if min(s.shape[:2]) >= MULTIPLE]
        if large_enough:
            self.names.append(path.name)
            self._pictures += large_enough

    def draw(self, n: int, *, coloured: bool = True) -> Tensor:
        """Draw crops with torch's global generator, mirrored and transposed at random.

        Colours are changed too, if asked for: a dozen photographs have few, and those of the next
        picture would come as a surprise.

        Returns
        -------
        Tensor, shape (n, 3, 128, 128)
            In [0, 1].
        """
        chosen = torch.multinomial(self._areas, n, replacement=True).tolist()
        crops = [_crop(self._pictures[i]) for i in chosen]
        return torch.stack([_coloured(c) for c in crops] if coloured else crops)


def _crop(samples: NDArray[np.uint8]) -> Tensor:
    y, x = (_integer(n - MULTIPLE + 1) for n in samples.shape[:2])
    crop = torch.from_numpy(samples[y : y + MULTIPLE, x : x + MULTIPLE].copy())
    crop = crop.permute(2, 0, 1).to(torch.float32) / 255
    if _integer(2):
        crop = crop.flip(2)
    return crop.transpose(1, 2) if _integer(2) else crop


def _coloured(crop: Tensor) -> Tensor:
    """Exchange channels, one time out of four, and make colours stronger or paler every other."""
    if _integer(4) == 0:
        crop = crop[torch.randperm(3)]
    if _integer(2):
        return crop
    grey = crop.mean(0)
    strength = _LEAST_COLOUR * (_MOST_COLOUR / _LEAST_COLOUR) ** float(torch.rand(()))
    return torch.clamp(grey + strength * (crop - grey), 0.0, 1.0)


def _integer(n: int) -> int:
    return int(torch.randint(n, ()))
