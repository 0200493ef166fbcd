# SPDX-License-Identifier: BSD-3-Clause
"""Recipes of valid streams, and how they become bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numchic.v5.latents import encode_latents
from numchic_bitstream import (
    CoolChic,
    CoolChicHeader,
    Descriptor,
    Frame,
    FrameHeader,
    Parameters,
    Stream,
    SynthesisLayer,
    VideoHeader,
    write_parameters,
    write_stream,
)
from numchic_conformance.manifest import Expect, Level
from numchic_conformance.synthetic.drawing import (
    PICTURE,
    UNIFORM_8,
    LatentRule,
    Signal,
    draw_parameters,
)
from numchic_conformance.synthetic.seeded import Source

Edit = Callable[[Parameters], None]
"""Changes drawn parameters in place."""

STILL = VideoHeader()

LAYERS = (
    SynthesisLayer(6, 1, "linear", "relu"),
    SynthesisLayer(3, 1, "linear", "none"),
    SynthesisLayer(3, 3, "residual", "none"),
)

_SMALL = CoolChicHeader(
    linear_stabiliser_synth=1,
    ups_k_size=8,
    ups_preconcat_k_size=7,
    output_feature_ifce=2,
    spatial_context_arm=6,
    linear_stabiliser_arm=1,
    n_hidden_layers_arm=1,
    img_size=(13, 22),
    latent_resolution=(0, 2),
    nn_q_step=Descriptor(1, 9, 2, 10, 4, 0, 3, 13),
    nn_expgol_cnt=Descriptor(4, 5, 4, 5, 4, 0, 6, 6),
    ifce_resolution=(0, 1),
    syn_layer=LAYERS,
)


def header(**changes: Any) -> CoolChicHeader:
    """Architecture of a small still with a little of everything, some fields changed.

    Fields that follow from others are filled in, except the sizes of the payloads.
    """
    changed = dataclasses.replace(_SMALL, **changes)
    if changed.output_feature_ifce == 0:
        changed = dataclasses.replace(changed, ifce_resolution=None)
    return dataclasses.replace(
        changed,
        n_layer_synthesis=len(changed.syn_layer),
        n_latent_grids=changed.derived.n_latent_grids,
        flag_hyperlatent=int(changed.hyperlatent_resolution is not None),
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """One Cool-chic decoder.

    Parameters
    ----------
    header : CoolChicHeader
    latents : LatentRule
        How the latents are drawn.
    signal : Signal
        What the parameters of the synthesis aim at.
    edit : callable, optional
        What to change in the drawn parameters.
    """

    header: CoolChicHeader
    latents: LatentRule = UNIFORM_8
    signal: Signal = PICTURE
    edit: Edit | None = None

    def build(self, source: Source) -> CoolChic:
        """Draw what is open and write both payloads."""
        parameters = draw_parameters(source, self.header, self.signal)
        if self.edit is not None:
            self.edit(parameters)
        grids = self.latents(source, self.header, parameters)
        nn_payload, nn_n_bit_pad = write_parameters(self.header, parameters)
        return CoolChic(
            dataclasses.replace(self.header, nn_n_bit_pad=nn_n_bit_pad),
            nn_payload,
            encode_latents(self.header, parameters, grids),
        )


@dataclass(frozen=True, kw_only=True)
class CodedFrame:
    """One frame: its header, its residue, and its motion unless it is an intra frame."""

    header: FrameHeader
    residue: Part
    motion: Part | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A valid stream.

    Parameters
    ----------
    id : str
        Name of the vector, from which all its numbers are drawn.
    description : str
        One sentence: what the vector exercises.
    features : tuple of str
    level : Level
    frames : tuple of CodedFrame
        In coding order.
    video : VideoHeader
    expect : Expect
        What another decoder has to do; ours decodes all.
    """

    id: str
    description: str
    features: tuple[str, ...]
    frames: tuple[CodedFrame, ...]
    level: Level = Level.CORE
    video: VideoHeader = STILL
    expect: Expect = Expect.DECODE

    def stream(self) -> Stream:
        """Draw everything."""
        frames = []
        for i, frame in enumerate(self.frames):
            source = f"{self.id}/{i}"
            parts = [
                part.build(Source(f"{source}/{role}"))
                for role, part in (("residue", frame.residue), ("motion", frame.motion))
                if part is not None
            ]
            frames.append(Frame(frame.header, *parts))
        return Stream(self.video, tuple(frames))

    def build(self) -> bytes:
        """Return the stream as bytes."""
        return write_stream(self.stream())


def still(
    name: str,
    description: str,
    *features: str,
    latents: LatentRule = UNIFORM_8,
    edit: Edit | None = None,
    signal: Signal = PICTURE,
    level: Level = Level.CORE,
    expect: Expect = Expect.DECODE,
    frame: FrameHeader | None = None,
    **changes: Any,
) -> Recipe:
    """Return the recipe of a still; changes are for :func:`header`."""
    part = Part(header=header(**changes), latents=latents, signal=signal, edit=edit)
    coded = CodedFrame(header=frame or FrameHeader(), residue=part)
    return Recipe(
        id=name,
        description=description,
        features=features,
        frames=(coded,),
        level=level,
        expect=expect,
    )
