# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest

import builders
from numchic_bitstream import (
    CoolChic,
    CoolChicHeader,
    CorruptError,
    FrameHeader,
    LimitError,
    Limits,
    NumchicError,
    Stream,
    SynthesisLayer,
    TruncatedError,
    UsageError,
    read_parameters,
    read_stream,
    write_parameters,
    write_stream,
)
from numchic_bitstream.v5.headers import (
    VideoHeader,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from numchic_bitstream.v5.parameters import flat_parameters
from reference import headers as naive
from vectors import Vector, all_valid_vectors, malformed_vectors, sidecar_vectors

STILL = builders.stream()
VIDEO = builders.video()
SMALL = pytest.mark.parametrize("data", [STILL, VIDEO], ids=["still", "video"])

MODULES = ("arm", "ifce", "upsampling", "synthesis")


def read_everything(data: bytes) -> Stream:
    """Read the headers and the parameters."""
    stream = read_stream(data)
    for frame in stream.frames:
        for part in frame.parts:
            read_parameters(part.header, part.nn_payload, part.nn_offset)
    return stream


# --- Conformance vectors -----------------------------------------------------------------------


@pytest.mark.parametrize("vector", all_valid_vectors())
def test_valid_vectors_are_rewritten_byte_for_byte(vector: Vector) -> None:
    data = vector.read()
    try:
        stream = read_stream(data)
    except CorruptError:
        assert vector.expect == "decode or reject"
        return
    assert stream.n_bytes == len(data)
    assert stream.img_size == (vector.height, vector.width)
    assert len(stream.frames) == vector.frames
    assert write_stream(stream) == data
    for part in (part for frame in stream.frames for part in frame.parts):
        assert data[part.nn_offset :].startswith(part.nn_payload)
        assert data[part.latent_offset :].startswith(part.latent_payload)
        parameters = read_parameters(part.header, part.nn_payload)
        payload, n_bit_pad = write_parameters(part.header, parameters)
        assert (payload, n_bit_pad) == (part.nn_payload, part.header.nn_n_bit_pad)


@pytest.mark.parametrize("vector", sidecar_vectors())
def test_valid_vectors_hold_what_their_sidecar_says(vector: Vector) -> None:
    stream, sidecar = read_stream(vector.read()), vector.sidecar()
    assert as_sidecar(stream.header) == sidecar["video_header"]
    for frame, expected in zip(stream.frames, sidecar["coded_frames"], strict=True):
        assert as_sidecar(frame.header) == expected["frame_header"]
        for part, role in zip(frame.parts, ("residue", "motion"), strict=False):
            header = part.header
            assert as_sidecar(header) == expected[role]["header"]
            assert list(header.derived.ifce_inputs) == expected[role]["input_features_ifce"]
            parameters = read_parameters(header, part.nn_payload)
            for module, kind, values in flat_parameters(header, parameters):
                if values.size:
                    digest = expected[role]["nn"][module][kind]
                    assert (len(values), values.sum()) == (digest["count"], digest["sum"])
                    assert sha256(values) == digest["sha256"]


def as_sidecar(header: VideoHeader | FrameHeader | CoolChicHeader) -> dict[str, Any]:
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(header).items()
        if value is not None
    }
    if isinstance(header, CoolChicHeader):
        steps = [2.0**-exponent for exponent in header.derived.steps]
        plain["nn_q_step"] = by_module(steps)
        plain["nn_expgol_cnt"] = by_module(header.nn_expgol_cnt)
        del plain["syn_layer"]
        plain |= {f"syn_layer_{i}": str(layer) for i, layer in enumerate(header.syn_layer)}
    return plain


def by_module(values: Any) -> dict[str, dict[str, Any]]:
    pairs = zip(values[::2], values[1::2], strict=True)
    return {m: {"weight": w, "bias": b} for m, (w, b) in zip(MODULES, pairs, strict=True)}


def sha256(values: Any) -> str:
    return hashlib.sha256(values.astype("<i4").tobytes()).hexdigest()


