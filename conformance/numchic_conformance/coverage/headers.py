# SPDX-License-Identifier: BSD-3-Clause
"""What the headers of a stream exercise (coolchic-5, sections 1 to 3 and 13.1)."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import CoolChic, CoolChicHeader, Frame, Stream
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import (
    MAX_EXPGOL_CNT,
    MAX_Q_STEP,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from numchic_bitstream.v5.structure import coding_order


def span(value: int, lowest: int, highest: int) -> str:
    """Class of a value in a range."""
    if value == lowest:
        return "min"
    return "max" if value == highest else "between"


def stream_marks(data: bytes, stream: Stream) -> Iterator[str]:
    """What the video header, and all frames together, exercise."""
    header = stream.header
    n = header.n_frames
    yield f"n_frames.{span(n, 1, 4095)}"
    yield f"n_intras.{span(header.n_intras, 1, 4095)}"
    yield f"n_p_frames.{('none', 'one', 'more')[min(header.n_p_frames, 2)]}"
    yield "still" if n == 1 else "video"
    for name in ("intra_pos", "p_pos"):
        positions = getattr(header, name)
        yield f"{name}.{'sorted' if positions == tuple(sorted(positions)) else 'unsorted'}"
        for position in positions:
            yield f"{name}.{span(position, 0, 4094)}"
    yield from _size_marks("video", header.n_bytes_header, len(write_video_header(header)))
    yield f"padding.video.{-(52 + 12 * (header.n_intras + header.n_p_frames)) % 8}"
    if stream.n_bytes < len(data):
        yield "bytes-after-last-frame"
    yield from _rewritten_marks(data, stream)
    yield from _structure_marks(stream)
    for frame in stream.frames:
        yield from _frame_marks(stream, frame)


def _size_marks(kind: str, found: int, parsed: int) -> Iterator[str]:
    yield f"n_bytes_header.{kind}.{'exact' if found == parsed else 'extended'}"


def _rewritten_marks(data: bytes, stream: Stream) -> Iterator[str]:
    """Bits that a writer would have written otherwise: padding, and minus zero."""
    for kind, position, written in _rewritten(stream):
        found = data[position : position + len(written)]
        if found != written:
            # Only intra frames have padding, only the others have a flow.
            yield "global_flow.minus-zero" if kind == "inter" else f"padding-set.{kind}"


def _rewritten(stream: Stream) -> Iterator[tuple[str, int, bytes]]:
    """Every header that has no extra bytes: kind, position, what a writer makes of it."""
    header = stream.header
    headers = [("video", 0, header.n_bytes_header, write_video_header(header))]
    position = header.n_bytes_header
    for frame in stream.frames:
        kind = "frame" if frame.header.frame_type == "I" else "inter"
        size = frame.header.n_bytes_header
        headers.append((kind, position, size, write_frame_header(frame.header)))
        position += size
        for part in frame.parts:
            size = part.header.n_bytes_header
            headers.append(("coolchic", position, size, write_coolchic_header(part.header)))
            position = part.latent_offset + len(part.latent_payload)
    for kind, start, size, written in headers:
        if size == len(written):
            yield kind, start, written


def _structure_marks(stream: Stream) -> Iterator[str]:
    order = coding_order(stream.header)
    types = {coded.display_index: coded.frame_type for coded in order}
    for coded in order:
        kinds = "".join(types[reference] for reference in coded.references)
        yield f"structure.{coded.frame_type}-from-{kinds or 'nothing'}"
        if coded.frame_type == "P":
            gap = coded.display_index - coded.references[0]
            yield f"structure.P-gap-{'one' if gap == 1 else 'more'}"
        if coded.frame_type == "B":
            past, future = coded.references
            yield f"structure.B-{'centred' if (past + future) % 2 == 0 else 'off-centre'}"
    indices = [coded.display_index for coded in order]
    yield f"structure.{'in' if indices == sorted(indices) else 'out-of'}-display-order"


def _frame_marks(stream: Stream, frame: Frame) -> Iterator[str]:
    header = frame.header
    kind = "still" if len(stream.frames) == 1 else "video"
    yield f"display_index.{span(header.display_index, 0, 4094)}"
    yield f"frame_type.{header.frame_type}"
    yield f"frame_data_type.{kind}.{header.frame_data_type}"
    yield f"bitdepth.{kind}.{header.bitdepth}"
    yield f"samples.{header.frame_data_type}.{header.bitdepth}"
    yield from _size_marks(
        f"frame-{header.frame_type}", header.n_bytes_header, len(write_frame_header(header))
    )
    for index in header.index_references:
        yield f"index_references.{'zero' if index == 0 else 'more'}"
    for flow in header.global_flow:
        size = {-8191: "min", 0: "zero", 8191: "max"}.get(flow)
        yield f"global_flow.{size or ('positive' if flow > 0 else 'negative')}"
    if header.warp_filter_size is not None:
        yield f"warp_filter_size.{header.warp_filter_size}"
    for role, part in zip(("residue", "motion"), frame.parts, strict=False):
        yield from part_marks(part)
        extra = part.header.syn_layer[-1].out_ft > {
            "Iresidue": 3, "Presidue": 4, "Bresidue": 5, "Pmotion": 2, "Bmotion": 4,
        }[header.frame_type + role]  # fmt: skip
        yield f"outputs.{header.frame_type}.{role}.{'more' if extra else 'exact'}"
        if role == "motion":
            low = part.header.latent_resolution[0]
            yield f"motion.{'blocks' if low else 'every-pixel'}"
    if header.frame_data_type == "yuv420" and kind == "still":
        height, width = stream.img_size
        parity = ("even", "odd")
        yield f"yuv420.{parity[height % 2]}-height-{parity[width % 2]}-width"
        if (height, width) == (2, 2):
            yield "yuv420.smallest"


def part_marks(part: CoolChic) -> Iterator[str]:
    """What one Cool-chic header exercises."""
    header = part.header
    yield from _size_marks("coolchic", header.n_bytes_header, len(write_coolchic_header(header)))
    n_bits = 205 + 13 * len(header.syn_layer)
    yield f"padding.coolchic.{-n_bits % 8}"
    for name in (
        "linear_stabiliser_synth", "n_layer_synthesis", "ups_k_size", "ups_preconcat_k_size",
        "linear_stabiliser_arm", "n_hidden_layers_arm", "flag_hyperlatent",
        "flag_common_randomness", "final_upsampling_type", "nn_n_bit_pad",
    ):  # fmt: skip
        yield f"{name}.{getattr(header, name)}"
    for name, lowest, highest in (
        ("output_feature_ifce", 0, 31),
        ("spatial_context_arm", 1, 40),
        ("nn_n_bytes", 4, 16383),
        ("n_latent_grids", 1, 31),
    ):
        yield f"{name}.{span(getattr(header, name), lowest, highest)}"
    words = header.n_bytes_latent // 4
    yield f"n_bytes_latent.{words if words < 3 else 'more'}"
    for axis, size in zip(("height", "width"), header.img_size, strict=True):
        yield f"img_size.{axis}.{span(size, 1, 16383)}"
    for name in ("latent_resolution", "ifce_resolution", "hyperlatent_resolution"):
        for end, level in zip(("low", "high"), getattr(header, name) or (), strict=False):
            yield f"{name}.{end}.{span(level, 0, 15)}"
    for table, largest in (("nn_q_step", MAX_Q_STEP), ("nn_expgol_cnt", (MAX_EXPGOL_CNT,) * 8)):
        descriptor = getattr(header, table)
        for name, index, highest in zip(descriptor._fields, descriptor, largest, strict=True):
            if header.output_feature_ifce or not name.startswith("ifce"):
                yield f"{table}.{name}.{span(index, 0, highest)}"
            elif index:
                yield f"{table}.{name}.unused"
    yield from _layer_marks(header)
    yield from _grid_marks(header)


def _layer_marks(header: CoolChicHeader) -> Iterator[str]:
    for layer in header.syn_layer:
        yield f"syn_layer.out_ft.{span(layer.out_ft, 1, 127)}"
        yield f"syn_layer.k_size.{layer.k_size}"
        k_class = "1" if layer.k_size == 1 else "3" if layer.k_size == 3 else "more"
        yield f"layer.{layer.mode}.{layer.non_linearity}.k-{k_class}"
    first = header.syn_layer[0]
    yield f"first-layer.{first.mode}"
    yield f"last-layer.{header.syn_layer[-1].mode}.{header.syn_layer[-1].non_linearity}"
    if max(layer.k_size for layer in header.syn_layer) // 2 >= min(header.derived.dense_size):
        yield "layer.kernel-beyond-picture"
    if header.flag_common_randomness:
        stabiliser = "with" if header.linear_stabiliser_synth else "without"
        yield f"randomness.{stabiliser}-stabiliser"


def _grid_marks(header: CoolChicHeader) -> Iterator[str]:
    """Sections 3.1 to 3.3."""
    grids = header.derived.grids
    low, high = header.latent_resolution
    yield f"grids.{'one' if len(grids) == 1 else 'many'}"
    if len(grids) == 32:
        yield "grids.32"
    if any(grid.n_samples == 1 for grid in grids[:-1]):
        yield "grids.many-of-one-sample"
    if header.hyperlatent_resolution is not None:
        hyper_low, hyper_high = header.hyperlatent_resolution
        if low <= hyper_high and hyper_low <= high:
            yield "hyper.on-level-of-latent"
        yield from (
            mark
            for mark, holds in (
                ("hyper.finer-than-latents", hyper_low < low),
                ("hyper.coarser-than-latents", hyper_high > high),
                ("hyper.none-on-a-latent-level", hyper_low > high or hyper_high < low),
                ("hyper.first-decoded", grids[-1].hyper),
                ("hyper.last-decoded", grids[0].hyper),
            )
            if holds
        )
    else:
        yield "hyper.none"
    for grid in grids:
        yield f"order.{'raster' if grid.width <= 9 else 'wavefront'}"
        if grid.width in {9, 10, 11}:
            yield f"order.width-{grid.width}.{'one-row' if grid.height == 1 else 'rows'}"
        if min(grid.height, -(-grid.width // 10)) > 1:
            yield "order.samples-share-a-time"
    yield f"upsampling.kernels-{'all-used' if low == 0 else 'unused'}"
    yield f"dense.{'picture-size' if header.derived.dense_size == header.img_size else 'smaller'}"
    yield from _ifce_marks(header, grids)


def _ifce_marks(header: CoolChicHeader, grids: tuple[Grid, ...]) -> Iterator[str]:
    if header.ifce_resolution is None:
        yield "ifce.no-features"
        return
    inputs = header.derived.ifce_inputs
    lowest, highest = header.ifce_resolution
    largest = (header.img_size[0] - 1).bit_length()
    if not any(inputs):
        yield "ifce.no-grid"
    for k, (grid, n_inputs) in enumerate(zip(grids, inputs, strict=True)):
        if not n_inputs:
            yield "ifce.grid-without"
            continue
        yield f"ifce.inputs-{n_inputs if n_inputs < 3 else 'more'}"
        if n_inputs == 30:
            yield "ifce.inputs-most"
        if header.output_feature_ifce == n_inputs:
            yield "ifce.square"
        if grid.hyper:
            yield "ifce.on-hyperlatent"
        if k == len(grids) - 1:
            yield "ifce.dummy-input"
        elif grid[2:] == grids[k + 1][2:]:
            yield "ifce.equal-size-doubled" if grid.n_samples > 1 else "ifce.one-sample"
        if k + 2 < len(grids) and grids[k + 1][2:] == grids[k + 2][2:]:
            yield "ifce.stack-not-doubled"
        if k < len(grids) - 1 and (grid.height % 2 or grid.width % 2):
            yield "ifce.trimmed"
    for grid in grids:
        if grid.level > largest:
            capped = lowest <= largest <= highest
            yield f"ifce.level-capped-{'in' if capped else 'out'}"
        by_width = min(grid.level, (header.img_size[1] - 1).bit_length())
        by_height = min(grid.level, largest)
        if (lowest <= by_width <= highest) != (lowest <= by_height <= highest):
            yield "ifce.height-not-width"
    if header.img_size[0] == 1:
        yield "ifce.height-1"
