# SPDX-License-Identifier: BSD-3-Clause
"""Parameters of a model as consecutive pieces of one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from numchic_bitstream.arrays import F32


class Flat:
    """A vector, and the parameters that from now on share its memory.

    Parameters
    ----------
    parameters : sequence of Parameter
        float32, on the CPU. Their values are kept.

    Attributes
    ----------
    parameters : sequence of Parameter
    shapes : list of tuple of int
    values : float32[n]
    pieces : list of float32
        Views, shaped like the parameters.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.shapes = [tuple(p.shape) for p in parameters]
        self.values: F32 = np.empty(sum(p.numel() for p in parameters), np.float32)
        self.pieces = self.split(self.values)
        for p, piece in zip(parameters, self.pieces, strict=True):
            piece[...] = p.detach().numpy()
            p.data = torch.from_numpy(piece)

    def split(self, vector: F32) -> list[F32]:
        """Views of another vector of this size, shaped like the parameters."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
