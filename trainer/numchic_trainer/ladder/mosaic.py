# SPDX-License-Identifier: BSD-3-Clause
"""First decoder networks and first latents: overfitted to crops of many pictures side by side.

From nothing a ladder and its networks learn to put everything into the finest grids. A picture that
was encoded in the usual way shows what every grid is for: its networks are a start, and its latents
are a lesson.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numchic_bitstream import read_stream
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.encoding import encode
from numchic_trainer.ladder.crops import Crops
from numchic_trainer.ladder.network import MULTIPLE
from numchic_trainer.result import Progress
from numchic_trainer.write import load_model

LMBDA = 1e-3
"""What the mosaic is encoded for."""

_ROWS, _COLUMNS = 3, 4
_STEP = 64  # of the windows: pixels per sample of the coarsest grid


class Mosaic(NamedTuple):
    """A picture of twelve crops and what its encode has found.

    ``picture`` has shape (3, 384, 512) and is in [0, 1]; ``latents``, finest first, have shape
    (384 / 2^i, 512 / 2^i); ``networks`` are named as in CoolChicEncoder.
    """

    picture: Tensor
    latents: list[Tensor]
    networks: dict[str, Tensor]

    def windows(self, n: int) -> tuple[Tensor, list[Tensor]]:
        """Draw windows with torch's global generator.

        Returns
        -------
        pictures : Tensor, shape (n, 3, 128, 128)
        latents : list of Tensor, shape (n, 1, 128 / 2^i, 128 / 2^i)
        """
        sizes = [(m - MULTIPLE) // _STEP + 1 for m in self.picture.shape[1:]]
        places = [[_STEP * int(torch.randint(m, ())) for m in sizes] for _ in range(n)]

        def cut(x: Tensor, shift: int) -> Tensor:
            size = MULTIPLE >> shift
            return torch.stack(
                [x[..., y >> shift :, u >> shift :][..., :size, :size] for y, u in places]
            )

        return cut(self.picture, 0), [cut(z[None], i) for i, z in enumerate(self.latents)]


def make_mosaic(
    crops: Crops, preset: Preset, iterations: int, seed: int, progress: Progress | None = None
) -> Mosaic:
    """Draw crops and encode them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tiles = crops.draw(_ROWS * _COLUMNS, coloured=False)
    samples = _join(tiles)
    config = TrainConfig(
        preset=preset, init="zero", iterations=iterations, lmbda=LMBDA, seed=seed, rdoq=False,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    stream = encode(samples, config, progress=progress).stream
    model = load_model(read_stream(stream).frames[0].residue)
    networks = {name: parameter.detach() for name, parameter in model.named_parameters()}
    picture = torch.from_numpy(samples).permute(2, 0, 1).to(torch.float32) / 255
    return Mosaic(picture, model.quantised_latents(), networks)


def _join(tiles: Tensor) -> NDArray[np.uint8]:
    """Samples of shape (384, 512, 3)."""
    rows = [torch.cat(list(row), 2) for row in torch.split(tiles, _COLUMNS)]
    samples = torch.round(255 * torch.cat(rows, 1)).permute(1, 2, 0)
    return samples.to(torch.uint8).numpy()
