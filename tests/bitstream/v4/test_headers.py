# SPDX-License-Identifier: BSD-3-Clause
"""Headers: the worked examples of appendix B, and every stream of the writer."""

from __future__ import annotations

import pytest

from numchic_bitstream import CorruptError
from numchic_bitstream.v4 import headers as fast
from numchic_bitstream.v4 import read_stream
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import make_stream
from reference.v4 import headers

STILL = bytes.fromhex(
    "0605500800003b000042686704300101"
    "03010003031103031007 00fef00008 03"
    "00030d060606000607846f2b3c00854c"
    "53829819 82a52d c020a4198c338542 82"
    "0b"
)
SIZE = (1360, 2048)
B_FRAME = bytes.fromhex(
    "6910026000000000"
    "42686704100101040100040311040310 0700fe"
    "f00209040003 0d03050500 0406"
    "8361243500 835525"
    "a173903287568367 82264828"
    "22686703100101050100050310 07003e"
    "f0020c07000512040101000403"
    "81080e2300825916"
    "8218816881243916"
)


def test_still_picture() -> None:
    gop, _ = fast.read_gop_header(STILL)
    assert (gop.img_size, gop.data_type, gop.bitdepth) == (SIZE, "rgb", 8)
    header, listing = fast.FrameHeaderReader(STILL, "4.2", SIZE).read(6)
    assert (header.n_bytes_header, header.display_index, header.frame_type) == (59, 0, "I")
    (part,) = header.parts
    assert part.derived.sizes[0] == part.derived.output_size == SIZE
    assert part.derived.sizes[6] == (22, 32)
    arm, ups, syn, lat = part.topology
    assert (arm, ups) == ((16, 2), (6, 8, 6, 7))
    assert [str(layer) for layer in syn] == [
        "48-1-linear-relu", "3-1-linear-none", "3-3-residual-relu", "3-3-residual-none",
    ]  # fmt: skip
    assert lat == ((False,) * 7, (True,) * 7)
    assert (part.blk, part.lead, part.latents_zero) == (-16, 0, False)
    assert part.arm == (0, 8, 6, 6, 623, 43)
    assert part.ups == (3, 0, 6, 0, 60, 0)
    assert part.syn == (3, 13, 6, 7, 716, 83)
    assert part.len_lat == (35865, 37549, 8224, 4633, 1587, 706, 267)
    assert listing.offset(1, "len_lat[0]") == 0x31
    assert listing.offset(1, "blk") == 0x1C


def test_b_frame() -> None:
    reader = fast.FrameHeaderReader(STILL + B_FRAME, "4.2", SIZE)
    reader.read(6)
    header, _ = reader.read(len(STILL))
    assert (header.n_bytes_header, header.display_index, header.frame_type) == (105, 16, "B")
    assert (header.n_taps, header.global_flow) == (8, ((0, 0), (0, 0)))
    residue, motion = header.parts
    assert residue.len_lat == (4339, 2098, 982, 487, 294, 72, 40)
    assert motion.topology.arm == (8, 2)
    assert (motion.lead, motion.len_lat) == (2, (0, 0, 280, 232, 164, 57, 22))
    assert (motion.arm, motion.ups, motion.syn) == (
        (2, 12, 4, 1, 136, 14), (7, 0, 1, 0, 35, 0), (5, 18, 4, 3, 345, 22),
    )  # fmt: skip
    assert residue.n_bytes_header + motion.n_bytes_header == 105 - 8


def test_what_the_fields_are() -> None:
    """Numbers as they are stored: C by its unit, masks as a byte, signed ones with their sign."""
    _, entries = fast.read_gop_header(STILL)
    assert [entry.value for entry in entries] == [6, *SIZE, "rgb", 0]
    _, listing = fast.FrameHeaderReader(STILL, "4.2", SIZE).read(6)
    (frame, own), (part, fields) = listing.sections
    assert (frame, part) == ("frame header 0", "cool-chic header (residue)")
    assert [(e.bit_offset, e.n_bits, e.field, e.value) for e in own] == [
        (48, 8, "n_bytes_header", 59),
        (56, 8, "display_index", 0),
        (64, 1, "reserved", 0),
        (65, 4, "topology_copy[0]", 0),
        (69, 1, "latents_zero[0]", 0),
        (70, 2, "frame_type", "I"),
    ]
    found = {e.field: (e.bit_offset // 8, e.n_bits, e.value) for e in fields}
    assert found["arm.n"] == (9, 4, 4)
    assert found["syn[2].residual"] == (21, 4, 1)
    assert found["latent_mask"] == (27, 8, 0xFE)
    assert found["blk"] == (28, 8, -16)
    assert found["arm.len_w"] == (0x29, 16, 623)
    assert found["len_lat[6]"] == (63, 16, 267)


@pytest.mark.parametrize("length", ["8888888800", "808080808000", "ffffffffff"])
def test_a_number_that_is_too_large(length: str) -> None:
    with pytest.raises(CorruptError) as caught:
        fast.FrameHeaderReader(STILL[:6] + bytes.fromhex(length), "4.2", SIZE).read(6)
    assert (caught.value.field, caught.value.offset) == ("n_bytes_header", 6)


def test_messages_say_what_is_allowed() -> None:
    data = bytearray(STILL)
    data[28] = 0xFD
    with pytest.raises(CorruptError, match=r"field blk, byte 28, found -3, .*0, 1, -1, 2, -2"):
        fast.FrameHeaderReader(bytes(data), "4.2", SIZE).read(6)


@pytest.mark.parametrize("generation", fast.GENERATIONS)
def test_all_fields_of_random_streams(generation: fast.Generation) -> None:
    order = (
        (0, "I"),
        (4, "P"),
        (2, "B"),
        (1, "B"),
        (8, "I"),
        (6, "B"),
        (3, "P"),
        (5, "B"),
        (7, "P"),
    )
    draw = Draw(generation)
    data = make_stream(draw, generation, (8, 8), "yuv444", 8, order)
    stream = read_stream(data)
    assert stream.generation == generation
    _, frames = headers.parse(data, generation)
    assert any(part.copies for frame in frames for part in frame.parts)
    for frame, expected in zip(stream.frames, frames, strict=True):
        header = frame.header
        assert (header.display_index, header.frame_type) == (expected.display_index, expected.kind)
        assert header.global_flow == tuple(expected.flow)
        for part, other in zip(frame.parts, expected.parts, strict=True):
            arm, ups, syn, lat = part.header.topology
            assert (arm, ups) == (other.arm, other.ups)
            found = [(s.n_outputs, s.k_size, s.residual, s.relu) for s in syn]
            assert found == other.syn
            assert [list(mask) for mask in lat] == [other.noise, other.latent]
            assert (part.header.blk, part.header.latents_zero) == (other.blk, other.zero)
            assert list(part.header.len_lat) == other.len_lat
            derived, counts = part.header.derived, other.counts()
            for module in other.modules:
                n_parameters = tuple(derived.n_parameters[f"{module}.{kind}"] for kind in "wb")
                assert n_parameters == counts[module]
            assert derived.coded_planes == tuple(i for i, n in enumerate(other.len_lat) if n)
            assert derived.output_size == derived.sizes[part.header.lead]
            for module, coding in part.header.modules:
                numbers = other.q[module] + other.eg[module] + other.length[module]
                assert coding == numbers
    references = {place.display_index: place.references for place in stream.places}
    assert references == {
        0: (), 4: (0,), 2: (0, 4), 1: (0, 2), 8: (), 6: (4, 8), 3: (2,), 5: (4, 6), 7: (6,),
    }  # fmt: skip