# What is wrong with a malformed vector: error, field and byte. Those that are missing are fine as
# far as headers and parameters are concerned.
FAULTS: dict[str, tuple[type[NumchicError], str, int | None]] = {
    "empty": (TruncatedError, "n_frames", 0),
    "one-byte": (TruncatedError, "n_frames", 0),
    "random-bytes": (TruncatedError, "n_bytes_header", 4),
    "png-file": (TruncatedError, "n_bytes_header", 4),
    "cut-in-video-header": (TruncatedError, "n_bytes_header", 4),
    "cut-in-frame-header": (TruncatedError, "n_bytes_header", 10),
    "cut-in-coolchic-header": (TruncatedError, "nn_expgol_cnt.synthesis_weight", 30),
    "cut-in-networks": (TruncatedError, "nn_n_bytes", 31),
    "cut-before-latents": (TruncatedError, "n_bytes_latent", 33),
    "cut-in-latents-unaligned": (TruncatedError, "n_bytes_latent", 33),
    "cut-last-frame-missing": (TruncatedError, "display_index", 2900),
    "n-frames-0": (CorruptError, "n_frames", 0),
    "n-intras-4095": (TruncatedError, "intra_pos[1357]", 2042),
    "intra-not-first": (CorruptError, "intra_pos", 6),
    "intra-listed-twice": (CorruptError, "intra_pos[1]", 8),
    "video-header-length-too-small": (CorruptError, "n_bytes_header", 4),
    "frame-type-3": (CorruptError, "frame_type", 9),
    "bitdepth-index-15": (CorruptError, "bitdepth", 10),
    "frame-header-length-too-large": (CorruptError, "n_layer_synthesis", 48),
    "warp-filter-3": (CorruptError, "warp_filter_size", 1117),
    "display-index-wrong": (CorruptError, "display_index", 8),
    "image-0x0": (CorruptError, "img_size[0]", 16),
    "image-16383x16383": (LimitError, "pixels", None),
    "latent-resolution-reversed": (CorruptError, "latent_resolution", 19),
    "zero-synthesis-layers": (CorruptError, "n_layer_synthesis", 13),
    "ups-k-size-5": (CorruptError, "ups_k_size", 13),
    "preconcat-k-size-4": (CorruptError, "ups_preconcat_k_size", 14),
    "spatial-context-0": (CorruptError, "spatial_context_arm", 15),
    "final-upsampling-3": (CorruptError, "final_upsampling_type", 21),
    "qstep-index-31": (CorruptError, "nn_q_step.synthesis_weight", 25),
    "expgol-index-13": (CorruptError, "nn_expgol_cnt.arm_weight", 27),
    "nn-n-bytes-0": (CorruptError, "nn_n_bytes", 31),
    "nn-n-bytes-beyond-file": (TruncatedError, "nn_n_bytes", 31),
    "n-bytes-latent-not-multiple-of-4": (CorruptError, "n_bytes_latent", 33),
    "n-latent-grids-wrong": (CorruptError, "n_latent_grids", 20),
    "layer-0-outputs": (CorruptError, "syn_layer[0].out_ft", 40),
    "layer-residual-mismatch": (CorruptError, "syn_layer[0].out_ft", 40),
    "networks-all-zero": (CorruptError, "nn_payload.arm_weight", 48),
    "common-randomness-without-full-resolution": (CorruptError, "n_latent_grids", 20),
    "yuv420-one-row": (CorruptError, "img_size", 16),
    "motion-of-another-size": (CorruptError, "img_size", 2437),
    "older-version-stream": (TruncatedError, "intra_pos[1329]", 2000),
}


@pytest.mark.parametrize("vector", malformed_vectors())
def test_malformed_vectors(vector: Vector) -> None:
    data = vector.read()
    if vector.name not in FAULTS:
        assert vector.expect != "reject"
        read_everything(data)
        return
    assert vector.expect != "decode"
    kind, field, offset = FAULTS[vector.name]
    with pytest.raises(NumchicError) as caught:
        read_everything(data)
    error = caught.value
    assert (type(error), error.field, error.offset) == (kind, field, offset)


# --- Reading and writing small streams ---------------------------------------------------------


@SMALL
def test_small_streams_are_rewritten_byte_for_byte(data: bytes) -> None:
    stream = read_everything(data)
    assert stream.n_bytes == len(data)
    assert write_stream(stream) == data


