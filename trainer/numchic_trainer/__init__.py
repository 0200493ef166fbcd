# SPDX-License-Identifier: BSD-3-Clause
"""Overfit pictures and write Cool-chic 5.0 streams; needs ``pip install numchic[trainer]``.

Names are imported when they are first used, so that the command line can describe itself without
loading torch.
"""

from typing import TYPE_CHECKING

from numchic_trainer.lazy import importer

if TYPE_CHECKING:
    from numchic_trainer.config import TrainConfig
    from numchic_trainer.encoding import encode
    from numchic_trainer.ladder.stochastic import NormalStochasticBlock
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
    from numchic_trainer.pictures import read_picture
    from numchic_trainer.result import EncodeResult, Event
    from numchic_trainer.video.config import VideoConfig
    from numchic_trainer.video.encoding import encode_video
    from numchic_trainer.video.result import VideoEvent, VideoResult
    from numchic_trainer.write import load_model, write_model

_HOMES = {
    "config": ("TrainConfig",),
    "encoding": ("encode",),
    "ladder.stochastic": ("NormalStochasticBlock",),
    "model.arm": ("Arm", "ArmLinear"),
    "model.encoder": (
        "CoolChicEncoder",
        "CoolChicEncoderOutput",
        "CoolChicEncoderParameter",
        "DescriptorCoolChic",
    ),
    "model.ifce": ("Ifce",),
    "model.synthesis": ("Synthesis", "SynthesisConv2d"),
    "model.upsampling": (
        "Upsampling",
        "UpsamplingSeparableSymmetricConv2d",
        "UpsamplingSeparableSymmetricConvTranspose2d",
    ),
    "pictures": ("read_picture",),
    "result": ("EncodeResult", "Event"),
    "video.config": ("VideoConfig",),
    "video.encoding": ("encode_video",),
    "video.result": ("VideoEvent", "VideoResult"),
    "write": ("load_model", "write_model"),
}

__all__ = [
    "Arm",
    "ArmLinear",
    "CoolChicEncoder",
    "CoolChicEncoderOutput",
    "CoolChicEncoderParameter",
    "DescriptorCoolChic",
    "EncodeResult",
    "Event",
    "Ifce",
    "NormalStochasticBlock",
    "Synthesis",
    "SynthesisConv2d",
    "TrainConfig",
    "Upsampling",
    "UpsamplingSeparableSymmetricConv2d",
    "UpsamplingSeparableSymmetricConvTranspose2d",
    "VideoConfig",
    "VideoEvent",
    "VideoResult",
    "encode",
    "encode_video",
    "load_model",
    "read_picture",
    "write_model",
]


__getattr__ = importer(
    __name__,
    _HOMES,
    {"torch", "safetensors"},
    "the trainer needs {}: pip install 'numchic[trainer]'",
)


def __dir__() -> list[str]:
    return sorted(__all__)
