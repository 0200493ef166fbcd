# SPDX-License-Identifier: BSD-3-Clause
"""The three headers as field tables, in the order and spelling of coolchic-5, section 2. Exact.

::

    file     := video_header frame[0] ... frame[n_frames-1]              (coding order)
    frame    := frame_header coolchic(residue) [coolchic(motion) if P or B]
    coolchic := coolchic_header nn_payload[nn_n_bytes] latent_payload[n_bytes_latent]

Every header is a fixed part whose last field is ``n_bytes_header``, a variable part, and zero bits
up to the next byte. ``n_bytes_header`` counts the whole header; a larger value than the parsed size
announces unknown extra bytes, which are skipped (section 1.4).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numchic_bitstream.structure import FrameDataType, FrameType
from numchic_bitstream.tables import Field, Parsed, Values, read_header, write_header
from numchic_bitstream.v5.derived import Derived, derive

Resize = Literal["nearest", "bilinear", "bicubic"]


class Descriptor(NamedTuple):
    """Eight numbers, one per network module and kind of parameter (section 2.4)."""

    arm_weight: int
    arm_bias: int
    ifce_weight: int
    ifce_bias: int
    upsampling_weight: int
    upsampling_bias: int
    synthesis_weight: int
    synthesis_bias: int


class SynthesisLayer(NamedTuple):
    """One trunk layer of the synthesis (section 2.3)."""

    out_ft: int
    k_size: int
    mode: Literal["linear", "residual"]
    non_linearity: Literal["none", "relu"]

    def __str__(self) -> str:
        return f"{self.out_ft}-{self.k_size}-{self.mode}-{self.non_linearity}"


def _n_references(values: Values) -> int:
    return ("I", "P", "B").index(values["frame_type"])


def _descriptor(bits: int, n_legal: Iterable[int]) -> tuple[Field, ...]:
    names = Descriptor._fields
    return tuple(Field(name, bits, range(n)) for name, n in zip(names, n_legal, strict=True))


# The largest legal index of the quantisation step is also the exponent of section 2.4:
# index i stands for the step 2 ** (i - MAX_Q_STEP).
MAX_Q_STEP = Descriptor(8, 16, 8, 16, 12, 0, 12, 24)
MAX_EXPGOL_CNT = 12

VIDEO_HEADER = (
    Field("n_frames", 12, range(1, 4096)),
    Field("n_intras", 12, range(1, 4096)),
    Field("n_p_frames", 12),
    Field("n_bytes_header", 16),
    Field("intra_pos", 12, count=lambda v: int(v["n_intras"])),
    Field("p_pos", 12, count=lambda v: int(v["n_p_frames"])),
)

FRAME_HEADER = (
    Field("display_index", 12),
    Field("frame_type", 2, ("I", "P", "B")),
    Field("frame_data_type", 2, ("rgb", "yuv420", "yuv444")),
    Field("bitdepth", 4, (8, 9, 10, 11, 12, 13, 14, 15, 16)),
    Field("n_bytes_header", 16),
    Field("index_references", 12, count=_n_references),
    Field("global_flow", 14, sign="magnitude", count=lambda v: 2 * _n_references(v)),
    Field("warp_filter_size", 4, range(2, 15, 2), present=_n_references),
)

SYNTHESIS_LAYER = (
    Field("out_ft", 7, range(1, 128)),
    Field("k_size", 4, range(1, 16, 2)),
    Field("mode", 1, ("linear", "residual")),
    Field("non_linearity", 1, ("none", "relu")),
)

COOLCHIC_HEADER = (
    Field("linear_stabiliser_synth", 1),
    Field("n_layer_synthesis", 3, range(1, 8)),
    Field("ups_k_size", 4, range(4, 15, 2)),
    Field("ups_preconcat_k_size", 4, range(1, 16, 2)),
    Field("output_feature_ifce", 5),
    Field("spatial_context_arm", 6, range(1, 41)),
    Field("linear_stabiliser_arm", 1),
    Field("n_hidden_layers_arm", 3),
    Field("img_size", 14, range(1, 16384), count=lambda _: 2),
    Field("latent_resolution", 4, count=lambda _: 2),
    Field("n_latent_grids", 5),
    Field("flag_hyperlatent", 1),
    Field("flag_common_randomness", 1),
    Field("final_upsampling_type", 2, ("nearest", "bilinear", "bicubic")),
    Field("nn_q_step", elements=_descriptor(5, (m + 1 for m in MAX_Q_STEP)), build=Descriptor),
    Field("nn_expgol_cnt", elements=_descriptor(4, [MAX_EXPGOL_CNT + 1] * 8), build=Descriptor),
    Field("nn_n_bytes", 14, range(1, 1 << 14)),
    Field("nn_n_bit_pad", 3),
    Field("n_bytes_latent", 28, range(4, 1 << 28, 4)),
    Field("n_bytes_header", 16),
    Field("ifce_resolution", 4, count=lambda _: 2, present=lambda v: v["output_feature_ifce"]),
    Field("hyperlatent_resolution", 4, count=lambda _: 2, present=lambda v: v["flag_hyperlatent"]),
    Field(
        "syn_layer",
        count=lambda v: int(v["n_layer_synthesis"]),
        elements=SYNTHESIS_LAYER,
        build=SynthesisLayer,
    ),
)


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """Header of the file (section 2.1); a still image is a video of one frame."""

    n_frames: int = 1
    n_intras: int = 0
    n_p_frames: int = 0
    n_bytes_header: int = 0
    intra_pos: tuple[int, ...] = (0,)
    p_pos: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """Header of one frame (section 2.2).

    ``global_flow`` is (horizontal, vertical) in pixels, for one reference after the other.
    """

    display_index: int = 0
    frame_type: FrameType = "I"
    frame_data_type: FrameDataType = "rgb"
    bitdepth: int = 8
    n_bytes_header: int = 0
    index_references: tuple[int, ...] = ()
    global_flow: tuple[int, ...] = ()
    warp_filter_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class CoolChicHeader:
    """Architecture of one Cool-chic decoder and sizes of its payloads (section 2.3).

    ``img_size`` is (height, width); resolutions are (lowest, highest) log2 down-sampling.
    """

    linear_stabiliser_synth: int
    n_layer_synthesis: int = 0
    ups_k_size: int
    ups_preconcat_k_size: int
    output_feature_ifce: int
    spatial_context_arm: int
    linear_stabiliser_arm: int
    n_hidden_layers_arm: int
    img_size: tuple[int, int]
    latent_resolution: tuple[int, int]
    n_latent_grids: int = 0
    flag_hyperlatent: int = 0
    flag_common_randomness: int = 0
    final_upsampling_type: Resize = "bicubic"
    nn_q_step: Descriptor
    nn_expgol_cnt: Descriptor
    nn_n_bytes: int = 0
    nn_n_bit_pad: int = 0
    n_bytes_latent: int = 0
    n_bytes_header: int = 0
    ifce_resolution: tuple[int, int] | None = None
    hyperlatent_resolution: tuple[int, int] | None = None
    syn_layer: tuple[SynthesisLayer, ...]

    @functools.cached_property
    def derived(self) -> Derived:
        """What follows from the fields (2.4 and 3)."""
        steps = (m - i for m, i in zip(MAX_Q_STEP, self.nn_q_step, strict=True))
        return derive(self, Descriptor(*steps))


def read_video_header(data: bytes, offset: int = 0) -> Parsed[VideoHeader]:
    """Read the video header at byte ``offset``; fields are checked one by one, not together."""
    return read_header(data, offset, VIDEO_HEADER, VideoHeader)


def read_frame_header(data: bytes, offset: int) -> Parsed[FrameHeader]:
    """Read the frame header at byte ``offset``."""
    return read_header(data, offset, FRAME_HEADER, FrameHeader)


def read_coolchic_header(data: bytes, offset: int) -> Parsed[CoolChicHeader]:
    """Read the Cool-chic header at byte ``offset``."""
    return read_header(data, offset, COOLCHIC_HEADER, CoolChicHeader)


def write_video_header(header: VideoHeader) -> bytes:
    """Write a video header; list lengths and ``n_bytes_header`` follow from the lists."""
    derived = {"n_intras": len(header.intra_pos), "n_p_frames": len(header.p_pos)}
    return write_header(VIDEO_HEADER, header, derived)


def write_frame_header(header: FrameHeader) -> bytes:
    """Write a frame header."""
    return write_header(FRAME_HEADER, header, {})


def write_coolchic_header(header: CoolChicHeader) -> bytes:
    """Write a Cool-chic header; ``n_layer_synthesis`` follows from ``syn_layer``."""
    derived = {
        "n_layer_synthesis": len(header.syn_layer),
        "flag_hyperlatent": int(header.hyperlatent_resolution is not None),
    }
    return write_header(COOLCHIC_HEADER, header, derived)