def test_the_naive_reader_finds_the_same_parts() -> None:
    frames = naive.read_file(VIDEO)["frames"]
    stream = read_stream(VIDEO)
    assert [f["frame_header"]["frame_type"] for f in frames] == ["I", "P", "B"]
    for frame, expected in zip(stream.frames, frames, strict=True):
        for part, role in zip(frame.parts, ("residue", "motion"), strict=False):
            assert part.nn_payload == expected[role]["nn_payload"]
            assert part.latent_payload == expected[role]["latent_payload"]
        assert (frame.motion is None) == ("motion" not in expected)


def test_a_still_starts_with_eight_known_bytes() -> None:
    assert STILL.startswith(bytes.fromhex("0010010000008000"))


@SMALL
def test_bytes_after_the_last_frame_are_ignored(data: bytes) -> None:
    assert read_stream(data + b"anything") == read_stream(data)


@SMALL
def test_every_truncation_is_noticed(data: bytes) -> None:
    for n in range(len(data)):
        with pytest.raises((TruncatedError, CorruptError)) as caught:
            read_stream(data[:n])
        assert caught.value.field is not None
        assert caught.value.offset is not None
        assert caught.value.offset <= n


@pytest.mark.parametrize(("data", "step"), [(STILL, 1), (VIDEO, 23)], ids=["still", "video"])
def test_every_flipped_bit_gives_a_stream_or_our_error(data: bytes, step: int) -> None:
    number = int.from_bytes(data, "big")
    for i in range(0, 8 * len(data), step):
        with contextlib.suppress(NumchicError):
            read_everything((number ^ 1 << i).to_bytes(len(data), "big"))


def extended(header: bytes, size_offset: int) -> bytes:
    """Three more bytes, counted by the size field, which starts at bit ``size_offset``."""
    shift = 8 * len(header) - size_offset - 16
    return (int.from_bytes(header, "big") + (3 << shift)).to_bytes(len(header), "big") + b"new"


def test_unknown_header_bytes_are_skipped() -> None:
    """Section 1.4."""
    original = read_stream(STILL)
    residue = original.frames[0].residue
    video, frame, coolchic = STILL[:8], STILL[8:13], STILL[13 : residue.nn_offset]
    headers = extended(video, 36) + extended(frame, 20) + extended(coolchic, 205 - 16)
    stream = read_stream(headers + residue.nn_payload + residue.latent_payload)
    assert stream.n_bytes == len(STILL) + 9
    assert stream.frames[0].residue.nn_payload == residue.nn_payload
    assert stream.frames[0].residue.latent_payload == residue.latent_payload
    assert write_stream(stream) == STILL


def test_the_listener_hears_of_every_header_and_payload() -> None:
    titles: list[str] = []
    read_stream(VIDEO, listener=lambda title, _: titles.append(title))
    assert titles == [
        "video header",
        "frame header 0",
        "cool-chic header (residue)",
        "payloads (residue)",
        "frame header 2",
        "cool-chic header (residue)",
        "payloads (residue)",
        "cool-chic header (motion)",
        "payloads (motion)",
        "frame header 1",
        "cool-chic header (residue)",
        "payloads (residue)",
        "cool-chic header (motion)",
        "payloads (motion)",
    ]


# --- Limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("stream_bytes", len(VIDEO)),
        ("pixels", 4 * 6),
        ("frames", 3),
    ],
)
def test_limits(name: str, needed: int) -> None:
    enough: dict[str, int] = {name: needed}
    assert len(read_stream(VIDEO, Limits(**enough)).frames) == 3
    too_little: dict[str, int] = {name: needed - 1}
    with pytest.raises(LimitError) as caught:
        read_stream(VIDEO, Limits(**too_little))
    assert caught.value.field == name


def test_limits_come_before_payloads() -> None:
    header = builders.header(img_size=(16383, 16383), nn_n_bytes=1, n_bytes_latent=4)
    data = STILL[:13] + write_coolchic_header(header)
    with pytest.raises(LimitError):
        read_stream(data)


# --- Headers that contradict each other, section 15.1 ------------------------------------------


