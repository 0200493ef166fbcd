# SPDX-License-Identifier: BSD-3-Clause
"""What is encoded and how: the picture, the settings, and what follows from both."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import torch

from numchic.picture import Picture
from numchic_bitstream import Metadata, UsageError
from numchic_bitstream.arrays import F32
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.distortion import (
    Distortion,
    Measure,
    Planes,
    SquaredError,
    UserFunction,
)
from numchic_trainer.training.features import FeatureExtractor
from numchic_trainer.training.ssim import ms_ssim, ssim
from numchic_trainer.training.target import Target
from numchic_trainer.training.wasserstein import Wasserstein
from numchic_trainer.write import check_format


@dataclass(frozen=True)
class Task:
    """A picture to encode.

    Attributes
    ----------
    picture : Picture
    config : TrainConfig
    preset : str
    weights : array of float32, shape (H, W), or None
        Of every pixel's squared error, with a mean of 1.
    distortion : Distortion or None
        A function of the user instead of what the settings say.
    extractor : FeatureExtractor or None
    """

    picture: Picture
    config: TrainConfig
    preset: Preset
    weights: F32 | None = None
    distortion: Distortion | None = None
    extractor: FeatureExtractor | None = None

    @property
    def is_rgb(self) -> bool:
        """Whether the picture has the channels that packs were trained on."""
        return self.picture.data_type == "rgb"

    @property
    def metadata(self) -> Metadata | None:
        """What the trailer is to carry."""
        return self.picture.metadata if self.config.metadata else None

    def identity(self) -> str:
        """Digest of picture, weights and settings, and of the names of functions."""
        picture = self.picture
        shape = f"{picture.data_type} {picture.bitdepth} {picture.planes[0].shape}"
        functions = " ".join(_name_of(f) for f in (self.distortion, self.extractor))
        digest = hashlib.sha256(self.config.identity() + f"{shape} {functions}".encode())
        for plane in picture.planes:
            digest.update(plane.tobytes())
        if self.weights is not None:
            digest.update(self.weights.tobytes())
        return digest.hexdigest()

    def target(self, lmbda: float, device: str) -> Target:
        """Samples on a device, and what an output is compared by.

        Raises
        ------
        UsageError
            The picture cannot be tuned so, or the function of the user is no distortion.
        """
        target = Target.of_picture(self.picture, lmbda, device)
        return dataclasses.replace(target, measure=self._measure(target.planes))

    def _measure(self, original: Planes) -> Measure:
        if self.distortion is not None:
            function = UserFunction(self.distortion)
            function.check(original)
            return function
        if self.config.tune == "ssim":
            return ssim()
        if self.config.tune == "ms-ssim":
            return ms_ssim()
        if self.config.tune == "wasserstein":
            if not self.is_rgb:
                found = self.picture.data_type
                raise UsageError("only RGB pictures can be tuned so", "tune", None, found)
            return Wasserstein(self.extractor)
        if self.weights is None:
            return SquaredError()
        return SquaredError(torch.from_numpy(self.weights).to(original[0].device))

    def model(self, target: Target) -> CoolChicEncoder:
        """Return a model on the device of a target; its parameters are still to be set.

        Raises
        ------
        UsageError
            The format cannot express it, or not with these metadata.
        """
        size = (self.picture.height, self.picture.width)
        parameter = architecture(self.config, self.preset, size)
        check_format(parameter, self.picture, self.metadata)
        model = CoolChicEncoder(parameter, torch.Generator())
        if not self.is_rgb:
            _set_output_range(model, target)
        return model.to(target.planes[0].device)


def _set_output_range(model: CoolChicEncoder, target: Target) -> None:
    """Let the networks work in the range of each channel (training, section 2.6)."""
    transform = model.synthesis.output_transform
    with torch.no_grad():
        for c, channel in enumerate(plane for plane in target.planes if plane.numel()):
            transform.weight[c, c] = channel.max() - channel.min()
            transform.bias[c] = channel.min()


def _name_of(function: object) -> str:
    """Mark of a function, which is no proof that it is the same."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{getattr(named, '__qualname__', '')}"
