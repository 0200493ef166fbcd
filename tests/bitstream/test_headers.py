# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given

from builders import SMALL, header
from numchic_bitstream import (
    CoolChicHeader,
    CorruptError,
    Descriptor,
    FrameHeader,
    SynthesisLayer,
    TruncatedError,
    UsageError,
    VideoHeader,
)
from numchic_bitstream.tables import Field, Parsed
from numchic_bitstream.v5.headers import (
    COOLCHIC_HEADER,
    FRAME_HEADER,
    SYNTHESIS_LAYER,
    VIDEO_HEADER,
    read_coolchic_header,
    read_frame_header,
    read_video_header,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from reference import headers as naive
from reference.expgolomb import bits_from_bytes
from strategies import coolchic_headers, frame_headers, video_headers

AnyHeader = VideoHeader | FrameHeader | CoolChicHeader
Read = Callable[[bytes, int], Parsed[Any]]

# --- Worked example, section 2.5 ---------------------------------------------------------------

VIDEO_BYTES = bytes.fromhex("00 10 01 00 00 00 80 00")
FRAME_BYTES = bytes.fromhex("00 00 00 00 50")
COOLCHIC_BYTES = bytes.fromhex(
    "c8 73 1d 41 00 06 00 0c aa 0a 84 b2 00 4d 55 33 60 79 1f 93 00 03 c7 40 01 18 12 33 01 41"
    "88 0c f0 67 00"
)
WORKED_BITS = """
linear_stabiliser_synth 1
n_layer_synthesis 100
ups_k_size 1000
ups_preconcat_k_size 0111
output_feature_ifce 00110
spatial_context_arm 001110
linear_stabiliser_arm 1
n_hidden_layers_arm 010
img_size 00001000000000 00001100000000
latent_resolution 0000 0110
n_latent_grids 01010
flag_hyperlatent 1
flag_common_randomness 0
final_upsampling_type 10
nn_q_step.arm 00001 01010
nn_q_step.ifce 00010 01011
nn_q_step.upsampling 00100 00000
nn_q_step.synthesis 00010 01101
nn_expgol_cnt 0101 0101 0011 0011 0110 0000 0111 1001
nn_n_bytes 00011111100100
nn_n_bit_pad 110
n_bytes_latent 0000000000000111100011101000
n_bytes_header 0000000000100011
ifce_resolution 0000 0010
hyperlatent_resolution 0100 0110
syn_layer[0] 0110000 0001 0 1
syn_layer[1] 0000011 0001 0 0
syn_layer[2] 0000011 0011 1 1
syn_layer[3] 0000011 0011 1 0
"""
WORKED_HEADER = CoolChicHeader(
    linear_stabiliser_synth=1,
    n_layer_synthesis=4,
    ups_k_size=8,
    ups_preconcat_k_size=7,
    output_feature_ifce=6,
    spatial_context_arm=14,
    linear_stabiliser_arm=1,
    n_hidden_layers_arm=2,
    img_size=(512, 768),
    latent_resolution=(0, 6),
    n_latent_grids=10,
    flag_hyperlatent=1,
    flag_common_randomness=0,
    final_upsampling_type="bicubic",
    nn_q_step=Descriptor(1, 10, 2, 11, 4, 0, 2, 13),
    nn_expgol_cnt=Descriptor(5, 5, 3, 3, 6, 0, 7, 9),
    nn_n_bytes=2020,
    nn_n_bit_pad=6,
    n_bytes_latent=30952,
    n_bytes_header=35,
    ifce_resolution=(0, 2),
    hyperlatent_resolution=(4, 6),
    syn_layer=(
        SynthesisLayer(48, 1, "linear", "relu"),
        SynthesisLayer(3, 1, "linear", "none"),
        SynthesisLayer(3, 3, "residual", "relu"),
        SynthesisLayer(3, 3, "residual", "none"),
    ),
)


def test_worked_video_header() -> None:
    expected = VideoHeader(n_frames=1, n_intras=1, n_p_frames=0, n_bytes_header=8, intra_pos=(0,))
    assert read_video_header(VIDEO_BYTES).header == expected
    assert write_video_header(VideoHeader()) == VIDEO_BYTES


def test_worked_frame_header() -> None:
    assert read_frame_header(FRAME_BYTES, 0).header == FrameHeader(n_bytes_header=5)
    assert write_frame_header(FrameHeader()) == FRAME_BYTES


def test_worked_coolchic_header() -> None:
    data = VIDEO_BYTES + FRAME_BYTES + COOLCHIC_BYTES
    parsed = read_coolchic_header(data, 13)
    assert parsed.header == WORKED_HEADER
    assert write_coolchic_header(WORKED_HEADER) == COOLCHIC_BYTES
    fields = [line.split() for line in WORKED_BITS.strip().splitlines()]
    codes = [(name, code) for name, *row in fields for code in row]
    assert len(parsed.entries) == len(codes)
    bits = bits_from_bytes(data)
    for entry, (name, code) in zip(parsed.entries, codes, strict=True):
        assert entry.field.startswith(name)
        assert bits[entry.bit_offset : entry.bit_offset + entry.n_bits] == code
    assert sum(entry.n_bits for entry in parsed.entries) == 273


def test_synthesis_layers_print_as_in_the_specification() -> None:
    assert list(map(str, WORKED_HEADER.syn_layer[1:3])) == ["3-1-linear-none", "3-3-residual-relu"]


def test_inter_frame_header() -> None:
    # B frame 5 with references 3 and 9, flows (-2, 7) and (-0, -8191), filter size 8, 10 bits.
    fields = [(5, 12), (2, 2), (1, 2), (2, 4), (15, 16), (3, 12), (9, 12)]
    fields += [((1 << 13) + 2, 14), (7, 14), (1 << 13, 14), ((1 << 13) + 8191, 14), (8, 4)]
    bits = "".join(f"{value:0{n}b}" for value, n in fields)
    data = int(bits, 2).to_bytes(15, "big")
    expected = FrameHeader(
        display_index=5,
        frame_type="B",
        frame_data_type="yuv420",
        bitdepth=10,
        n_bytes_header=15,
        index_references=(3, 9),
        global_flow=(-2, 7, 0, -8191),
        warp_filter_size=8,
    )
    assert read_frame_header(data, 0).header == expected
    assert read_frame_header(write_frame_header(expected), 0).header == expected


# --- Tables, sections 2.1 to 2.3 ---------------------------------------------------------------

FIXED_PARTS: list[tuple[tuple[Field, ...], list[tuple[str, int, int]]]] = [
    (
        VIDEO_HEADER,
        [
            ("n_frames", 12, 1),
            ("n_intras", 12, 1),
            ("n_p_frames", 12, 1),
            ("n_bytes_header", 16, 1),
        ],
    ),
    (
        FRAME_HEADER,
        [
            ("display_index", 12, 1),
            ("frame_type", 2, 1),
            ("frame_data_type", 2, 1),
            ("bitdepth", 4, 1),
            ("n_bytes_header", 16, 1),
        ],
    ),
    (
        COOLCHIC_HEADER,
        [
            ("linear_stabiliser_synth", 1, 1),
            ("n_layer_synthesis", 3, 1),
            ("ups_k_size", 4, 1),
            ("ups_preconcat_k_size", 4, 1),
            ("output_feature_ifce", 5, 1),
            ("spatial_context_arm", 6, 1),
            ("linear_stabiliser_arm", 1, 1),
            ("n_hidden_layers_arm", 3, 1),
            ("img_size", 14, 2),
            ("latent_resolution", 4, 2),
            ("n_latent_grids", 5, 1),
            ("flag_hyperlatent", 1, 1),
            ("flag_common_randomness", 1, 1),
            ("final_upsampling_type", 2, 1),
            ("nn_q_step", 5, 8),
            ("nn_expgol_cnt", 4, 8),
            ("nn_n_bytes", 14, 1),
            ("nn_n_bit_pad", 3, 1),
            ("n_bytes_latent", 28, 1),
            ("n_bytes_header", 16, 1),
        ],
    ),
    (
        SYNTHESIS_LAYER,
        [("out_ft", 7, 1), ("k_size", 4, 1), ("mode", 1, 1), ("non_linearity", 1, 1)],
    ),
]


@pytest.mark.parametrize(("table", "expected"), FIXED_PARTS)
def test_fixed_parts(table: tuple[Field, ...], expected: list[tuple[str, int, int]]) -> None:
    found = []
    for field in table[: len(expected)]:
        sizes = [element.bits for element in field.elements]
        if not sizes:
            sizes = [field.bits] * (field.count({}) if field.count else 1)
        assert len(set(sizes)) == 1
        found.append((field.name, sizes[0], len(sizes)))
    assert found == expected


def test_size_of_the_fixed_part_of_the_coolchic_header() -> None:
    assert sum(bits * n for _, bits, n in FIXED_PARTS[2][1]) == 205


@pytest.mark.parametrize(("frame_type", "n_bits"), [("I", 36), ("P", 80), ("B", 120)])
def test_sizes_of_frame_headers(frame_type: Any, n_bits: int) -> None:
    n = "IPB".index(frame_type)
    data = write_frame_header(
        FrameHeader(
            frame_type=frame_type,
            index_references=(0,) * n,
            global_flow=(0, 0) * n,
            warp_filter_size=2 if n else None,
        )
    )
    assert len(data) == -(-n_bits // 8)
    assert sum(entry.n_bits for entry in read_frame_header(data, 0).entries) == n_bits


# --- Round trips -------------------------------------------------------------------------------


def as_plain(header: AnyHeader) -> dict[str, Any]:
    """Header in the form of the naive reader."""
    plain: dict[str, Any] = {}
    for name, value in dataclasses.asdict(header).items():
        if isinstance(value, Descriptor):
            plain[name] = dict(zip(naive.BLOCKS, value, strict=True))
        elif name == "syn_layer":
            plain[name] = [layer._asdict() for layer in value]
        elif value is not None:
            plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


@given(video_headers())
def test_video_header_round_trip(header: VideoHeader) -> None:
    data = write_video_header(header)
    assert read_video_header(data).header == header
    assert naive.read_video_header(data) == as_plain(header)


@given(frame_headers())
def test_frame_header_round_trip(header: FrameHeader) -> None:
    data = write_frame_header(header)
    assert read_frame_header(b"\xff" + data, 1).header == header
    assert naive.read_frame_header(data) == as_plain(header)


@given(coolchic_headers())
def test_coolchic_header_round_trip(header: CoolChicHeader) -> None:
    data = write_coolchic_header(header)
    assert read_coolchic_header(b"\xff" + data, 1).header == header
    assert naive.read_coolchic_header(data) == as_plain(header)


# --- Illegal values ----------------------------------------------------------------------------

INTER = FrameHeader(
    frame_type="B",
    bitdepth=16,
    index_references=(0, 2),
    global_flow=(-8191, 8191, 0, -1),
    warp_filter_size=14,
)
COMPLETE = header(nn_n_bytes=300, n_bytes_latent=400)
KINDS: dict[str, tuple[Read, bytes]] = {
    "video": (read_video_header, write_video_header(VideoHeader(n_frames=3, p_pos=(2, 1)))),
    "frame": (read_frame_header, write_frame_header(INTER)),
    "coolchic": (read_coolchic_header, write_coolchic_header(COMPLETE)),
}


def not_in(legal: range, n_bits: int) -> list[int]:
    return [code for code in range(1 << n_bits) if code not in legal]


ILLEGAL: list[tuple[str, str, Iterable[int]]] = [
    ("video", "n_frames", [0]),
    ("video", "n_intras", [0]),
    ("frame", "frame_type", [3]),
    ("frame", "frame_data_type", [3]),
    ("frame", "bitdepth", range(9, 16)),
    ("frame", "warp_filter_size", not_in(range(2, 15, 2), 4)),
    ("coolchic", "n_layer_synthesis", [0]),
    ("coolchic", "ups_k_size", not_in(range(4, 15, 2), 4)),
    ("coolchic", "ups_preconcat_k_size", range(0, 16, 2)),
    ("coolchic", "spatial_context_arm", [0, *range(41, 64)]),
    ("coolchic", "img_size[0]", [0]),
    ("coolchic", "img_size[1]", [0]),
    ("coolchic", "final_upsampling_type", [3]),
    ("coolchic", "nn_q_step.arm_weight", range(9, 32)),
    ("coolchic", "nn_q_step.arm_bias", range(17, 32)),
    ("coolchic", "nn_q_step.ifce_weight", range(9, 32)),
    ("coolchic", "nn_q_step.ifce_bias", range(17, 32)),
    ("coolchic", "nn_q_step.upsampling_weight", range(13, 32)),
    ("coolchic", "nn_q_step.upsampling_bias", range(1, 32)),
    ("coolchic", "nn_q_step.synthesis_weight", range(13, 32)),
    ("coolchic", "nn_q_step.synthesis_bias", range(25, 32)),
    *[("coolchic", f"nn_expgol_cnt.{name}", range(13, 16)) for name in Descriptor._fields],
    ("coolchic", "nn_n_bytes", [0]),
    ("coolchic", "n_bytes_latent", [0, 1, 2, 3, 5, (1 << 28) - 1]),
    *[("coolchic", f"syn_layer[{i}].out_ft", [0]) for i in range(3)],
    *[("coolchic", f"syn_layer[{i}].k_size", range(0, 16, 2)) for i in range(3)],
]


def with_code(data: bytes, bit_offset: int, n_bits: int, code: int) -> bytes:
    shift = 8 * len(data) - bit_offset - n_bits
    mask = (1 << n_bits) - 1
    value = int.from_bytes(data, "big") & ~(mask << shift) | code << shift
    return value.to_bytes(len(data), "big")


@pytest.mark.parametrize(("kind", "field", "codes"), ILLEGAL, ids=lambda x: str(x)[:30])
def test_illegal_values_are_named(kind: str, field: str, codes: Iterable[int]) -> None:
    read, data = KINDS[kind]
    entry = next(entry for entry in read(data, 0).entries if entry.field == field)
    for code in codes:
        with pytest.raises(CorruptError) as caught:
            read(b"\xff\xff" + with_code(data, entry.bit_offset, entry.n_bits, code), 2)
        error = caught.value
        assert (error.field, error.offset) == (field, 2 + entry.bit_offset // 8)
        assert error.found == code
        assert error.allowed


@pytest.mark.parametrize("kind", KINDS)
def test_all_other_values_are_legal(kind: str) -> None:
    """As far as the layout of the header does not depend on the field."""
    read, data = KINDS[kind]
    illegal = {field: set(codes) for k, field, codes in ILLEGAL if k == kind}
    shaping = {"frame_type", "n_layer_synthesis", "output_feature_ifce", "flag_hyperlatent"}
    for entry in read(data, 0).entries:
        if entry.n_bits < 8 and entry.field not in shaping:
            for code in set(range(1 << entry.n_bits)) - illegal.get(entry.field, set()):
                read(with_code(data, entry.bit_offset, entry.n_bits, code), 0)


@pytest.mark.parametrize(("kind", "expected"), [("video", 11), ("frame", 15), ("coolchic", 33)])
def test_size_field_of_a_header(kind: str, expected: int) -> None:
    read, data = KINDS[kind]
    assert len(data) == expected
    parsed = read(data, 0)
    entry = next(entry for entry in parsed.entries if entry.field == "n_bytes_header")
    for size in range(expected):
        with pytest.raises(CorruptError) as caught:
            read(with_code(data, entry.bit_offset, 16, size), 0)
        assert (caught.value.field, caught.value.found) == ("n_bytes_header", size)
        assert caught.value.offset == entry.bit_offset // 8
    longer = with_code(data, entry.bit_offset, 16, expected + 4)
    assert read(longer + bytes(4), 0).header.n_bytes_header == expected + 4
    with pytest.raises(TruncatedError) as truncated:
        read(longer + bytes(3), 0)
    assert truncated.value.field == "n_bytes_header"


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_of_a_header(kind: str) -> None:
    read, data = KINDS[kind]
    for n in range(len(data)):
        with pytest.raises(TruncatedError) as caught:
            read(data[:n], 0)
        assert caught.value.field is not None
        assert caught.value.offset is not None


# --- Writers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("n_frames", {"n_frames": 0}),
        ("n_frames", {"n_frames": 4096}),
        ("n_intras", {"intra_pos": ()}),
        ("intra_pos", {"intra_pos": (0, 4096)}),
        ("p_pos", {"p_pos": (-1,)}),
    ],
)
def test_video_headers_that_cannot_be_written(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        write_video_header(VideoHeader(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("display_index", {"display_index": 4096}),
        ("frame_type", {"frame_type": "X"}),
        ("bitdepth", {"bitdepth": 7}),
        ("index_references", {"index_references": (1,)}),
        ("global_flow", {"global_flow": (1, 2, 3)}),
        ("warp_filter_size", {"warp_filter_size": 3}),
        ("warp_filter_size", {"warp_filter_size": None}),
        (
            "warp_filter_size",
            {"frame_type": "I", "index_references": (), "global_flow": (), "warp_filter_size": 2},
        ),
    ],
)
def test_frame_headers_that_cannot_be_written(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        write_frame_header(dataclasses.replace(INTER, **changes))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("ups_k_size", {"ups_k_size": 5}),
        ("spatial_context_arm", {"spatial_context_arm": 41}),
        ("img_size", {"img_size": (1, 16384)}),
        ("img_size", {"img_size": (1, 2, 3)}),
        ("nn_q_step.arm_weight", {"nn_q_step": Descriptor(9, 0, 0, 0, 0, 0, 0, 0)}),
        ("nn_n_bytes", {"nn_n_bytes": 16384}),
        ("n_bytes_latent", {"n_bytes_latent": 6}),
        ("ifce_resolution", {"ifce_resolution": None}),
        ("ifce_resolution", {"output_feature_ifce": 0}),
        ("n_layer_synthesis", {"syn_layer": ()}),
        ("n_layer_synthesis", {"syn_layer": COMPLETE.syn_layer * 3}),
        ("syn_layer.k_size", {"syn_layer": (SynthesisLayer(3, 2, "linear", "none"),)}),
    ],
)
def test_coolchic_headers_that_cannot_be_written(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        write_coolchic_header(dataclasses.replace(COMPLETE, **changes))
    assert caught.value.field == field


@pytest.mark.parametrize("flow", [-8192, 8192, 10_000])
def test_flows_that_do_not_fit_cannot_be_written(flow: int) -> None:
    with pytest.raises(UsageError):
        write_frame_header(dataclasses.replace(INTER, global_flow=(0, 0, 0, flow)))


def test_derived_fields_are_filled_in() -> None:
    data = write_coolchic_header(dataclasses.replace(SMALL, nn_n_bytes=1, n_bytes_latent=4))
    read = read_coolchic_header(data, 0).header
    assert (read.n_layer_synthesis, read.flag_hyperlatent, read.n_bytes_header) == (3, 1, 33)