def still_of(frame: FrameHeader, **changes: Any) -> bytes:
    """Headers and payloads put together without looking at them."""
    header = builders.header(nn_n_bytes=1, n_bytes_latent=4, **changes)
    headers = (
        write_video_header(VideoHeader()),
        write_frame_header(frame),
        write_coolchic_header(header),
    )
    return b"".join(headers) + bytes(5)


def linear(*out_ft: int) -> tuple[SynthesisLayer, ...]:
    return tuple(SynthesisLayer(n, 1, "linear", "none") for n in out_ft)


RESIDUAL = SynthesisLayer(3, 1, "residual", "none")
RGB, YUV420 = FrameHeader(), FrameHeader(frame_data_type="yuv420")


@pytest.mark.parametrize(
    ("field", "frame", "changes"),
    [
        ("latent_resolution", RGB, {"latent_resolution": (2, 1)}),
        ("ifce_resolution", RGB, {"ifce_resolution": (1, 0)}),
        ("hyperlatent_resolution", RGB, {"hyperlatent_resolution": (2, 1)}),
        ("hyperlatent_resolution", RGB, {"hyperlatent_resolution": (4, 5)}),
        ("n_latent_grids", RGB, {"n_latent_grids": 4}),
        (
            "latent_resolution",
            RGB,
            {"flag_common_randomness": 1, "latent_resolution": (1, 2)},
        ),
        ("syn_layer[0].out_ft", RGB, {"syn_layer": linear(4)}),
        ("syn_layer[1].out_ft", RGB, {"syn_layer": linear(3, 2)}),
        ("syn_layer[1].out_ft", RGB, {"syn_layer": (*linear(4), RESIDUAL)}),
        ("img_size", YUV420, {"img_size": (1, 6)}),
        ("img_size", YUV420, {"img_size": (6, 1)}),
    ],
)
def test_contradictions_in_a_still(field: str, frame: FrameHeader, changes: dict[str, Any]) -> None:
    data = still_of(frame, **changes)
    with pytest.raises(CorruptError) as caught:
        read_stream(data)
    error = caught.value
    assert error.field == field
    assert error.offset is not None
    assert 13 < error.offset < len(data)


@pytest.mark.parametrize(
    ("frame", "changes"),
    [
        (RGB, {}),
        (RGB, {"syn_layer": (RESIDUAL,)}),  # three latents
        (RGB, {"flag_common_randomness": 1, "img_size": (1, 1), "latent_resolution": (1, 2)}),
        (RGB, {"hyperlatent_resolution": (3, 4)}),
        (YUV420, {"img_size": (2, 3)}),
        (RGB, {"ifce_resolution": (9, 9)}),  # used by no grid
    ],
)
def test_odd_but_legal_stills(frame: FrameHeader, changes: dict[str, Any]) -> None:
    assert read_stream(still_of(frame, **changes)).n_bytes > 0


def changed_video(
    frame: int, part: str, changes: dict[str, Any], stream: Stream | None = None
) -> Stream:
    """The small video I0 P2[0] B1[0,2], or another one, with another header somewhere."""
    stream = stream or read_stream(VIDEO)
    frames = list(stream.frames)
    holder: Any = frames[frame] if part == "frame" else getattr(frames[frame], part)
    header = dataclasses.replace(holder.header, **changes)
    holder = dataclasses.replace(holder, header=header)
    if part != "frame":
        holder = dataclasses.replace(frames[frame], **{part: holder})
    frames[frame] = holder
    return dataclasses.replace(stream, frames=tuple(frames))


