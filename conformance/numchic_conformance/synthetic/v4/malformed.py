# SPDX-License-Identifier: BSD-3-Clause
"""4.x streams that must be refused: coolchic-4.2, section 14 and the walk of section 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numchic_conformance.manifest import ExpectedError
from numchic_conformance.synthetic.v4.coder import Encoder, encode_numbers
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.headers import (
    Frame,
    Part,
    write_frame,
    write_gop,
)
from numchic_conformance.synthetic.v4.streams import N_OUTPUTS, CodedFrame, make_frames

Change = Callable[[list[Frame]], None]
"""Changes good frames in place, or replaces some of the list."""

_SMALL: Mapping[str, Any] = {
    "arm": (8, 0),
    "ups": (1, 4, 1, 3),
    "latent": [1, 1],
    "noise": [0, 0],
    "blk": 4,
    "zero": 0,
    "copies": 0,
}


@dataclass(frozen=True, kw_only=True)
class Case4:
    """A stream that has to be refused.

    Parameters
    ----------
    id, description : str
    generation : str
    make : callable
        Gives the stream.
    error : ExpectedError
        What numchic must raise.
    features : tuple of str
    """

    id: str
    description: str
    generation: str
    make: Callable[[], bytes]
    error: ExpectedError
    features: tuple[str, ...]

    def build(self) -> bytes:
        """Return the stream."""
        return self.make()


def good_frames(generation: str = "4.2") -> list[Frame]:
    """Three frames of 8 x 8 in 4:2:0, in coding order I, P, B."""
    frames: list[CodedFrame] = []
    for index, kind in ((0, "I"), (2, "P"), (1, "B")):
        roles = zip(("residue", "motion"), N_OUTPUTS[kind], strict=False)
        parts = {role: {"syn": [(2, 1, 0, 1), (n, 1, 0, 0)]} for role, n in roles}
        frames.append((index, kind, {**parts, "empty": ()}))
    return make_frames(Draw("malformed"), generation, (8, 8), frames, **_SMALL)


def write(
    frames: list[Frame],
    *,
    size: tuple[int, int] = (8, 8),
    data_type: str = "yuv420",
    depth: int = 8,
    generation: str = "4.2",
) -> bytes:
    """Stream of frames, whatever is in them."""
    head = write_gop(*size, data_type, depth)
    return head + b"".join(write_frame(frame, generation) for frame in frames)


def changed_headers(change: Change, **file: Any) -> bytes:
    """Stream whose headers are changed and whose payloads are zeros of the right length."""
    frames = good_frames(file.get("generation", "4.2"))
    change(frames)
    for frame in frames:
        lengths = [n for part in frame.parts for pair in part.length.values() for n in pair]
        lengths += [n for part in frame.parts for n in part.len_lat]
        frame.payload = bytes(min(sum(lengths), 10_000))
    return write(frames, **file)


def part_change(frame: int, k: int, **changes: Any) -> Change:
    """Change attributes of a part."""

    def change(frames: list[Frame]) -> None:
        frames[frame].parts[k] = replace(frames[frame].parts[k], **changes)

    return change


def frame_change(index: int, **changes: Any) -> Change:
    """Change attributes of a frame."""

    def change(frames: list[Frame]) -> None:
        frames[index] = replace(frames[index], **changes)

    return change


def malformed_recipes() -> tuple[Case4, ...]:
    """All cases, in the order of the suite."""
    return (*_topologies(), *_fields(), *_frames(), *_files(), *_payloads())


def _case(
    name: str, description: str, make: Callable[[], bytes], error: str, field: str,
    feature: str, generation: str = "4.2",
) -> Case4:  # fmt: skip
    return Case4(
        id=f"{generation}-{name}",
        description=description,
        generation=generation,
        make=make,
        error=ExpectedError(error, field),
        features=("malformed", feature),
    )


def _header(
    name: str, description: str, change: Change, error: str, field: str, generation: str = "4.2"
) -> Case4:
    def make() -> bytes:
        return changed_headers(change, generation=generation)

    return _case(name, description, make, error, field, "header", generation)


def _residue(**changes: Any) -> Change:
    return part_change(0, 0, **changes)


def _motion(**changes: Any) -> Change:
    return part_change(1, 1, **changes)


def _topologies() -> Iterator[Case4]:
    """What means nothing."""
    unsupported = "UnsupportedError"
    for name, description, change, field in (
        ("context-20", "A context of 20.", _residue(arm=(20, 1)), "arm.n"),
        ("context-0", "No context.", _residue(arm=(0, 1)), "arm.n"),
        ("no-upsampling-kernel", "No upsampling kernel.", _residue(ups=(0, 4, 1, 3)), "ups.NU"),
        ("no-refinement-kernel", "No refinement kernel.", _residue(ups=(1, 4, 0, 3)), "pre.NP"),
        ("upsampling-6", "Upsampling kernels of 6.", _residue(ups=(1, 6, 1, 3)), "ups.KU"),
        ("refinement-4", "Refinement kernels of 4.", _residue(ups=(1, 4, 1, 4)), "pre.KP"),
        ("one-layer", "A synthesis of one layer.", _residue(syn=[(3, 1, 0, 1)]), "n_syn"),
        (
            "no-outputs", "A layer without outputs.",
            _residue(syn=[(0, 1, 0, 1), (3, 1, 0, 0)]), "syn[0].out",
        ),
        (
            "neighbourhood-5", "A neighbourhood of 5 x 5.",
            _residue(syn=[(3, 5, 0, 1), (3, 1, 0, 0)]), "syn[0].ks",
        ),
        (
            "residual-changes-channels", "A residual layer that changes the channels.",
            _residue(syn=[(3, 3, 1, 1), (3, 1, 0, 0)]), "syn[0].out",
        ),
        (
            "two-outputs", "A picture of two channels.",
            _residue(syn=[(5, 1, 0, 1), (2, 1, 0, 0)]), "syn[1].out",
        ),
        (
            "one-motion-output", "Motion of one channel.",
            _motion(syn=[(5, 1, 0, 1), (1, 1, 0, 0)]), "syn[1].out",
        ),
        (
            "fused-without-relu", "A first of two fused layers without ReLU.",
            _residue(syn=[(5, 1, 0, 0), (3, 1, 0, 0)]), "syn[0].relu",
        ),
        (
            "fused-residual", "A second of two fused layers that is residual.",
            _residue(syn=[(3, 1, 0, 1), (3, 1, 1, 0)]), "syn[1].residual",
        ),
        (
            "coarsest-plane-only", "Motion of the coarsest resolution.",
            _motion(latent=[0, 1], len_lat=[0, 0]), "latent_mask",
        ),
        (
            "reduced-residue", "A residue of reduced size.",
            _residue(latent=[0, 1, 1], noise=[0] * 3, len_lat=[0] * 3), "latent_mask",
        ),
        (
            "reduced-noise", "Noise at reduced size.",
            _motion(latent=[0, 1, 1], noise=[1, 0, 0], len_lat=[0] * 3), "noise_mask",
        ),
        (
            "blocks-beyond-picture", "A picture that is no whole number of motion blocks.",
            _motion(latent=[0] * 4 + [1, 1], noise=[0] * 6, len_lat=[0] * 6), "latent_mask",
        ),
    ):  # fmt: skip
        yield _header(name, description, change, unsupported, field)


def _fields() -> Iterator[Case4]:
    """What is out of range."""
    steps = {"arm": (2, 9), "ups": (4, 0), "syn": (5, 14)}
    orders = {"arm": (0, 0), "ups": (0, 0), "syn": (0, 0)}
    for name, description, change, field in (
        (
            "one-resolution", "A single resolution.",
            _residue(latent=[1], noise=[0], len_lat=[3]), "n_res",
        ),
        (
            "noise-beyond", "Noise beyond the last resolution.",
            _residue(noise=[0, 0, 1]), "noise_mask",
        ),
        ("no-latent", "No latent.", _residue(latent=[0, 0], len_lat=[0, 0]), "latent_mask"),
        ("blocks-12", "Blocks of 12.", _residue(blk=12), "blk"),
        ("blocks-adaptive-3", "Adaptive blocks of 3.", _residue(blk=-3), "blk"),
        ("arm-step-9", "A step of the ARM beyond the last one.",
         _residue(q={**steps, "arm": (9, 9)}), "arm.q_w"),
        ("upsampling-bias-step-255", "A reserved step.",
         _residue(q={**steps, "ups": (4, 255)}), "ups.q_b"),
        ("synthesis-bias-step-25", "A step of the synthesis beyond the last one.",
         _residue(q={**steps, "syn": (5, 25)}), "syn.q_b"),
        ("order-13", "A code of order 13.", _residue(eg={**orders, "ups": (13, 0)}), "ups.eg_w"),
        ("upsampling-bias-order-1", "An order for biases that there are not.",
         _residue(eg={**orders, "ups": (0, 1)}), "ups.eg_b"),
    ):  # fmt: skip
        yield _header(name, description, change, "CorruptError", field)
    yield _header(
        "upsampling-biases", "Biases of the upsampling, which has none.",
        _residue(length={"arm": (20, 3), "ups": (5, 2), "syn": (9, 9)}), "CorruptError",
        "ups.len_b",
    )  # fmt: skip
    yield _header(
        "no-arm-weights", "An ARM without weights.",
        _residue(length={"arm": (0, 20), "ups": (5, 0), "syn": (9, 9)}), "CorruptError",
        "arm.len_w",
    )  # fmt: skip
    yield _header(
        "length-beyond-31-bits", "A length of 2^31.",
        _residue(length={"arm": (1 << 31, 5), "ups": (5, 0), "syn": (5, 5)}), "CorruptError",
        "arm.len_w",
    )  # fmt: skip
    yield _header(
        "length-beyond-file", "A length beyond the file.",
        _residue(length={"arm": ((1 << 31) - 1, 5), "ups": (5, 0), "syn": (5, 5)}),
        "TruncatedError", "payload",
    )  # fmt: skip


def _reversed(frames: list[Frame]) -> None:
    frames.reverse()


def _frames() -> Iterator[Case4]:
    """Frames that do not fit together."""
    for name, description, change, field in (
        ("index-twice", "A display index twice.",
         frame_change(2, display_index=2), "display_index"),
        ("no-later-frame", "A B frame without a later frame.",
         frame_change(2, display_index=3), "display_index"),
        ("b-frame-first", "A B frame as the first one.", _reversed, "frame_type"),
        ("first-index-1", "A first frame that is not displayed first.",
         frame_change(0, display_index=1), "display_index"),
        ("flow-too-large", "A global flow that is far too large.",
         frame_change(1, flow=[(0, -(2**20) - 1)]), "global_flow[0].y"),
        ("intra-copies", "An I frame that copies a topology.",
         _residue(copies=2), "topology_copy[0]"),
    ):  # fmt: skip
        yield _header(name, description, change, "CorruptError", field)
    yield _header(
        "gap", "A display index that no frame has.", frame_change(1, display_index=3),
        "TruncatedError", "display_index",
    )  # fmt: skip
    yield _header(
        "taps-4", "Interpolation with 4 taps, which 4.0 does not know.", frame_change(1, w=1),
        "CorruptError", "w", "4.0",
    )  # fmt: skip


def _edited(edit: Callable[[bytearray], None]) -> Callable[[], bytes]:
    def make() -> bytes:
        data = bytearray(write(good_frames()))
        edit(data)
        return bytes(data)

    return make


def _put(position: int, value: int) -> Callable[[bytearray], None]:
    def edit(data: bytearray) -> None:
        data[position] = value

    return edit


def _cut(n: int) -> Callable[[bytearray], None]:
    """Leave the first n bytes, or leave out the last -n."""

    def edit(data: bytearray) -> None:
        del data[n:]

    return edit


def _files() -> Iterator[Case4]:
    """Headers of the file, ends of the file."""
    corrupt, cut = "CorruptError", "TruncatedError"
    for name, description, position, value, field in (
        ("height-0", "A height of 0.", 2, 0, "H"),
        ("width-0", "A width of 0.", 4, 0, "W"),
        ("data-type-3", "A data type that there is not.", 5, 0x30, "data_type"),
        ("bitdepth-17", "17 bits in RGB.", 5, 0x09, "bitdepth - 8"),
        ("bitdepth-9-yuv420", "9 bits in 4:2:0.", 5, 0x11, "bitdepth - 8"),
        ("frame-type-3", "A frame type that there is not.", 8, 3, "frame_type"),
        ("reserved-bit", "A reserved bit that is set.", 8, 0x80, "reserved"),
        ("odd-height", "An odd height in 4:2:0.", 2, 7, "H"),
        ("inter-frames-in-rgb", "Inter frames in RGB.", 5, 0x00, "frame_type"),
    ):
        error = "UnsupportedError" if name == "odd-height" else corrupt
        yield _case(name, description, _edited(_put(position, value)), error, field, "file")
    yield _case(
        "header-size", "A frame header that is longer than it says.",
        _edited(lambda data: _put(6, data[6] - 1)(data)), corrupt, "n_bytes_header", "file",
    )  # fmt: skip
    yield _case(
        "cut-in-first-header", "A cut inside the first frame header.", _edited(_cut(20)), cut,
        "noise_mask", "cut",
    )  # fmt: skip
    yield _case(
        "cut-in-payload", "A cut inside the last payload.", _edited(_cut(-1)), cut, "payload", "cut"
    )
    yield _case(
        "cut-between-frames", "Two of three frames, of which one comes last in display order.",
        lambda: write(good_frames()[:2]), cut, "display_index", "cut",
    )  # fmt: skip
    yield _case(
        "trailing-byte", "A byte after the last frame.",
        _edited(lambda data: data.append(0)), cut, "display_index", "cut",
    )  # fmt: skip


def _last_latent(frames: list[Frame]) -> tuple[Part, int]:
    """Part and resolution of the sub-stream that the file ends with."""
    part = frames[-1].parts[-1]
    return part, max(i for i, n in enumerate(part.len_lat) if n)


def _payloads() -> Iterator[Case4]:
    """Sub-streams that are damaged (7.5, 8, 9)."""

    def longer() -> bytes:
        frames = good_frames()
        part, i = _last_latent(frames)
        part.len_lat[i] += 1
        frames[-1].payload += b"\0"
        return write(frames)

    def shorter() -> bytes:
        frames = good_frames()
        part, i = _last_latent(frames)
        part.len_lat[i] -= 2
        frames[-1].payload = frames[-1].payload[:-2]
        return write(frames)

    def other_end() -> bytes:
        data = bytearray(write(good_frames()))
        data[-1] ^= 1
        return bytes(data)

    def with_arm_weights(stream: bytes, n_shift: int = 2) -> bytes:
        """Put another first sub-stream into the first frame."""
        frames = good_frames()
        part = frames[0].parts[0]
        old, n_biases = part.length["arm"]
        part.length["arm"] = len(stream), n_biases
        part.q["arm"] = n_shift, part.q["arm"][1]
        frames[0].payload = stream + frames[0].payload[old:]
        return write(frames)

    def too_large() -> bytes:
        order = good_frames()[0].parts[0].eg["arm"][0]
        n = good_frames()[0].parts[0].counts()["arm"][0]
        return with_arm_weights(encode_numbers([1 << 29] + [0] * (n - 1), order), 8)

    def too_long() -> bytes:
        encoder = Encoder()
        for _ in range(40):
            encoder.bypass(1)
        return with_arm_weights(encoder.finish() + bytes(20))

    name = "latent[1]"
    for case in (
        ("latent-longer", "A latent with a byte too many.", longer, "CorruptError", name),
        ("latent-shorter", "A latent without its last bytes.", shorter, "TruncatedError", name),
        ("latent-other-end", "A latent with another last byte.", other_end, "CorruptError", name),
        ("code-too-long", "A code with 40 ones in front.", too_long, "CorruptError", "arm.w"),
        (
            "parameter-too-large", "A weight of more than 32 bits.", too_large,
            "CorruptError", "arm.w",
        ),
        (
            "parameters-short", "Two bytes for all weights.", lambda: with_arm_weights(b"\0\x80"),
            "TruncatedError", "arm.w",
        ),
    ):  # fmt: skip
        yield _case(*case, "payload")
