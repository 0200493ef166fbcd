# SPDX-License-Identifier: BSD-3-Clause
"""What a 5.0 stream tells about itself without decoding its latents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numchic.info import FrameInfo, PartInfo, TrailerInfo
from numchic_bitstream.bits import Entry
from numchic_bitstream.errors import NumchicError
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import EXIF, ICC, TEXT, frame_rate
from numchic_bitstream.v5 import expgolomb
from numchic_bitstream.v5.complexity import count_macs, count_warp_macs
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import flat_parameters, read_parameters
from numchic_bitstream.v5.stream import CoolChic, Frame, Stream
from numchic_bitstream.v5.trailer import read_trailer

_BLOCK_NAMES = {ICC: "icc", EXIF: "exif", TEXT: "text"}


def describe_frames(stream: Stream) -> tuple[FrameInfo, ...]:
    """Collect the facts about all frames, in coding order.

    Raises
    ------
    StreamError
        A network payload is malformed.
    """
    return tuple(_describe_frame(frame) for frame in stream.frames)


def _describe_frame(frame: Frame) -> FrameInfo:
    header, motion = frame.header, frame.motion
    return FrameInfo(
        display_index=header.display_index,
        frame_type=header.frame_type,
        parts=tuple(
            _describe_part(role, part)
            for role, part in zip(("residue", "motion"), frame.parts, strict=False)
        ),
        references=header.index_references,
        global_flow=header.global_flow,
        warp_filter_size=header.warp_filter_size,
        warp_macs=0 if motion is None else count_warp_macs(header, motion.header),
    )


def describe_trailer(stream: Stream, data: bytes, limits: Limits) -> TrailerInfo | None:
    """Describe what follows the stream, damaged or not; None if there is no sign of a trailer."""
    values: dict[str, Any] = {}

    def listen(_: str, entries: tuple[Entry, ...]) -> None:
        values.update((entry.field.removeprefix("trailer."), entry.value) for entry in entries)

    problem = rate = None
    try:
        trailer = read_trailer(data, stream, limits, listener=listen)
        if trailer is None:
            return None
        rate = frame_rate(trailer.metadata)
    except NumchicError as error:
        problem = str(error)
    kinds = [value for field, value in values.items() if field.endswith(".type")]
    sizes = [value for field, value in values.items() if field.endswith("].n_bytes")]
    samples = values.get("samples")
    return TrailerInfo(
        n_bytes=len(data) - stream.n_bytes,
        problem=problem,
        version=values.get("version"),
        stream_crc=values.get("stream_crc"),
        latents_crc=values.get("latents_crc"),
        samples=samples if samples and samples.strip("0") else None,
        blocks=tuple(
            (_BLOCK_NAMES.get(kind, f"type {kind}"), size)
            for kind, size in zip(kinds, sizes, strict=True)
        ),
        frame_rate=rate,
    )


def _describe_part(role: str, part: CoolChic) -> PartInfo:
    header = part.header
    parameters = read_parameters(header, part.nn_payload, part.nn_offset)
    counts: dict[str, int] = {}
    bits: dict[str, int] = {}
    for module, kind, flat in flat_parameters(header, parameters):
        order = getattr(header.nn_expgol_cnt, f"{module}_{kind}")
        counts[module] = counts.get(module, 0) + flat.size
        bits[module] = bits.get(module, 0) + len(expgolomb.encode(flat.tolist(), order))
    return PartInfo(
        role=role,
        header=header,
        grids=tuple((grid.height, grid.width) for grid in header.derived.grids),
        n_parameters=counts,
        nn_bits=bits,
        header_bytes=header.n_bytes_header,
        nn_bytes=len(part.nn_payload),
        latent_bytes=len(part.latent_payload),
        macs=count_macs(header)._asdict(),
    )


def describe_header(header: CoolChicHeader) -> Iterator[str]:
    """Yield lines about the architecture, for people."""
    n_grids = len(header.derived.grids)
    yield (
        f"  latents    {header.latent_resolution[0]}..{header.latent_resolution[1]}"
        + (
            f", hyperlatents {header.hyperlatent_resolution[0]}..{header.hyperlatent_resolution[1]}"
            if header.hyperlatent_resolution
            else ""
        )
        + f", {n_grids} grids"
        + (", common randomness" if header.flag_common_randomness else "")
    )
    yield f"  ARM        {header.spatial_context_arm} contexts, " + (
        f"{header.n_hidden_layers_arm} hidden layers, stabiliser "
        f"{'yes' if header.linear_stabiliser_arm else 'no'}"
    )
    if header.ifce_resolution:
        yield f"  IFCE       {header.output_feature_ifce} features, grids " + (
            f"{header.ifce_resolution[0]}..{header.ifce_resolution[1]}"
        )
    yield f"  upsampling {header.ups_k_size} taps, pre-concatenation " + (
        f"{header.ups_preconcat_k_size}, final {header.final_upsampling_type}"
    )
    yield f"  synthesis  {' '.join(map(str, header.syn_layer))}, stabiliser " + (
        f"{'yes' if header.linear_stabiliser_synth else 'no'}"
    )
