# SPDX-License-Identifier: BSD-3-Clause
"""Feature extractors of the perceptual distortion (training, section 11)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from numchic_bitstream import UsageError


class FeatureExtractor(Protocol):
    """Anything that turns a picture into feature maps."""

    def __call__(self, picture: Tensor, /) -> list[Tensor]:
        """Feature maps of a picture.

        Parameters
        ----------
        picture : Tensor, shape (1, 3, H, W)
            In [0, 1].

        Returns
        -------
        list of Tensor, shape (C, h, w)
        """
        ...


# Luma, and two differences of colours.
_OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (-0.25, -0.25, 0.5))
# Derivatives in four directions and the second derivative.
_FILTERS = (
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
    ((0, -1, -2), (1, 0, -1), (2, 1, 0)),
    ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
)


class FilterBank:
    """Fixed filters at several scales: needs no trained weights.

    Every scale has luma and two colour differences, and of luma the positive and the negative part
    of four directed derivatives and of the second derivative: 13 channels. Scales follow each other
    by averages of 2 x 2 samples and end before a side would be shorter than 4.

    The features are scaled so that the distortion of a slightly blurred photograph is about its
    mean squared error: the same lambdas then mean similar rates.

    Parameters
    ----------
    n_scales : int
        Largest number of scales.
    """

    _GAIN = 32.0

    def __init__(self, n_scales: int = 4) -> None:
        self.n_scales = n_scales
        self.colours = torch.tensor(_OPPONENT)[:, :, None, None]
        self.filters = torch.tensor(_FILTERS, dtype=torch.float32)[:, None] / 8.0

    def __call__(self, picture: Tensor) -> list[Tensor]:
        """Feature maps, one tensor per scale; see :class:`FeatureExtractor`."""
        colours = self.colours.to(picture)
        filters = self.filters.to(picture)
        x = F.conv2d(picture, self._GAIN * colours)
        maps = []
        for scale in range(self.n_scales):
            if scale:
                if min(x.shape[-2:]) < 8:
                    break
                x = F.avg_pool2d(x, 2)
            padded = F.pad(x[:, :1], (1, 1, 1, 1), mode="replicate")
            edges = F.conv2d(padded, filters)[0]
            maps.append(torch.cat([x[0], torch.relu(edges), torch.relu(-edges)]))
        return maps


# Convolutions of VGG16 up to the fourth pooling: index of the layer in torchvision's ``features``.
_VGG_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))


class Vgg16:
    """First four blocks of VGG16, with weights of your own.

    Features are the activations after the last ReLU of each block (64, 128, 256, 512 channels).

    Parameters
    ----------
    path : Path
        A safetensors file with the names of torchvision: ``features.0.weight``,
        ``features.0.bias``, ...

    Raises
    ------
    UsageError
        A tensor is missing.
    """

    def __init__(self, path: Path) -> None:
        tensors = load_file(path)
        try:
            self.blocks = [
                [(tensors[f"features.{i}.weight"], tensors[f"features.{i}.bias"]) for i in block]
                for block in _VGG_BLOCKS
            ]
        except KeyError as error:
            raise UsageError(
                "not the weights of VGG16", str(error.args[0]), None, path.name
            ) from None

    def __call__(self, picture: Tensor) -> list[Tensor]:
        """Feature maps of the four blocks; see :class:`FeatureExtractor`."""
        maps: list[Tensor] = []
        x = picture
        for i, block in enumerate(self.blocks):
            x = F.max_pool2d(x, 2) if i and min(x.shape[-2:]) > 1 else x
            for weight, bias in block:
                x = torch.relu(F.conv2d(x, weight.to(x), bias.to(x), padding=1))
            maps.append(x[0])
        return maps
