# SPDX-License-Identifier: BSD-3-Clause
"""What is encoded and how: the picture, the settings, and what follows from both."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import torch

from numchic.picture import Picture
from numchic_bitstream import Metadata, UsageError
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.features import FeatureExtractor
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
    extractor : FeatureExtractor or None
    """

    picture: Picture
    config: TrainConfig
    preset: Preset
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
        """Digest of picture and settings."""
        samples = b"".join(plane.tobytes() for plane in self.picture.planes)
        picture = self.picture
        shape = f"{picture.data_type} {picture.bitdepth} {picture.planes[0].shape}"
        return hashlib.sha256(self.config.identity() + shape.encode() + samples).hexdigest()

    def target(self, lmbda: float, device: str) -> Target:
        """Samples on a device, and what an output is compared by."""
        target = Target.of_picture(self.picture, lmbda, device)
        if self.config.tune == "mse":
            return target
        if not self.is_rgb:
            found = self.picture.data_type
            raise UsageError("only RGB pictures can be tuned so", "tune", None, found)
        return dataclasses.replace(target, measure=Wasserstein(self.extractor))

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
        with torch.random.fork_rng(devices=[]):
            model = CoolChicEncoder(parameter)
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
