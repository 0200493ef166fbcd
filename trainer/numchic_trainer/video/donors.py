# SPDX-License-Identifier: BSD-3-Clause
"""Networks of a coded frame, for another one to start with (video-training, section 14.3)."""

from __future__ import annotations

import dataclasses

import torch

from numchic_bitstream import Frame
from numchic_trainer.model.encoder import CoolChicEncoder, CoolChicEncoderParameter
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.video.config import INTER_PRESETS, InterPreset
from numchic_trainer.video.models import inter_architecture
from numchic_trainer.write import load_model


def preset_of(frame: Frame) -> InterPreset | None:
    """Sizes of the networks of a P or B frame, if there is a name for them."""
    found = [CoolChicEncoderParameter.from_header(part.header) for part in frame.parts]
    n_references = 1 if frame.header.frame_type == "P" else 2
    for preset in INTER_PRESETS:
        known = inter_architecture(preset, n_references, found[0].img_size)
        if [dataclasses.replace(p, encoder_gain=found[0].encoder_gain) for p in known] == found:
            return preset
    return None


def take_networks(model: InterEncoder, donor: Frame) -> None:
    """Take the networks of a coded frame as far as there are any of the same sizes.

    Of layers with other numbers of outputs, what both have is taken: a P frame lacks what belongs
    to a second reference.
    """
    for part, coded in zip(model.parts, donor.parts, strict=True):
        found = load_model(coded)
        if _sizes_of(found) != _sizes_of(part):
            continue
        theirs = dict(found.named_parameters())
        with torch.no_grad():
            for name, own in part.named_parameters():
                if own.requires_grad and not name.startswith("latent_grids"):
                    taken = theirs[name]
                    common = tuple(slice(min(n)) for n in zip(own.shape, taken.shape, strict=True))
                    own[common] = taken[common]


def _sizes_of(model: CoolChicEncoder) -> tuple[object, ...]:
    """What two models must have in common for networks to go from one to the other."""
    shapes = [p.dim() for name, p in model.named_parameters() if not name.startswith("latent")]
    widths = [layer.out_ft for layer in model.synthesis.layer_forms[:-1]]
    return model.param.latent_resolution, model.header.derived.arm_width, widths[:1], shapes
