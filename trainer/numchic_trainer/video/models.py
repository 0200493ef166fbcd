# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of the two models of P and B frames (video-training, sections 4.2 and 14.2)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from numchic_trainer.architecture import highest_resolution
from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.video.config import InterPreset

# Of latents that are nearly all zero: with 16, as for pictures, they are lost in noise at first.
_GAIN = 3
FINEST_MOTION = 2  # log2: one vector for 4 x 4 pixels
_COARSEST_MOTION = 6
_HYPER = (4, 6)


class _Sizes(NamedTuple):
    """Sizes of one model.

    ``ifce`` are the features, and the finest and the coarsest latents that have them; a model
    without ``hidden`` channels has a single layer. ``arm_side`` and ``side``: whether ARM and
    synthesis have a stabiliser; ``taps``: of the filters.
    """

    contexts: int
    arm_layers: int
    ifce: tuple[int, tuple[int, int]] | None
    hidden: int
    n_spatial: int
    arm_side: bool
    side: bool
    taps: tuple[int, int]


_SHORT, _LONG = (4, 1), (8, 7)
_SKIP = _Sizes(1, 0, None, 0, 0, False, False, _SHORT)
_LINEAR = _Sizes(6, 0, None, 0, 0, False, False, _SHORT)
_RESIDUES: dict[InterPreset, _Sizes] = {
    "skip": _SKIP,
    "linear": _LINEAR,
    "tiny": _Sizes(6, 0, None, 8, 0, False, True, _SHORT),
    "vlop": _Sizes(6, 1, None, 8, 1, True, True, _LONG),
    "lop": _Sizes(6, 2, None, 16, 1, True, True, _LONG),
    "mop": _Sizes(10, 2, (2, (0, 2)), 16, 1, True, True, _LONG),
    "hop": _Sizes(10, 2, (4, (0, 2)), 48, 1, True, True, _LONG),
}
_MOTION_LOP = _Sizes(6, 1, None, 8, 0, True, True, _LONG)
_MOTION_MOP = _Sizes(6, 2, (2, (2, 2)), 16, 0, True, True, _LONG)
_MOTIONS: dict[InterPreset, _Sizes] = {
    "skip": _SKIP,
    "linear": _LINEAR,
    "tiny": _LINEAR,
    "vlop": _MOTION_LOP,
    "lop": _MOTION_LOP,
    "mop": _MOTION_MOP,
    "hop": _MOTION_MOP,
}


def inter_architecture(
    preset: InterPreset, n_references: int, img_size: tuple[int, int]
) -> tuple[CoolChicEncoderParameter, CoolChicEncoderParameter]:
    """Architectures of residue and motion.

    Parameters
    ----------
    preset : str
    n_references : int
        1 (P) or 2 (B).
    img_size : (int, int)
    """
    skips = preset == "skip"
    sizes = _RESIDUES[preset]
    residue = _parameter(
        sizes,
        3 + n_references,
        img_size,
        (0, 0 if skips else highest_resolution(img_size)),
        None if sizes.taps == _SHORT else _HYPER,
        "bicubic",
    )
    latents = (0, 0) if skips else (FINEST_MOTION, _COARSEST_MOTION)
    motion = _parameter(_MOTIONS[preset], 2 * n_references, img_size, latents, None, "nearest")
    return residue, motion


def _parameter(
    sizes: _Sizes,
    n_outputs: int,
    img_size: tuple[int, int],
    latents: tuple[int, int],
    hyper: tuple[int, int] | None,
    resize: Literal["nearest", "bicubic"],
) -> CoolChicEncoderParameter:
    layers = [f"{sizes.hidden}-1-linear-relu"] if sizes.hidden else []
    layers += [f"{n_outputs}-1-linear-none"]
    layers += [f"{n_outputs}-3-residual-none"] * sizes.n_spatial
    features, ifce = sizes.ifce or (0, None)
    return CoolChicEncoderParameter(
        layers_synthesis=layers,
        linear_stabiliser_synth=sizes.side,
        ups_k_size=sizes.taps[0],
        ups_preconcat_k_size=sizes.taps[1],
        ifce_resolution=ifce,
        output_feature_ifce=features,
        spatial_context_arm=sizes.contexts,
        linear_stabiliser_arm=sizes.arm_side,
        n_hidden_layers_arm=sizes.arm_layers,
        latent_resolution=latents,
        hyper_latent_resolution=hyper,
        img_size=img_size,
        encoder_gain=_GAIN,
        final_upsampling_type=resize,
    )
