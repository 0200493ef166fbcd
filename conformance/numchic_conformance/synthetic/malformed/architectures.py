# SPDX-License-Identifier: BSD-3-Clause
"""Layers that do not fit each other, and pictures that cost too much."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import SynthesisLayer
from numchic_conformance.manifest import Expect, ExpectedError, Level
from numchic_conformance.synthetic.malformed.case import VIDEO, Case, refuse
from numchic_conformance.synthetic.malformed.editing import Change, put, put_all
from numchic_conformance.synthetic.recipe import Recipe, still


def architecture_cases() -> Iterator[Case]:
    """Synthesis layers and costs."""
    yield from _layers()
    yield from _costs()


def _layers() -> Iterator[Case]:
    rows = (
        ("first", "syn_layer[0].mode", "syn_layer[0].out_ft", "the first layer"),
        ("second", "syn_layer[1].mode", "syn_layer[1].out_ft", "a later layer"),
    )
    for name, field, wrong, what in rows:
        yield refuse(
            f"residual-{name}-layer", f"Synthesis: {what} is residual and changes the channels.",
            put("residue 0", field, 1), "CorruptError", wrong, "synthesis",
        )  # fmt: skip
    yield refuse(
        "residual-from-one-channel",
        "Synthesis: a residual layer from one channel to three.",
        put("residue 0", "syn_layer[1].mode", 1), "CorruptError", "syn_layer[1].out_ft",
        "synthesis",
        good=still(
            "base-one-channel", "", img_size=(6, 12),
            syn_layer=(
                SynthesisLayer(1, 1, "linear", "relu"), SynthesisLayer(3, 1, "linear", "none"),
            ),
        ),
    )  # fmt: skip
    for code in (2, 4, 6, 8, 10, 12, 14):
        yield Case(
            id=f"synthesis-kernel-{code}",
            description=f"Synthesis: an even kernel, k_size = {code}.",
            change=put("residue 0", "syn_layer[2].k_size", code),
            expect=Expect.EITHER,
            error=ExpectedError("CorruptError", "syn_layer[2].k_size"),
            features=("synthesis",),
        )
    yield refuse(
        "synthesis-kernel-0", "Synthesis: k_size = 0.",
        put("residue 0", "syn_layer[0].k_size", 0), "CorruptError", "syn_layer[0].k_size",
        "synthesis",
    )  # fmt: skip
    yield refuse(
        "outputs-2", "A still with two output channels.",
        put("residue 0", "syn_layer[0].out_ft", 2), "CorruptError", "syn_layer[0].out_ft",
        "synthesis", good=_one_layer(),
    )  # fmt: skip
    yield Case(
        id="outputs-4",
        description="A still with four output channels.",
        change=put("residue 0", "syn_layer[0].out_ft", 4),
        expect=Expect.EITHER,
        error=ExpectedError("CorruptError", "syn_layer[0].out_ft"),
        good=_one_layer(),
        features=("synthesis",),
    )
    for header, n, what in (
        ("residue 1", 3, "The residue of a P frame without alpha"),
        ("residue 2", 4, "The residue of a B frame without beta"),
        ("motion 1", 1, "The motion of a P frame without a vertical component"),
        ("motion 2", 3, "The motion of a B frame without its fourth component"),
    ):
        yield refuse(
            f"outputs-{header.replace(' ', '-')}-{n}", f"{what}: {n} output channels.",
            put(header, "syn_layer[1].out_ft", n), "CorruptError", "syn_layer[1].out_ft",
            "synthesis", "video", good=VIDEO,
        )  # fmt: skip


def _one_layer() -> Recipe:
    layer = SynthesisLayer(3, 1, "linear", "none")
    return still("base-one-layer", "", img_size=(6, 12), syn_layer=(layer,))


def _size(height: int, width: int) -> Change:
    return put_all(("residue 0", "img_size[0]", height), ("residue 0", "img_size[1]", width))


def _costs() -> Iterator[Case]:
    """Streams that may be decoded by who can afford it."""
    small = {"latent_resolution": (11, 15), "linear_stabiliser_arm": 0}
    yield Case(
        id="picture-16383x16383",
        description="A good stream of 200 bytes for a picture of 16383 x 16383.",
        change=lambda data: data,
        expect=Expect.EITHER,
        error=ExpectedError("LimitError", "pixels"),
        good=still("base-huge", "", img_size=(16383, 16383), **small),  # type: ignore[arg-type]
        features=("cost",),
        level=Level.STRESS,
    )
    yield refuse(
        "picture-16383x16383-without-data",
        "A picture of 16383 x 16383 whose latents would have to be in a few words.",
        _size(16383, 16383),
        "LimitError", "pixels", "cost",
    )  # fmt: skip
    yield refuse(
        "work-beyond-reason",
        "10^8 pixels through 40 contexts and seven hidden layers, with the payload of a small one.",
        _size(9999, 9999),
        "LimitError", "work", "cost",
        good=still(
            "base-work", "", img_size=(6, 12), spatial_context_arm=40, n_hidden_layers_arm=7
        ),
    )  # fmt: skip
    yield refuse(
        "memory-beyond-reason",
        "10^8 pixels with common randomness on eight levels, with the payload of a small one.",
        _size(9999, 9999),
        "LimitError", "memory_bytes", "cost",
        good=still(
            "base-memory", "", img_size=(6, 12), flag_common_randomness=1,
            latent_resolution=(0, 7), spatial_context_arm=1, output_feature_ifce=0,
            n_hidden_layers_arm=0,
        ),
    )  # fmt: skip
