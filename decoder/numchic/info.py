# SPDX-License-Identifier: BSD-3-Clause
"""What a stream tells about itself without decoding its latents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numchic_bitstream.generations import Coded
from numchic_bitstream.structure import FrameDataType, FrameType


@dataclass(frozen=True)
class PartInfo:
    """One Cool-chic decoder.

    Attributes
    ----------
    role : {"residue", "motion"}
    header : dataclass
        All header fields, as in the package that reads the generation.
    grids : tuple of (height, width)
        Finest first, hyperlatents included.
    n_parameters : dict
        Number of network parameters per module.
    nn_bits : dict
        Bits they take per module; the rest of the payload is padding.
    header_bytes, nn_bytes, latent_bytes : int
    macs : dict
        Multiply-accumulates of the whole frame per module.
    """

    role: str
    header: Any
    grids: tuple[tuple[int, int], ...]
    n_parameters: dict[str, int]
    nn_bits: dict[str, int]
    header_bytes: int
    nn_bytes: int
    latent_bytes: int
    macs: dict[str, int]


@dataclass(frozen=True)
class FrameInfo:
    """One frame, in coding order.

    Attributes
    ----------
    display_index : int
    frame_type : {"I", "P", "B"}
    parts : tuple of PartInfo
        Residue and, in P and B frames, motion.
    references : tuple of int
        Display indices of the frames it is predicted from.
    global_flow : tuple of int
        Horizontal, vertical for each of them.
    warp_filter_size : int or None
    warp_macs : int
        Multiply-accumulates of its prediction.
    """

    display_index: int
    frame_type: FrameType
    parts: tuple[PartInfo, ...]
    references: tuple[int, ...] = ()
    global_flow: tuple[int, ...] = ()
    warp_filter_size: int | None = None
    warp_macs: int = 0


@dataclass(frozen=True)
class TrailerInfo:
    """What follows the last frame of a stream that has, or should have, a trailer.

    Attributes
    ----------
    n_bytes : int
        Everything after the last frame.
    problem : str or None
        What is wrong with it, or with the stream according to it; latents and samples are not
        looked at. The other attributes are None or empty if they cannot be read.
    version : int or None
    stream_crc, latents_crc, samples : str or None
        Digests in hexadecimal.
    blocks : tuple of (str, int)
        "icc", "exif", "text" or "type 77", and the size of its data.
    frame_rate : (int, int) or None
        Frames per second, as a fraction.
    """

    n_bytes: int
    problem: str | None
    version: int | None
    stream_crc: str | None
    latents_crc: str | None
    samples: str | None
    blocks: tuple[tuple[str, int], ...]
    frame_rate: tuple[int, int] | None = None


@dataclass(frozen=True)
class StreamInfo:
    """A whole stream.

    Attributes
    ----------
    generation : {"5.0", "4.2", "4.1", "4.0"}
    width, height, n_frames : int
    data_type : {"rgb", "yuv420", "yuv444"}
    bitdepth : int
    n_bytes, trailing_bytes : int
        Size of the stream, and of what follows it in the file, such as a trailer.
    bits_per_pixel : float
        Per pixel and frame, of the stream without what follows it.
    macs_per_pixel : float
        Multiply-accumulates per pixel and frame.
    memory_bytes : int
        Estimate of the decoder's arrays, with one thread.
    frames : tuple of FrameInfo
    trailer : TrailerInfo or None
        None if there is no sign of a trailer.
    """

    generation: str
    width: int
    height: int
    n_frames: int
    data_type: FrameDataType
    bitdepth: int
    n_bytes: int
    trailing_bytes: int
    bits_per_pixel: float
    macs_per_pixel: float
    memory_bytes: int
    frames: tuple[FrameInfo, ...]
    trailer: TrailerInfo | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists and numbers, ready for JSON."""
        return asdict(self)


def describe_stream(
    stream: Coded,
    frames: tuple[FrameInfo, ...],
    trailer: TrailerInfo | None,
    file_bytes: int,
    memory_bytes: int,
) -> StreamInfo:
    """Put the facts about a stream together.

    Parameters
    ----------
    stream : Coded
    frames : tuple of FrameInfo
    trailer : TrailerInfo or None
    file_bytes : int
        Size of the stream and what follows it.
    memory_bytes : int
    """
    height, width = stream.img_size
    pixels = height * width * len(frames)
    macs = sum(sum(part.macs.values()) for frame in frames for part in frame.parts)
    macs += sum(frame.warp_macs for frame in frames)
    return StreamInfo(
        generation=stream.generation,
        width=width,
        height=height,
        n_frames=len(frames),
        data_type=stream.data_type,
        bitdepth=stream.bitdepth,
        n_bytes=stream.n_bytes,
        trailing_bytes=file_bytes - stream.n_bytes,
        bits_per_pixel=8 * stream.n_bytes / pixels,
        macs_per_pixel=macs / pixels,
        memory_bytes=memory_bytes,
        frames=frames,
        trailer=trailer,
    )
