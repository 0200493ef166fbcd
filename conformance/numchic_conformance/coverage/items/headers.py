# SPDX-License-Identifier: BSD-3-Clause
"""Sections 1 to 3 and 13.1: headers, derived numbers, coding structure."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import Descriptor
from numchic_conformance.coverage.items.item import Item, each, items

_LAYOUT = "1 Layout and headers"
_VIDEO = "2.1 Video header"
_FRAME = "2.2 Frame header"
_COOLCHIC = "2.3 Cool-chic header"
_DESCRIPTORS = "2.4 Steps and orders"
_GRIDS = "3.1 Grids"
_IFCE = "3.2 IFCE inputs"
_DERIVED = "3.3 Derived numbers"
_STRUCTURE = "13.1 Coding structure"

_SPANS = ("min", "between", "max")


def header_items() -> Iterator[Item]:
    """Items of the headers."""
    yield from _layout()
    yield from _video_and_frame()
    yield from _coolchic()
    yield from _derived()
    yield from _structure()


def _layout() -> Iterator[Item]:
    yield from items(
        _LAYOUT,
        ("still", "a still: a video of one frame"),
        ("video", "a video"),
        ("bytes-after-last-frame", "bytes after the last frame"),
    )
    for kind in ("video", "frame-I", "coolchic"):
        yield Item(
            _LAYOUT, f"n_bytes_header.{kind}.extended", f"{kind} header with unknown extra bytes"
        )
    for kind in ("video", "frame-I", "frame-P", "frame-B", "coolchic"):
        yield Item(_LAYOUT, f"n_bytes_header.{kind}.exact", f"{kind} header of its parsed size")
    yield from each(_LAYOUT, "padding.video.{}", (0, 4), "video header with {} padding bits")
    padding = (0, 1, 2, 4, 5, 6, 7)
    yield from each(
        _LAYOUT, "padding.coolchic.{}", padding, "Cool-chic header with {} padding bits"
    )
    yield from each(
        _LAYOUT, "padding-set.{}", ("video", "frame", "coolchic"), "{} header with padding bits set"
    )


def _video_and_frame() -> Iterator[Item]:
    yield from each(_VIDEO, "n_frames.{}", _SPANS, "n_frames: {} of 1..4095")
    yield from each(_VIDEO, "n_intras.{}", _SPANS, "n_intras: {} of 1..4095")
    yield from each(_VIDEO, "n_p_frames.{}", ("none", "one", "more"), "n_p_frames: {}")
    yield from each(_VIDEO, "intra_pos.{}", _SPANS, "an element of intra_pos: {} of 0..4094")
    yield from each(_VIDEO, "p_pos.{}", ("between",), "an element of p_pos: {} of 1..4094")
    for name in ("intra_pos", "p_pos"):
        yield from each(_VIDEO, name + ".{}", ("sorted", "unsorted"), name + ": {}")
    yield from each(_FRAME, "display_index.{}", _SPANS, "display_index: {} of 0..4094")
    yield from each(_FRAME, "frame_type.{}", "IPB", "frame_type {}")
    for kind in ("still", "video"):
        for data_type in ("rgb", "yuv420", "yuv444"):
            key = f"frame_data_type.{kind}.{data_type}"
            yield Item(_FRAME, key, f"frame_data_type {data_type} in a {kind}")
    yield from each(_FRAME, "bitdepth.still.{}", range(8, 17), "bitdepth {} in a still")
    yield from each(_FRAME, "bitdepth.video.{}", (8, 10, 16), "bitdepth {} in a video")
    yield from each(_FRAME, "index_references.{}", ("zero", "more"), "a reference: {}")
    flows = ("min", "negative", "zero", "minus-zero", "positive", "max")
    yield from each(_FRAME, "global_flow.{}", flows, "global_flow: {} (-8191..8191)")
    yield from each(_FRAME, "warp_filter_size.{}", range(2, 15, 2), "warp_filter_size {}")


def _coolchic() -> Iterator[Item]:
    for name in (
        "linear_stabiliser_synth", "linear_stabiliser_arm", "flag_hyperlatent",
        "flag_common_randomness",
    ):  # fmt: skip
        yield from each(_COOLCHIC, name + ".{}", (0, 1), name + " {}")
    yield from each(_COOLCHIC, "n_layer_synthesis.{}", range(1, 8), "n_layer_synthesis {}")
    yield from each(_COOLCHIC, "ups_k_size.{}", range(4, 15, 2), "ups_k_size {}")
    yield from each(
        _COOLCHIC, "ups_preconcat_k_size.{}", range(1, 16, 2), "ups_preconcat_k_size {}"
    )
    yield from each(_COOLCHIC, "output_feature_ifce.{}", _SPANS, "output_feature_ifce: {} of 0..31")
    yield from each(_COOLCHIC, "spatial_context_arm.{}", _SPANS, "spatial_context_arm: {} of 1..40")
    yield from each(_COOLCHIC, "n_hidden_layers_arm.{}", range(8), "n_hidden_layers_arm {}")
    for axis in ("height", "width"):
        yield from each(
            _COOLCHIC, f"img_size.{axis}." + "{}", _SPANS, f"img_size: {axis} {{}} of 1..16383"
        )
    for name in ("latent_resolution", "ifce_resolution", "hyperlatent_resolution"):
        for end in ("low", "high"):
            yield from each(
                _COOLCHIC, f"{name}.{end}." + "{}", _SPANS, f"{name}: {end} end {{}} of 0..15"
            )
    yield from each(_COOLCHIC, "n_latent_grids.{}", _SPANS, "n_latent_grids: {} of 1..31")
    resizes = ("nearest", "bilinear", "bicubic")
    yield from each(_COOLCHIC, "final_upsampling_type.{}", resizes, "final_upsampling_type {}")
    # 22 parameters, three of them not 0, are the least that a picture takes.
    yield from each(_COOLCHIC, "nn_n_bytes.{}", _SPANS, "nn_n_bytes: {} of 4..16383")
    yield from each(_COOLCHIC, "nn_n_bit_pad.{}", range(8), "nn_n_bit_pad {}")
    yield from each(_COOLCHIC, "n_bytes_latent.{}", (1, 2, "more"), "n_bytes_latent: {} words")
    yield from each(_COOLCHIC, "syn_layer.out_ft.{}", _SPANS, "syn_layer: out_ft {} of 1..127")
    yield from each(_COOLCHIC, "syn_layer.k_size.{}", range(1, 16, 2), "syn_layer: k_size {}")
    for name in Descriptor._fields:
        spans = ("min",) if name == "upsampling_bias" else _SPANS
        yield from each(_DESCRIPTORS, f"nn_q_step.{name}." + "{}", spans, f"step of {name}: {{}}")
        yield from each(
            _DESCRIPTORS, f"nn_expgol_cnt.{name}." + "{}", _SPANS, f"order of {name}: {{}} of 0..12"
        )
    for name in ("ifce_weight", "ifce_bias"):
        for table in ("nn_q_step", "nn_expgol_cnt"):
            text = f"{table} of {name} not 0 although there is no IFCE"
            yield Item(_DESCRIPTORS, f"{table}.{name}.unused", text)


def _derived() -> Iterator[Item]:
    yield from items(
        _GRIDS,
        ("grids.one", "a single grid"),
        ("grids.many", "several grids"),
        ("grids.32", "32 grids, more than n_latent_grids can express"),
        ("grids.many-of-one-sample", "a grid of one sample that is not the coarsest"),
        ("hyper.none", "no hyperlatents"),
        ("hyper.on-level-of-latent", "a hyperlatent on the level of a latent, and after it"),
        ("hyper.finer-than-latents", "hyperlatents on levels finer than all latents"),
        ("hyper.coarser-than-latents", "hyperlatents on levels coarser than all latents"),
        ("hyper.none-on-a-latent-level", "hyperlatents on no level of a latent"),
        ("hyper.first-decoded", "the coarsest grid is a hyperlatent"),
        ("hyper.last-decoded", "the finest grid is a hyperlatent"),
    )
    yield from items(
        _IFCE,
        ("ifce.no-features", "F = 0: no IFCE at all"),
        ("ifce.no-grid", "F > 0, but ifce_resolution has no grid"),
        ("ifce.grid-without", "a grid without IFCE beside others, or none"),
        ("ifce.inputs-1", "one input"),
        ("ifce.inputs-2", "two inputs"),
        ("ifce.inputs-more", "three inputs or more"),
        ("ifce.inputs-most", "30 inputs"),
        ("ifce.on-hyperlatent", "an IFCE of a hyperlatent"),
        ("ifce.level-capped-in", "r_k less than the level of a tiny picture, with an IFCE"),
        ("ifce.level-capped-out", "r_k less than the level of a tiny picture, without one"),
        ("ifce.height-1", "a height of 1: r_k = 0 everywhere"),
        ("ifce.height-not-width", "a grid that had another answer if the width counted"),
    )
    yield from items(
        _DERIVED,
        ("upsampling.kernels-all-used", "lo = 0: all upsampling kernels are used"),
        ("upsampling.kernels-unused", "lo > 0: the last lo kernels are not used"),
        ("upsampling.unused-kernels-not-zero", "unused kernels that are not zero"),
        ("dense.picture-size", "dense latents of picture size"),
        ("dense.smaller", "dense latents smaller than the picture"),
        ("block.upsampling_weight.none", "hi = 0: no upsampling parameters"),
        ("block.ifce_weight.none", "no IFCE parameters"),
    )


def _structure() -> Iterator[Item]:
    yield from items(
        _STRUCTURE,
        ("structure.I-from-nothing", "an intra frame"),
        ("structure.P-from-I", "a P frame that refers to an I frame"),
        ("structure.P-from-P", "a P frame that refers to a P frame"),
        ("structure.P-gap-one", "a P frame right after its reference"),
        ("structure.P-gap-more", "a P frame further away from its reference"),
        ("structure.B-centred", "a B frame in the middle of its references"),
        ("structure.B-off-centre", "a B frame before the middle, between an odd number of steps"),
        ("structure.in-display-order", "coding order equal to display order"),
        ("structure.out-of-display-order", "another coding order"),
    )
    for past in "IPB":
        for future in "IPB":
            yield Item(
                _STRUCTURE, f"structure.B-from-{past}{future}",
                f"a B frame between {past} and {future}",
            )  # fmt: skip
    for kind in ("P", "B"):
        for role in ("residue", "motion"):
            yield Item(
                _STRUCTURE, f"outputs.{kind}.{role}.exact", f"{role} of a {kind} frame: as needed"
            )
            yield Item(
                _STRUCTURE, f"outputs.{kind}.{role}.more", f"{role} of a {kind} frame: more outputs"
            )
    yield from items(
        _STRUCTURE,
        ("motion.blocks", "motion with a vector for a block, lo > 0"),
        ("motion.every-pixel", "motion with a vector for every pixel, lo = 0"),
    )
    for gain in ("alpha", "beta"):
        yield from each(
            _STRUCTURE, f"gain.{gain}.{{}}", ("below", "inside", "above"), f"{gain}: {{}} 0..1"
        )
