# SPDX-License-Identifier: BSD-3-Clause
"""Overfit pictures and write Cool-chic 5.0 streams; needs ``pip install numchic[trainer]``."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "the trainer needs torch: pip install 'numchic[trainer]'", name="torch"
    ) from _error

from numchic_trainer.model.arm import Arm, ArmLinear
from numchic_trainer.model.encoder import (
    CoolChicEncoder,
    CoolChicEncoderOutput,
    CoolChicEncoderParameter,
    DescriptorCoolChic,
)
from numchic_trainer.model.ifce import Ifce
from numchic_trainer.model.synthesis import Synthesis, SynthesisConv2d
from numchic_trainer.model.upsampling import (
    Upsampling,
    UpsamplingSeparableSymmetricConv2d,
    UpsamplingSeparableSymmetricConvTranspose2d,
)

__all__ = [
    "Arm",
    "ArmLinear",
    "CoolChicEncoder",
    "CoolChicEncoderOutput",
    "CoolChicEncoderParameter",
    "DescriptorCoolChic",
    "Ifce",
    "Synthesis",
    "SynthesisConv2d",
    "Upsampling",
    "UpsamplingSeparableSymmetricConv2d",
    "UpsamplingSeparableSymmetricConvTranspose2d",
]
