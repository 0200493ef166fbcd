# SPDX-License-Identifier: BSD-3-Clause
"""A whole stream: bytes <-> headers and payloads (coolchic-5, sections 1.2, 14, 15.1). Exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from numchic_bitstream.bits import Entry, list_payloads
from numchic_bitstream.errors import CorruptError, TruncatedError, UsageError
from numchic_bitstream.limits import Limits
from numchic_bitstream.structure import CodedFrame, FrameDataType
from numchic_bitstream.tables import Parsed
from numchic_bitstream.v5.headers import (
    CoolChicHeader,
    FrameHeader,
    VideoHeader,
    read_coolchic_header,
    read_frame_header,
    read_video_header,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from numchic_bitstream.v5.structure import check_structure, coding_order

ANNOUNCEMENT_BYTE = 4
"""Byte of the first frame header whose lowest bit, a padding bit, announces a trailer."""

# Output channels that reconstruction needs (12.1, 13.2); an intra frame has exactly three.
_MIN_OUTPUTS = {
    ("I", "residue"): 3,
    ("P", "residue"): 4,
    ("B", "residue"): 5,
    ("P", "motion"): 2,
    ("B", "motion"): 4,
}


@dataclass(frozen=True)
class CoolChic:
    """One Cool-chic decoder: header and the two payloads.

    The offsets say where the payloads were found, for error messages; a writer ignores them.
    """

    header: CoolChicHeader
    nn_payload: bytes
    latent_payload: bytes
    nn_offset: int = 0
    latent_offset: int = 0


@dataclass(frozen=True)
class Frame:
    """One coded frame; ``motion`` is None for an intra frame."""

    header: FrameHeader
    residue: CoolChic
    motion: CoolChic | None = None

    @property
    def parts(self) -> tuple[CoolChic, ...]:
        """Cool-chic decoders in stream order."""
        return (self.residue,) if self.motion is None else (self.residue, self.motion)


@dataclass(frozen=True)
class Stream:
    """Everything in a file; ``frames`` in coding order. ``n_bytes`` excludes trailing bytes.

    ``trailer_announced`` says whether a trailer has to follow, see
    :mod:`numchic_bitstream.v5.trailer`.
    """

    header: VideoHeader
    frames: tuple[Frame, ...]
    n_bytes: int = 0
    trailer_announced: bool = False

    generation: ClassVar[str] = "5.0"

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        return self.frames[0].residue.header.img_size

    @property
    def data_type(self) -> FrameDataType:
        """Kind of the samples of every frame."""
        return self.frames[0].header.frame_data_type

    @property
    def bitdepth(self) -> int:
        """Bits per sample of every frame."""
        return self.frames[0].header.bitdepth

    @property
    def places(self) -> tuple[CodedFrame, ...]:
        """Display index, type and references of all frames, in coding order."""
        return tuple(
            CodedFrame(header.display_index, header.frame_type, header.index_references)
            for header in (frame.header for frame in self.frames)
        )


def read_stream(
    data: bytes,
    limits: Limits | None = None,
    *,
    listener: Callable[[str, tuple[Entry, ...]], None] | None = None,
) -> Stream:
    """Split a stream into headers and payloads and check everything that headers can tell.

    Parameters
    ----------
    data : bytes
        The whole file. Bytes after the last frame are ignored: a trailer is read by
        :func:`numchic_bitstream.v5.trailer.read_trailer`.
    limits : Limits, optional
        Budget; the default one when omitted. Work and memory are checked by the decoder, which
        knows them.
    listener : callable, optional
        Called with a title and the listing of every header as soon as it is read, and then with
        the places of the payloads that it announces.

    Raises
    ------
    TruncatedError
        The data end inside a header or payload.
    CorruptError
        A field is illegal or contradicts another one.
    LimitError
        A limit is exceeded.
    """
    return _StreamReader(data, limits or Limits(), listener).read()


class _StreamReader:
    """Walks over the data; knows the position and what must agree between frames."""

    def __init__(
        self,
        data: bytes,
        limits: Limits,
        listener: Callable[[str, tuple[Entry, ...]], None] | None,
    ) -> None:
        self.data = data
        self.limits = limits
        self.listener = listener
        self.position = 0
        self.frames: list[Frame] = []

    def read(self) -> Stream:
        self.limits.check("stream_bytes", len(self.data))
        parsed = read_video_header(self.data)
        self._listen("video header", parsed.entries)
        check_structure(parsed)
        header = parsed.header
        self.limits.check("frames", header.n_frames)
        self.position = header.n_bytes_header
        for coded in coding_order(header):
            self.frames.append(self._read_frame(coded))
        announced = self.data[header.n_bytes_header + ANNOUNCEMENT_BYTE] & 1
        return Stream(header, tuple(self.frames), self.position, bool(announced))

    def _listen(self, title: str, entries: tuple[Entry, ...]) -> None:
        if self.listener is not None:
            self.listener(title, entries)

    def _read_frame(self, coded: CodedFrame) -> Frame:
        first = self.frames[0] if self.frames else None
        parsed = read_frame_header(self.data, self.position)
        self._listen(f"frame header {coded.display_index}", parsed.entries)
        header = parsed.header
        expected: dict[str, object] = {
            "display_index": coded.display_index,
            "frame_type": coded.frame_type,
            "index_references": coded.references,
        }
        if first is not None:
            expected["frame_data_type"] = first.header.frame_data_type
            expected["bitdepth"] = first.header.bitdepth
        for field, allowed in expected.items():
            found = getattr(header, field)
            if found != allowed:
                offset = parsed.offset(field)
                if field == "display_index" and self._is_there(header.display_index):
                    reason = f"frame {found} is stored again; was the encode resumed?"
                    raise CorruptError(reason, field, offset, found, allowed)
                raise CorruptError("disagrees with the stream", field, offset, found, allowed)
        self.position += header.n_bytes_header
        residue = self._read_coolchic(header, "residue", None if first is None else first.residue)
        if header.frame_type == "I":
            return Frame(header, residue)
        motion = self._read_coolchic(header, "motion", residue)
        return Frame(header, residue, motion)

    def _is_there(self, index: int) -> bool:
        return any(frame.header.display_index == index for frame in self.frames)

    def _read_coolchic(self, frame: FrameHeader, role: str, same_size: CoolChic | None) -> CoolChic:
        parsed = read_coolchic_header(self.data, self.position)
        self._listen(f"cool-chic header ({role})", parsed.entries)
        header = parsed.header
        _check_coolchic(parsed, frame, role)
        if same_size is not None and header.img_size != same_size.header.img_size:
            raise CorruptError(
                "differs from the other parts of the stream",
                "img_size",
                parsed.offset("img_size"),
                header.img_size,
                same_size.header.img_size,
            )
        self.limits.check("pixels", header.img_size[0] * header.img_size[1])
        self.position += header.n_bytes_header
        sizes = (("nn_payload", header.nn_n_bytes), ("latent_payload", header.n_bytes_latent))
        self._listen(f"payloads ({role})", list_payloads(self.position, sizes))
        nn_offset = self.position
        nn_payload = self._read_payload(parsed, "nn_n_bytes")
        latent_offset = self.position
        latent_payload = self._read_payload(parsed, "n_bytes_latent")
        return CoolChic(header, nn_payload, latent_payload, nn_offset, latent_offset)

    def _read_payload(self, parsed: Parsed[CoolChicHeader], size_field: str) -> bytes:
        size = getattr(parsed.header, size_field)
        left = len(self.data) - self.position
        if size > left:
            raise TruncatedError(
                "the payload reaches past the end of the data",
                size_field,
                parsed.offset(size_field),
                size,
                f"<= {left}",
            )
        self.position += size
        return self.data[self.position - size : self.position]


def _check_coolchic(parsed: Parsed[CoolChicHeader], frame: FrameHeader, role: str) -> None:
    """Check what the field tables cannot: relations between fields (section 15.1)."""
    header = parsed.header

    def require(condition: bool, reason: str, field: str, allowed: object) -> None:
        if not condition:
            found = getattr(header, field)
            raise CorruptError(reason, field, parsed.offset(field), found, allowed)

    height, width = header.img_size
    if frame.frame_data_type == "yuv420":
        if frame.frame_type == "I":
            require(min(height, width) >= 2, "no chroma sample", "img_size", ">= 2 x 2")
        else:
            require(height % 2 == width % 2 == 0, "odd size in 4:2:0", "img_size", "even")
    for field in ("latent_resolution", "ifce_resolution", "hyperlatent_resolution"):
        bounds = getattr(header, field)
        if bounds is not None:
            require(bounds[0] <= bounds[1], "bounds are reversed", field, "lowest <= highest")
    grids = header.derived.grids
    levels = {grid.level for grid in grids}
    n_levels = max(levels) - min(levels) + 1
    require(
        len(levels) == n_levels, "a level is missing", "hyperlatent_resolution", "contiguous levels"
    )
    require(
        header.n_latent_grids == len(grids) % 32,  # 32 grids do not fit the field
        "disagrees with the resolutions",
        "n_latent_grids",
        len(grids) % 32,
    )
    if header.flag_common_randomness:
        require(
            header.derived.dense_size == header.img_size,
            "common randomness needs latents of picture size",
            "latent_resolution",
            "lowest 0",
        )
    n_channels = header.derived.synthesis_inputs
    for i, layer in enumerate(header.syn_layer):
        if layer.mode == "residual" and layer.out_ft != n_channels:
            reason, field = "a residual layer changes the channels", f"syn_layer[{i}].out_ft"
            raise CorruptError(reason, field, parsed.offset(field), layer.out_ft, n_channels)
        n_channels = layer.out_ft
    minimum = _MIN_OUTPUTS[frame.frame_type, role]
    if n_channels < minimum or (frame.frame_type == "I" and n_channels != minimum):
        field = f"syn_layer[{len(header.syn_layer) - 1}].out_ft"
        allowed = minimum if frame.frame_type == "I" else f">= {minimum}"
        reason = "wrong number of output channels"
        raise CorruptError(reason, field, parsed.offset(field), n_channels, allowed)


def announce_trailer(data: bytes, first_frame: int = 0) -> bytes:
    """Set the bit that announces a trailer.

    Parameters
    ----------
    data : bytes
    first_frame : int
        Where the first frame header starts in it.
    """
    changed = bytearray(data)
    changed[first_frame + ANNOUNCEMENT_BYTE] |= 1
    return bytes(changed)


def write_stream(stream: Stream) -> bytes:
    """Write a stream; sizes and other derived fields are filled in from the payloads.

    The result of reading a canonical stream and writing it again is the same stream, without its
    trailer. Frames must be in coding order. ``nn_n_bit_pad`` is taken from the header, since the
    payload does not tell it.

    Raises
    ------
    UsageError
        A header field has an illegal value, or an inter frame no motion.
    CorruptError
        The headers contradict each other.
    """
    parts = [write_video_header(dataclasses.replace(stream.header, n_frames=len(stream.frames)))]
    for frame in stream.frames:
        if (frame.motion is None) != (frame.header.frame_type == "I"):
            raise UsageError("wrong parts", "motion", None, frame.header.frame_type, "P or B")
        parts.append(write_frame_header(frame.header))
        for part in frame.parts:
            header = dataclasses.replace(
                part.header,
                n_latent_grids=part.header.derived.n_latent_grids,
                nn_n_bytes=len(part.nn_payload),
                n_bytes_latent=len(part.latent_payload),
            )
            parts += [write_coolchic_header(header), part.nn_payload, part.latent_payload]
    if stream.trailer_announced:
        parts[1] = announce_trailer(parts[1])
    data = b"".join(parts)
    unlimited = Limits(stream_bytes=len(data), pixels=1 << 28)
    read_stream(data, unlimited)
    return data
