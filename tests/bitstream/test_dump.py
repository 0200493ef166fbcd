# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import itertools

import pytest

import builders
from numchic_bitstream import LimitError, Limits, TruncatedError, dump
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import make_stream

STILL = builders.stream()
VIDEO = builders.video()
OLDER = make_stream(
    Draw("dump"), "4.2", (8, 8), "yuv420", frames=[(0, "I"), (2, "P"), (1, "B")], zero=0
)


def test_a_listing_tells_position_size_name_and_value() -> None:
    lines = list(dump(STILL))
    assert lines[0] == "video header"
    assert [line.split() for line in lines[1:7]] == [
        ["0:0", "12", "n_frames", "1"],
        ["1:4", "12", "n_intras", "1"],
        ["3:0", "12", "n_p_frames", "0"],
        ["4:4", "16", "n_bytes_header", "8"],
        ["6:4", "12", "intra_pos[0]", "0"],
        ["frame", "header", "0"],
    ]
    fields = {line.split()[2]: line.split()[3] for line in lines if line.startswith(" ")}
    assert fields["frame_data_type"] == "rgb"
    assert fields["img_size[1]"] == "6"
    assert fields["nn_q_step.synthesis_bias"] == "13"
    assert fields["syn_layer[2].mode"] == "residual"


@pytest.mark.parametrize("data", [STILL, VIDEO, OLDER], ids=["still", "video", "4.2"])
def test_a_listing_covers_everything(data: bytes) -> None:
    """Fields follow each other; only the bits that fill a header's last byte are not listed."""
    spans = []
    for line in dump(data):
        if line.startswith(" "):
            place, n_bits = line.split()[:2]
            byte, bit = map(int, place.split(":"))
            spans.append((8 * byte + bit, 8 * byte + bit + int(n_bits)))
    assert spans[0][0] == 0
    assert spans[-1][1] == 8 * len(data)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start in {end, -(-end // 8) * 8}


def test_payloads_are_listed() -> None:
    *_, networks, latents = dump(STILL)
    assert networks.split()[2] == "nn_payload"
    assert latents.split()[2] == "latent_payload"
    assert latents.endswith(" bytes")


def test_payloads_of_older_generations_are_listed() -> None:
    lines = list(dump(OLDER))
    assert lines.count("payloads (residue)") == 3
    first = lines.index("payloads (residue)")
    names = [line.split()[2] for line in lines[first + 1 :] if line.startswith(" ")]
    assert names[:5] == ["arm.w", "arm.b", "ups.w", "syn.w", "syn.b"]
    assert names[5].startswith("latent[")
    assert lines[first + 1].endswith(" bytes")


def test_bytes_after_the_last_frame_are_counted() -> None:
    *listing, last = dump(STILL + bytes(5))
    assert last == "5 bytes after the last frame"
    assert listing == list(dump(STILL))


def test_a_malformed_stream_is_listed_up_to_its_fault() -> None:
    complete = list(dump(VIDEO))
    last_header = max(i for i, line in enumerate(complete) if line.startswith("cool-chic"))
    start = int(complete[last_header + 1].split(":")[0])
    assert listed(VIDEO[: start + 20]) == complete[:last_header]


def listed(data: bytes) -> list[str]:
    """Lines before the error."""
    lines: list[str] = []
    with pytest.raises(TruncatedError):
        lines.extend(dump(data))
    return lines


def test_a_missing_payload_is_listed_too() -> None:
    assert listed(STILL[:-1]) == list(dump(STILL))


def test_nothing_is_listed_of_nothing() -> None:
    assert listed(b"") == []


def test_limits_apply() -> None:
    with pytest.raises(LimitError):
        list(dump(STILL, Limits(pixels=29)))
