# SPDX-License-Identifier: BSD-3-Clause
"""Inter-feature context in float, for training (coolchic-5, sections 5.3, 6.2, 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from numchic_trainer.model.arm import ArmLinear
from numchic_trainer.model.module import ParameterModule


def double(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Double a tensor (C, h, w) by repetition and keep the first rows and columns of ``size``."""
    n, height, width = x.shape
    repeated = x[:, :, None, :, None].expand(n, height, 2, width, 2)
    return repeated.reshape(n, 2 * height, 2 * width)[:, : size[0], : size[1]]


class Ifce(ParameterModule):
    """One linear layer per grid that has an IFCE.

    Parameters
    ----------
    inputs : sequence of int
        Number C_k of inputs of every grid, finest first, 0 for none.
    output_feature_ifce : int
        Number F of features.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        output_feature_ifce: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.n_features = output_feature_ifce
        self.layers = nn.ModuleDict(
            {
                str(k): ArmLinear(c, output_feature_ifce, generator=generator)
                for k, c in enumerate(inputs)
                if c
            }
        )

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        """Features of every grid from the coarser ones.

        Parameters
        ----------
        grids : sequence of Tensor, shape (h, w)
            All quantised grids, hyperlatents included, finest first.

        Returns
        -------
        list of Tensor, shape (F, h, w)
        """
        features = self.coarse(grids)
        return [
            grid.new_zeros(self.n_features, *grid.shape)
            if feature is None
            else double(feature, (grid.shape[0], grid.shape[1]))
            for grid, feature in zip(grids, features, strict=True)
        ]

    def coarse(self, grids: Sequence[Tensor]) -> list[Tensor | None]:
        """Features of every grid before they are repeated to twice the size; None for zeros.

        The layers are linear, so they can be applied before the repetition.
        """
        features: list[Tensor | None] = []
        stack: Tensor | None = None
        for k in reversed(range(len(grids))):
            size = (grids[k].shape[0], grids[k].shape[1])
            features.append(self._features(k, stack, size))
            own = grids[k][None]
            if stack is None:
                stack = own
            else:
                same = tuple(stack.shape[1:]) == size
                stack = torch.cat([own, stack if same else double(stack, size)])
        return features[::-1]

    def _features(self, k: int, stack: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        if not self.inputs[k]:
            return None
        layer = cast("ArmLinear", self.layers[str(k)])
        if stack is None:  # the first grid sees one channel of zeros
            shape = (self.n_features, -(-size[0] // 2), -(-size[1] // 2))
            return layer.bias[:, None, None].expand(shape)
        flat = layer.weight @ stack.flatten(1) + layer.bias[:, None]
        return flat.view(self.n_features, *stack.shape[1:])
