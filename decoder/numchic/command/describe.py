# SPDX-License-Identifier: BSD-3-Clause
"""Text that describes a stream, for people."""

from __future__ import annotations

from collections.abc import Iterator

from numchic.generations import generation
from numchic.info import PartInfo, StreamInfo, TrailerInfo


def describe(info: StreamInfo) -> Iterator[str]:
    """Yield the lines that ``numchic info`` prints."""
    frames = "still picture" if info.n_frames == 1 else f"video of {info.n_frames} frames"
    yield (
        f"Cool-chic {info.generation} {frames}, {info.width}x{info.height}, {info.data_type}, "
        + (f"{info.bitdepth} bits per sample")
    )
    yield f"  size       {info.n_bytes} bytes, {info.bits_per_pixel:.4f} bits per pixel"
    if info.trailer is not None:
        yield from _describe_trailer(info.trailer)
    elif info.trailing_bytes:
        yield f"  trailing   {info.trailing_bytes} bytes"
    yield f"  cost       {info.macs_per_pixel:.1f} multiply-accumulates per pixel"
    yield f"  memory     about {info.memory_bytes / 1e6:.1f} MB"
    for frame in info.frames:
        name = f"frame {frame.display_index} ({frame.frame_type})"
        if frame.references:
            yield f"{name}, predicted from {', '.join(map(str, frame.references))}"
            flow = ", ".join(map(str, frame.global_flow))
            yield f"  warping    {frame.warp_filter_size} taps, global flow {flow}, " + (
                f"{frame.warp_macs / (info.width * info.height):.1f} MAC per pixel"
            )
        for part in frame.parts:
            yield f"{name}, {part.role}"
            yield from _describe_part(part, info)


def _describe_trailer(trailer: TrailerInfo) -> Iterator[str]:
    yield f"  trailer    {trailer.n_bytes} bytes, {trailer.problem or 'fits the stream'}"
    if trailer.version is not None:
        yield f"  digests    stream {trailer.stream_crc}, latents {trailer.latents_crc}, " + (
            f"samples {trailer.samples or 'not recorded'}"
        )
    if trailer.blocks:
        yield "  metadata   " + ", ".join(f"{name} {size} bytes" for name, size in trailer.blocks)
    if trailer.frame_rate is not None:
        yield "  frame rate {}/{} per second".format(*trailer.frame_rate)


def _describe_part(part: PartInfo, info: StreamInfo) -> Iterator[str]:
    yield f"  bytes      header {part.header_bytes}, networks {part.nn_bytes}, " + (
        f"latents {part.latent_bytes}"
    )
    yield from generation(info.generation).describe_header(part.header)
    for module, macs in part.macs.items():
        per_pixel = macs / (info.width * info.height)
        yield f"  {module:10s} {part.n_parameters[module]:6d} parameters in " + (
            f"{part.nn_bits[module]:6d} bits, {per_pixel:8.1f} MAC per pixel"
        )
