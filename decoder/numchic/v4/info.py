# SPDX-License-Identifier: BSD-3-Clause
"""What a 4.x stream tells about itself without decoding its latents."""

from __future__ import annotations

from collections.abc import Iterator

from numchic.info import FrameInfo, PartInfo
from numchic_bitstream.v4.complexity import count_macs, count_warping
from numchic_bitstream.v4.headers import ROLES, CoolChicHeader
from numchic_bitstream.v4.stream import CoolChic, Frame, Stream

_MODULES = {"arm": "arm", "upsampling": "ups", "synthesis": "syn"}


def describe_frames(stream: Stream) -> tuple[FrameInfo, ...]:
    """Collect the facts about all frames, in coding order."""
    return tuple(
        _describe_frame(frame, place.references, stream.img_size)
        for frame, place in zip(stream.frames, stream.places, strict=True)
    )


def _describe_frame(
    frame: Frame, references: tuple[int, ...], img_size: tuple[int, int]
) -> FrameInfo:
    header = frame.header
    return FrameInfo(
        display_index=header.display_index,
        frame_type=header.frame_type,
        parts=tuple(
            _describe_part(role, part) for role, part in zip(ROLES, frame.parts, strict=False)
        ),
        references=references,
        global_flow=tuple(number for flow in header.global_flow for number in flow),
        warp_filter_size=header.n_taps or None,
        warp_macs=count_warping(header, img_size),
    )


def _describe_part(role: str, part: CoolChic) -> PartInfo:
    header = part.header
    counts = header.derived.n_parameters
    sizes = {name: len(stream.data) for name, stream in part.parameters.items()}

    def add_up(values: dict[str, int], module: str) -> int:
        return values.get(f"{module}.w", 0) + values.get(f"{module}.b", 0)

    latents = header.topology.lat.latent
    return PartInfo(
        role=role,
        header=header,
        grids=tuple(header.derived.sizes[i] for i, there in enumerate(latents) if there),
        n_parameters={name: add_up(counts, module) for name, module in _MODULES.items()},
        nn_bits={name: 8 * add_up(sizes, module) for name, module in _MODULES.items()},
        header_bytes=header.n_bytes_header,
        nn_bytes=sum(sizes.values()),
        latent_bytes=sum(header.len_lat),
        macs=count_macs(header),
    )


def describe_header(header: CoolChicHeader) -> Iterator[str]:
    """Yield lines about the architecture, for people."""
    arm, ups, layers, lat = header.topology
    latents = ", ".join(str(i) for i, there in enumerate(lat.latent) if there)
    noise = ", ".join(str(i) for i, there in enumerate(lat.noise) if there)
    yield (
        f"  latents    resolutions {latents}"
        + (" (all zero)" if header.latents_zero else "")
        + (f", noise {noise}" if noise else "")
        + f", {abs(header.blk)} x {abs(header.blk)} blocks"
    )
    yield f"  ARM        {arm.context_size} contexts, {arm.n_hidden} hidden layers"
    yield (
        f"  upsampling {ups.n_ups} filters of {ups.ups_size} taps, "
        f"refinement {ups.n_pre} of {ups.pre_size}"
    )
    yield f"  synthesis  {' '.join(map(str, layers))}"