@pytest.mark.parametrize(
    ("field", "frame", "part", "changes"),
    [
        ("display_index", 1, "frame", {"display_index": 1}),
        (
            "frame_type",
            1,
            "frame",
            {"frame_type": "B", "index_references": (0, 0), "global_flow": (0, 0, 0, 0)},
        ),
        ("index_references", 2, "frame", {"index_references": (2, 0)}),
        ("frame_data_type", 1, "frame", {"frame_data_type": "rgb"}),
        ("bitdepth", 2, "frame", {"bitdepth": 10}),
        ("img_size", 1, "residue", {"img_size": (4, 8)}),
        ("img_size", 2, "motion", {"img_size": (6, 6)}),
        ("syn_layer[0].out_ft", 0, "residue", {"syn_layer": linear(4)}),
        ("syn_layer[0].out_ft", 1, "residue", {"syn_layer": linear(3)}),
        ("syn_layer[0].out_ft", 2, "residue", {"syn_layer": linear(4)}),
        ("syn_layer[0].out_ft", 1, "motion", {"syn_layer": linear(1)}),
        ("syn_layer[0].out_ft", 2, "motion", {"syn_layer": linear(3)}),
    ],
)
def test_contradictions_in_a_video(
    field: str, frame: int, part: str, changes: dict[str, Any]
) -> None:
    stream = changed_video(frame, part, changes)
    with pytest.raises(CorruptError) as caught:
        write_stream(stream)
    error = caught.value
    assert error.field == field
    assert error.offset is not None
    assert error.offset > 8


def test_a_frame_that_is_stored_again() -> None:
    for frame, again in ((1, 0), (2, 2)):
        stream = changed_video(frame, "frame", {"display_index": again})
        with pytest.raises(CorruptError, match=f"frame {again} is stored again; was the encode"):
            write_stream(stream)


@pytest.mark.parametrize("img_size", [(4, 5), (3, 6)])
def test_inter_frames_in_420_have_an_even_size(img_size: tuple[int, int]) -> None:
    stream = read_stream(VIDEO)
    for frame in range(3):
        for part in ("residue", "motion")[: frame + 1]:
            stream = changed_video(frame, part, {"img_size": img_size}, stream)
    with pytest.raises(CorruptError, match="odd size in 4:2:0"):
        write_stream(stream)
    for frame in range(3):
        stream = changed_video(frame, "frame", {"frame_data_type": "yuv444"}, stream)
    assert read_stream(write_stream(stream)).img_size == img_size


@pytest.mark.parametrize("out_ft", [4, 7])
def test_inter_frames_may_have_more_outputs_than_needed(out_ft: int) -> None:
    stream = changed_video(1, "residue", {"syn_layer": linear(out_ft)})
    assert read_stream(write_stream(stream)).frames[1].residue.header.syn_layer == linear(out_ft)


# --- Streams that cannot be written ------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("nn_n_bytes", {"nn_payload": b""}),
        ("nn_n_bytes", {"nn_payload": bytes(16384)}),
        ("n_bytes_latent", {"latent_payload": bytes(6)}),
    ],
)
def test_payload_sizes_that_no_header_can_tell(field: str, changes: dict[str, Any]) -> None:
    stream = read_stream(STILL)
    part: CoolChic = dataclasses.replace(stream.frames[0].residue, **changes)
    frame = dataclasses.replace(stream.frames[0], residue=part)
    with pytest.raises(UsageError) as caught:
        write_stream(dataclasses.replace(stream, frames=(frame,)))
    assert caught.value.field == field


def test_a_stream_without_frames_cannot_be_written() -> None:
    with pytest.raises(UsageError):
        write_stream(Stream(VideoHeader(), ()))


@pytest.mark.parametrize(("data", "frame"), [(STILL, 0), (VIDEO, 2)], ids=["still", "video"])
def test_frames_with_wrong_parts_cannot_be_written(data: bytes, frame: int) -> None:
    stream = read_stream(data)
    frames = list(stream.frames)
    motion = frames[frame].residue if frames[frame].motion is None else None
    frames[frame] = dataclasses.replace(frames[frame], motion=motion)
    with pytest.raises((UsageError, CorruptError)):
        write_stream(dataclasses.replace(stream, frames=tuple(frames)))


@pytest.mark.parametrize("seed", range(5))
def test_written_parameters_are_read_back(seed: int) -> None:
    header = builders.header()
    data = builders.stream(seed)
    part = read_stream(data).frames[0].residue
    found = read_parameters(part.header, part.nn_payload)
    expected = builders.parameters(header, seed)
    for (*_, a), (*_, b) in zip(
        flat_parameters(header, found), flat_parameters(header, expected), strict=True
    ):
        assert np.array_equal(a, b)
