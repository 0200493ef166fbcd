# SPDX-License-Identifier: BSD-3-Clause
"""Sizes of the two models of P and B frames (video-training, sections 4.2 and 14.2)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from numchic_trainer.architecture import highest_resolution
from numchic_trainer.model.encoder import CoolChicEncoderParameter
from numchic_trainer.video.config import InterPreset

# Of latents that are nearly all zero: with 16, as for pictures, they are lost in noise at first.
_GAIN = 3
_FINEST_MOTION = 2  # log2: one vector for 4 x 4 pixels
_COARSEST_MOTION = 6
_HYPER = (4, 6)


class _Sizes(NamedTuple):
    """Sizes of one model.

    ``ifce`` are the features, and the finest and the coarsest latents that have them; a model
    without ``hidden`` channels has a single layer. ``is_bare``: no stabilisers, shortest filters.
    """

    contexts: int
    arm_layers: int
    ifce: tuple[int, tuple[int, int]] | None
    hidden: int
    n_spatial: int
    is_bare: bool = False


_SKIP = _Sizes(1, 0, None, 0, 0, is_bare=True)
_LINEAR = _Sizes(6, 0, None, 0, 0, is_bare=True)
_RESIDUES: dict[InterPreset, _Sizes] = {
    "skip": _SKIP,
    "linear": _LINEAR,
    "tiny": _Sizes(6, 0, None, 8, 0, is_bare=True),
    "vlop": _Sizes(6, 1, None, 8, 1),
    "lop": _Sizes(6, 2, None, 16, 1),
    "mop": _Sizes(10, 2, (2, (0, 2)), 16, 1),
    "hop": _Sizes(10, 2, (4, (0, 2)), 48, 1),
}
_MOTION_LOP = _Sizes(6, 1, None, 8, 0)
_MOTION_MOP = _Sizes(6, 2, (2, (2, 2)), 16, 0)
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
        None if sizes.is_bare else _HYPER,
        "bicubic",
    )
    latents = (0, 0) if skips else (_FINEST_MOTION, _COARSEST_MOTION)
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
        linear_stabiliser_synth=not sizes.is_bare,
        ups_k_size=4 if sizes.is_bare else 8,
        ups_preconcat_k_size=1 if sizes.is_bare else 7,
        ifce_resolution=ifce,
        output_feature_ifce=features,
        spatial_context_arm=sizes.contexts,
        linear_stabiliser_arm=not sizes.is_bare,
        n_hidden_layers_arm=sizes.arm_layers,
        latent_resolution=latents,
        hyper_latent_resolution=hyper,
        img_size=img_size,
        encoder_gain=_GAIN,
        final_upsampling_type=resize,
    )
