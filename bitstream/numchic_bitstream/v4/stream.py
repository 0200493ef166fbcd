# SPDX-License-Identifier: BSD-3-Clause
"""A whole 4.x stream: headers, sub-streams, references (coolchic-4.2, 3, 6, 13, 14). Exact.

Reading resolves everything in which a frame depends on those before it, so that each can be decoded
on its own once its references are there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from numchic_bitstream.bits import Entry, list_payloads
from numchic_bitstream.errors import CorruptError, NumchicError, TruncatedError, UnsupportedError
from numchic_bitstream.limits import Limits
from numchic_bitstream.structure import CodedFrame, FrameDataType
from numchic_bitstream.v4.headers import (
    ROLES,
    CoolChicHeader,
    FrameHeader,
    Generation,
    GopHeader,
    Listing,
)
from numchic_bitstream.v4.walk import FrameStep, GopStep, likely_generation, walk

Listener = Callable[[str, tuple[Entry, ...]], None]

CONTEXT_SIZES = (8, 12, 16, 24, 32)
MAX_GLOBAL_FLOW = 1 << 20

MIN_OUTPUTS = {"I": (3,), "P": (4, 2), "B": (4, 5)}
"""Output channels of residue and motion that reconstruction needs (section 3.2)."""


class SubStream(NamedTuple):
    """One arithmetic codeword and the byte of the stream where it starts."""

    data: bytes
    offset: int


@dataclass(frozen=True)
class CoolChic:
    """One Cool-chic decoder.

    Attributes
    ----------
    header : CoolChicHeader
    parameters : dict of SubStream
        Keys "arm.w", "arm.b", "ups.w", "ups.b", "syn.w", "syn.b"; those of ``ups`` are missing when
        the latents are zero.
    latents : tuple of SubStream
        One for every resolution; empty where there is no plane or all of it is zero.
    noise_start : int
        Noise samples drawn in the file before those of this decoder (section 11).
    """

    header: CoolChicHeader
    parameters: dict[str, SubStream]
    latents: tuple[SubStream, ...]
    noise_start: int


@dataclass(frozen=True)
class Frame:
    """One coded frame: residue, and motion in P and B frames."""

    header: FrameHeader
    parts: tuple[CoolChic, ...]


@dataclass(frozen=True)
class Stream:
    """Everything in a file; ``frames`` and ``places`` in coding order."""

    generation: Generation
    header: GopHeader
    frames: tuple[Frame, ...]
    places: tuple[CodedFrame, ...]
    n_bytes: int

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        return self.header.img_size

    @property
    def data_type(self) -> FrameDataType:
        """Colour format of every frame."""
        return self.header.data_type

    @property
    def bitdepth(self) -> int:
        """Bits per sample."""
        return self.header.bitdepth


def read_stream(
    data: bytes, limits: Limits | None = None, *, listener: Listener | None = None
) -> Stream:
    """Split a 4.x stream into headers and sub-streams and check all that headers can tell.

    Parameters
    ----------
    data : bytes
        The whole file.
    limits : Limits, optional
        Budget; the default one when omitted. Work and memory are checked by the decoder, which
        knows them.
    listener : callable, optional
        Called with a title and the listing of every header as soon as it is read, and then with
        the places of the payloads that it announces.

    Raises
    ------
    TruncatedError
        The data end inside a header or payload, or frames are missing.
    CorruptError
        A field is illegal or contradicts another one.
    UnsupportedError
        A field is legal, but what it means is not defined.
    LimitError
        A limit is exceeded.
    """
    limits = limits or Limits()
    limits.check("stream_bytes", len(data))
    generation = likely_generation(data, limits)
    return _StreamReader(data, generation, limits, listener).read()


class _StreamReader:
    """Collects the frames of a walk; knows what must agree between them."""

    def __init__(
        self, data: bytes, generation: Generation, limits: Limits, listener: Listener | None
    ) -> None:
        self.data = data
        self.generation = generation
        self.limits = limits
        self.listener = listener
        self.frames: list[Frame] = []
        self.places: list[CodedFrame] = []
        self.displayed: list[int] = []  # display indices so far, sorted
        self.n_noise = 0

    def read(self) -> Stream:
        steps = walk(self.data, self.generation, self.limits)
        first = next(steps)
        assert isinstance(first, GopStep)
        gop = first.header
        self._listen("gop header", first.entries)
        self.limits.check("pixels", gop.height * gop.width)
        if gop.data_type == "yuv420" and (gop.height % 2 or gop.width % 2):
            field, offset = ("H", 1) if gop.height % 2 else ("W", 3)
            found = gop.height if gop.height % 2 else gop.width
            raise UnsupportedError("odd size in 4:2:0", field, offset, found, "even")
        pending: FrameStep | None = None
        for step in steps:
            # The walk has looked for the payload of a frame when it goes on to the next one.
            if pending is not None:
                self._add(gop, pending)
            assert isinstance(step, FrameStep)
            for title, entries in step.listing.sections:
                self._listen(title, entries)
            self._list_payloads(step)
            pending = step
        assert pending is not None  # a file of more than the header has a frame or an error
        self._add(gop, pending)
        self._check_gaps()
        return Stream(self.generation, gop, tuple(self.frames), tuple(self.places), len(self.data))

    def _listen(self, title: str, entries: tuple[Entry, ...]) -> None:
        if self.listener is not None:
            self.listener(title, entries)

    def _list_payloads(self, step: FrameStep) -> None:
        position = step.payload
        for role, part in zip(ROLES, step.header.parts, strict=False):
            self._listen(f"payloads ({role})", list_payloads(position, part.sub_streams))
            position += part.n_bytes

    def _add(self, gop: GopHeader, step: FrameStep) -> None:
        header = step.header
        self._add_place(gop, header, step.listing)
        for k in range(len(header.parts)):
            _Checks(header, k, step.listing, self.generation).run()
        position, parts = step.payload, []
        for part in header.parts:
            parts.append(self._cut(part, position))
            position += part.n_bytes
        self.frames.append(Frame(header, tuple(parts)))

    def _cut(self, header: CoolChicHeader, position: int) -> CoolChic:
        """Take the sub-streams of section 6 apart."""
        streams = {}
        for name, n_bytes in header.sub_streams:
            streams[name] = SubStream(self.data[position : position + n_bytes], position)
            position += n_bytes
        latents = tuple(streams.pop(f"latent[{i}]") for i in range(len(header.len_lat)))
        noise_start = self.n_noise
        if not header.latents_zero:
            sizes = zip(header.derived.sizes, header.topology.lat.noise, strict=True)
            self.n_noise += sum(height * width for (height, width), present in sizes if present)
        return CoolChic(header, streams, latents, noise_start)

    def _add_place(self, gop: GopHeader, header: FrameHeader, listing: Listing) -> None:
        """Find the references of a frame (section 13.4)."""
        index, frame_type = header.display_index, header.frame_type

        def reject(reason: str, field: str, found: object, allowed: object) -> NoReturn:
            raise CorruptError(reason, field, listing.offset(0, field), found, allowed)

        self.limits.check("frames", index + 1)
        at = bisect_left(self.displayed, index)
        if self.displayed[at : at + 1] == [index]:
            reason = f"frame {index} is stored again; was the encode resumed?"
            reject(reason, "display_index", index, "distinct indices")
        if frame_type != "I" and gop.data_type == "rgb":
            reject("an inter frame in an RGB stream", "frame_type", frame_type, "I")
        if frame_type != "I" and at == 0:
            reject("there is no earlier frame to refer to", "display_index", index, "> 0")
        if frame_type == "B" and at == len(self.displayed):
            latest = self.displayed[-1]
            reject("there is no later frame to refer to", "display_index", index, f"< {latest}")
        for k, (x, y) in enumerate(header.global_flow):
            for axis, value in (("x", x), ("y", y)):
                if abs(value) > MAX_GLOBAL_FLOW:
                    allowed = f"-{MAX_GLOBAL_FLOW}..{MAX_GLOBAL_FLOW}"
                    reject("the flow is too large", f"global_flow[{k}].{axis}", value, allowed)
        around = self.displayed[at - 1 : at + 1] if at else []
        self.places.append(CodedFrame(index, frame_type, tuple(around[: len(header.global_flow)])))
        insort(self.displayed, index)

    def _check_gaps(self) -> None:
        """Report a file that was cut between two frames (section 13.4)."""
        missing = next((i for i, found in enumerate(self.displayed) if i != found), None)
        if missing is not None:
            raise TruncatedError(
                "a frame is missing", "display_index", len(self.data), f"no {missing}", "0..n-1"
            )


@dataclass(frozen=True)
class _Checks:
    """What section 14 asks of one Cool-chic header beyond the walk."""

    frame: FrameHeader
    part: int
    listing: Listing
    generation: Generation

    def run(self) -> None:
        """Raise the error for the first check that fails."""
        self._check_topology()
        self._check_synthesis()
        self._check_latents()
        self._check_lengths()

    def _require(
        self,
        condition: bool,
        reason: str,
        field: str,
        found: object,
        allowed: object,
        error: type[NumchicError] = UnsupportedError,
    ) -> None:
        if not condition:
            raise error(reason, field, self.listing.offset(1 + self.part, field), found, allowed)

    @property
    def header(self) -> CoolChicHeader:
        return self.frame.parts[self.part]

    def _check_topology(self) -> None:
        arm, ups = self.header.topology.arm, self.header.topology.ups
        # 12 cannot be said before 4.2.
        sizes = [c for c in CONTEXT_SIZES if self.generation == "4.2" or c % 8 == 0]
        reason, found = "undefined context size", arm.context_size
        self._require(found in sizes, reason, "arm.n", found, sizes)
        self._require(ups.n_ups >= 1, "there is no kernel", "ups.NU", 0, ">= 1")
        found = ups.ups_size
        self._require(found in (4, 8, 12), "undefined size", "ups.KU", found, "4, 8, 12")
        self._require(ups.n_pre >= 1, "there is no kernel", "pre.NP", 0, ">= 1")
        self._require(ups.pre_size % 2 == 1, "undefined size", "pre.KP", ups.pre_size, "odd")

    def _check_synthesis(self) -> None:
        layers = self.header.topology.syn
        self._require(len(layers) >= 2, "too few layers", "n_syn", len(layers), ">= 2")
        n_channels = self.header.n_inputs
        for i, layer in enumerate(layers):
            n_outputs, k_size = layer.n_outputs, layer.k_size
            self._require(n_outputs >= 1, "a layer without outputs", f"syn[{i}].out", 0, ">= 1")
            self._require(k_size in (1, 3), "undefined size", f"syn[{i}].ks", k_size, "1, 3")
            self._require(
                not layer.residual or n_outputs == n_channels,
                "a residual layer changes the channels",
                f"syn[{i}].out",
                n_outputs,
                n_channels,
            )
            n_channels = n_outputs
        minimum = MIN_OUTPUTS[self.frame.frame_type][self.part]
        self._require(
            n_channels >= minimum,
            "too few output channels",
            f"syn[{len(layers) - 1}].out",
            n_channels,
            f">= {minimum}",
        )
        if layers[0].k_size == layers[1].k_size == 1:
            for i, relu in enumerate((True, False)):
                modes = (layers[i].residual, layers[i].relu)
                field = "residual" if layers[i].residual else "relu"
                self._require(
                    modes == (False, relu),
                    "undefined modes of two fused layers",
                    f"syn[{i}].{field}",
                    str(layers[i]),
                    "linear-relu, then linear-none",
                )

    def _check_latents(self) -> None:
        header = self.header
        lat, lead = header.topology.lat, header.lead
        n_res = len(lat.latent)
        mask = "latent" if self.generation == "4.0" else "latent_mask"
        self._require(n_res >= 2, "too few resolutions", "n_res", n_res, "2..8", CorruptError)
        self._require(
            lead <= n_res - 2, "only the coarsest plane is there", mask, lead, f"<= {n_res - 2}"
        )
        if self.part == 0:
            self._require(lead == 0, "a residue of reduced size", mask, lead, 0)
        self._require(
            lead == 0 or header.n_noise == 0, "noise at reduced size", "noise_mask", lead, 0
        )
        block, (height, width) = 1 << lead, header.img_size
        self._require(
            height % block == 0 and width % block == 0,
            "the picture is no whole number of motion blocks",
            mask,
            f"{height} x {width}",
            f"multiples of {block}",
        )

    def _check_lengths(self) -> None:
        for module, coding in self.header.modules:
            minimum = {"w": 1, "b": 0 if module == "ups" else 1}
            for kind, found in (("w", coding.len_w), ("b", coding.len_b)):
                self._require(
                    found >= minimum[kind],
                    "parameters are missing",
                    f"{module}.len_{kind}",
                    found,
                    f">= {minimum[kind]}",
                    CorruptError,
                )
        ups = self.header.ups
        if ups is not None:
            for field, found in (("eg_b", ups.eg_b), ("len_b", ups.len_b)):
                reason = "the upsampling has no biases"
                self._require(found == 0, reason, f"ups.{field}", found, 0, CorruptError)
