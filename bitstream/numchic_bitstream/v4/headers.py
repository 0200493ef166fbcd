# SPDX-License-Identifier: BSD-3-Clause
"""Headers of the 4.x generations (coolchic-4.2, sections 3 to 5, appendices C.1 and C.2). Exact.

``file := gop_header frame ...``, ``frame := frame_header payload ...``. A frame header holds the
headers of its one or two Cool-chic decoders. Only what the structural walk asks for is checked here
(section 2, rules 1 to 3), so that the generation can be told before the rest is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from numchic_bitstream.bits import Entry
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.structure import FrameDataType, FrameType
from numchic_bitstream.v4.fields import FieldReader

Generation = Literal["4.2", "4.1", "4.0"]
"""Generations that share these headers, in the order in which they are tried."""

GENERATIONS: tuple[Generation, ...] = get_args(Generation)

FRAME_TYPES: tuple[FrameType, ...] = get_args(FrameType)
DATA_TYPES: tuple[FrameDataType, ...] = get_args(FrameDataType)
ROLES = ("residue", "motion")

GOP_HEADER_BYTES = 6
MIN_FILE_BYTES = 8
_MAX_RESOLUTIONS = 8
_ORDERS = range(13)

# Ranges of the quantisation indices of weights and biases (section 8.2). The largest index but for
# the upsampling bias, which does not exist, is also the exponent: q stands for 2 ** (q - max).
MAX_Q = {"arm": (8, 16), "ups": (12, 0), "syn": (12, 24)}


@dataclass(frozen=True, kw_only=True)
class GopHeader:
    """Header of the file (section 3.1)."""

    height: int
    width: int
    data_type: FrameDataType
    bitdepth: int


class ArmTopology(NamedTuple):
    """ARM group of section 5.1: context size and hidden width C, number of hidden layers L."""

    context_size: int
    n_hidden: int


class UpsTopology(NamedTuple):
    """UPS group of section 5.1: numbers NU, NP of kernels and their sizes KU, KP."""

    n_ups: int
    ups_size: int
    n_pre: int
    pre_size: int


class SynthesisLayer(NamedTuple):
    """One layer of the SYN group of section 5.1."""

    n_outputs: int
    k_size: int
    residual: bool
    relu: bool

    def __str__(self) -> str:
        mode = "residual" if self.residual else "linear"
        return f"{self.n_outputs}-{self.k_size}-{mode}-{'relu' if self.relu else 'none'}"


class LatentTopology(NamedTuple):
    """LAT group of section 5.1: for every resolution, finest first, which planes there are."""

    noise: tuple[bool, ...]
    latent: tuple[bool, ...]


class Topology(NamedTuple):
    """The four groups of section 5.1, copied ones resolved."""

    arm: ArmTopology
    ups: UpsTopology
    syn: tuple[SynthesisLayer, ...]
    lat: LatentTopology


class Coding(NamedTuple):
    """How the parameters of one module are coded (section 5.2)."""

    q_w: int
    q_b: int
    eg_w: int
    eg_b: int
    len_w: int
    len_b: int


@dataclass(frozen=True, kw_only=True)
class CoolChicHeader:
    """Header of one Cool-chic decoder (section 5).

    Attributes
    ----------
    topology : Topology
    latents_zero : bool
    blk : int
        Block-map parameter (9.3).
    arm, ups, syn : Coding
        ``ups`` is None when the latents are zero.
    len_lat : tuple of int
        Bytes of the latent of every resolution; 0 where there is none.
    lead : int
        Finest resolution with a latent, that of the output; 0 in generation 4.0, whose output
        always has full size.
    n_bytes_header : int
        Number of bytes of the frame header that belong to this decoder.
    """

    topology: Topology
    latents_zero: bool
    blk: int
    arm: Coding
    ups: Coding | None
    syn: Coding
    len_lat: tuple[int, ...]
    lead: int
    n_bytes_header: int

    @property
    def n_latents(self) -> int:
        """Number nL of latent planes."""
        return sum(self.topology.lat.latent)

    @property
    def n_noise(self) -> int:
        """Number nN of noise planes."""
        return sum(self.topology.lat.noise)

    @property
    def n_inputs(self) -> int:
        """Input channels of the synthesis."""
        return self.n_latents + self.n_noise

    @property
    def modules(self) -> tuple[tuple[str, Coding], ...]:
        """Names and codings of the modules with parameters, in stream order."""
        modules = (("arm", self.arm), ("ups", self.ups), ("syn", self.syn))
        return tuple((name, coding) for name, coding in modules if coding is not None)

    @property
    def n_bytes(self) -> int:
        """Size of all sub-streams."""
        return sum(c.len_w + c.len_b for _, c in self.modules) + sum(self.len_lat)


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """Header of one frame (section 4).

    Attributes
    ----------
    n_bytes_header, display_index : int
    frame_type : {"I", "P", "B"}
    n_taps : int
        Taps of the interpolation, 0 in I frames.
    global_flow : tuple of (x, y)
        One for each reference.
    parts : tuple of CoolChicHeader
        Residue, and motion in P and B frames.
    """

    n_bytes_header: int
    display_index: int
    frame_type: FrameType
    n_taps: int
    global_flow: tuple[tuple[int, int], ...]
    parts: tuple[CoolChicHeader, ...]


class Listing(NamedTuple):
    """Titles and entries of a frame header: the frame's own fields, then each Cool-chic's."""

    sections: tuple[tuple[str, tuple[Entry, ...]], ...]

    def offset(self, section: int, field: str) -> int:
        """Byte in which a field starts; a copied one is said to be where its section starts."""
        entries = self.sections[section][1]
        found = [entry for entry in entries if entry.field in (field, f"{field}[0]")]
        return (found or entries)[0].bit_offset // 8


def read_gop_header(data: bytes) -> tuple[GopHeader, tuple[Entry, ...]]:
    """Read the header of the file and check rule 1 of section 2.

    Raises
    ------
    TruncatedError, CorruptError
    """
    reader = FieldReader(data, 0)
    reader.u8("n_bytes_header", (GOP_HEADER_BYTES,))
    height = reader.u16("H", range(1, 1 << 16))
    width = reader.u16("W", range(1, 1 << 16))
    data_type = DATA_TYPES[reader.bits(4, "data_type", range(3))]
    depths = (0, 1, 2, 3, 4, 5, 6, 7, 8) if data_type == "rgb" else (0, 2)
    bitdepth = 8 + reader.bits(4, "bitdepth - 8", depths)
    if len(data) < MIN_FILE_BYTES:
        reader.bits(8 * (MIN_FILE_BYTES - GOP_HEADER_BYTES), "frame_header")
    header = GopHeader(height=height, width=width, data_type=data_type, bitdepth=bitdepth)
    return header, reader.section()


class FrameHeaderReader:
    """Reads frame headers in coding order; keeps the topology sources of section 4.1.

    Parameters
    ----------
    data : bytes
    generation : Generation
    """

    def __init__(self, data: bytes, generation: Generation) -> None:
        self._data = data
        self._generation = generation
        self._last_intra: FrameHeader | None = None
        self._last_inter: FrameHeader | None = None

    def read(self, offset: int) -> tuple[FrameHeader, Listing]:
        """Read the frame header at a byte and check rules 2 and 3 of section 2.

        Raises
        ------
        TruncatedError, CorruptError
        """
        reader = FieldReader(self._data, offset)
        n_bytes_header = reader.uvar("n_bytes_header")
        display_index = reader.uvar("display_index")
        reader.bits(1, "reserved", (0,))
        copies = [reader.bits(4, "topology_copy[0]")]
        latents_zero = [reader.bits(1, "latents_zero[0]")]
        index = reader.bits(2, "frame_type", range(3))
        frame_type = FRAME_TYPES[index]
        if self._last_intra is None:
            if index != 0:
                reader.reject("the first frame is no I frame", "frame_type", frame_type, "I")
            if display_index != 0:
                reason = "the first frame is not displayed first"
                reader.reject(reason, "display_index", display_index, 0)
        n_taps, flow = 0, []
        if index == 0:
            if copies[0]:
                reader.reject("an I frame copies no topology", "topology_copy[0]", copies[0], 0)
        else:
            w_legal = (0,) if self._generation == "4.0" else range(8)
            n_taps = 2 + 2 * reader.bits(3, "w", w_legal)
            copies.append(reader.bits(4, "topology_copy[1]"))
            latents_zero.append(reader.bits(1, "latents_zero[1]"))
            for k in range(index):
                x = reader.svar(f"global_flow[{k}].x")
                flow.append((x, reader.svar(f"global_flow[{k}].y")))
        source = self._source(display_index) if index else None
        sections = [(f"frame header {display_index}", reader.section())]
        parts = []
        for k, role in enumerate(ROLES[: len(copies)]):
            # An I frame has no motion: both parts copy from its residue.
            start = reader.offset
            copied = None if source is None else source.parts[min(k, len(source.parts) - 1)]
            topology = _read_topology(
                reader, self._generation, copies[k], None if copied is None else copied.topology
            )
            lead = 0 if self._generation == "4.0" else topology.lat.latent.index(True)
            parts.append(_read_coding(reader, topology, bool(latents_zero[k]), lead, start))
            sections.append((f"cool-chic header ({role})", reader.section()))
        if reader.offset - offset != n_bytes_header:
            raise CorruptError(
                "not the size of the header",
                "n_bytes_header",
                offset,
                n_bytes_header,
                reader.offset - offset,
            )
        header = FrameHeader(
            n_bytes_header=n_bytes_header,
            display_index=display_index,
            frame_type=frame_type,
            n_taps=n_taps,
            global_flow=tuple(flow),
            parts=tuple(parts),
        )
        if frame_type == "I":
            self._last_intra, self._last_inter = header, None
        else:
            self._last_inter = header
        return header, Listing(tuple(sections))

    def _source(self, display_index: int) -> FrameHeader | None:
        """Topology source of an inter frame (section 4.1)."""
        intra, inter = self._last_intra, self._last_inter
        if intra is None or inter is None:
            return intra  # never None for an inter frame
        if inter.display_index < intra.display_index < display_index:
            return intra
        return inter


def _read_topology(
    reader: FieldReader, generation: Generation, copies: int, source: Topology | None
) -> Topology:
    """Read the groups of section 5.1 that are not copied from ``source``."""

    def copied(bit: int) -> Topology | None:
        return source if copies >> bit & 1 else None

    arm, ups, syn, lat = (copied(bit) for bit in range(4))
    return Topology(
        _read_arm(reader, generation) if arm is None else arm.arm,
        _read_ups(reader) if ups is None else ups.ups,
        _read_syn(reader) if syn is None else syn.syn,
        _read_lat(reader, generation) if lat is None else lat.lat,
    )


def _read_arm(reader: FieldReader, generation: Generation) -> ArmTopology:
    unit = 4 if generation == "4.2" else 8
    return ArmTopology(unit * reader.bits(4, "arm.n"), reader.bits(4, "arm.L"))


def _read_ups(reader: FieldReader) -> UpsTopology:
    n_ups, ups_size = reader.bits(4, "ups.NU"), reader.bits(4, "ups.KU")
    return UpsTopology(n_ups, ups_size, reader.bits(4, "pre.NP"), reader.bits(4, "pre.KP"))


def _read_syn(reader: FieldReader) -> tuple[SynthesisLayer, ...]:
    layers = []
    for i in range(reader.u8("n_syn")):
        n_outputs, k_size = reader.u8(f"syn[{i}].out"), reader.u8(f"syn[{i}].ks")
        residual = reader.bits(4, f"syn[{i}].residual") != 0
        layers.append(
            SynthesisLayer(n_outputs, k_size, residual, reader.bits(4, f"syn[{i}].relu") != 0)
        )
    return tuple(layers)


def _read_lat(reader: FieldReader, generation: Generation) -> LatentTopology:
    n_res = reader.u8("n_res", range(1, _MAX_RESOLUTIONS + 1))
    if generation == "4.0":
        latent = tuple(reader.u8(f"latent[{i}]", range(2)) == 1 for i in range(n_res))
        if not any(latent):
            reader.reject("no latent at all", f"latent[{n_res - 1}]", 0, "one of them 1")
        return LatentTopology((False,) * n_res, latent)
    noise = (False,) * n_res
    if generation == "4.2":
        noise = _read_mask(reader, "noise_mask", n_res)
    latent = _read_mask(reader, "latent_mask", n_res)
    if not any(latent):
        reader.reject("no latent at all", "latent_mask", 0, "> 0")
    return LatentTopology(noise, latent)


def _read_mask(reader: FieldReader, field: str, n_res: int) -> tuple[bool, ...]:
    mask = reader.u8(field)
    if mask & (0xFF >> n_res):
        reader.reject("bits beyond the last resolution", field, mask, f"{n_res} leading bits")
    return tuple(bool(mask >> (7 - i) & 1) for i in range(n_res))


def _read_coding(
    reader: FieldReader, topology: Topology, latents_zero: bool, lead: int, start: int
) -> CoolChicHeader:
    """Read quantisation and lengths (section 5.2) of the header that begins at byte ``start``."""
    blk = reader.s8("blk")
    if abs(blk) & (abs(blk) - 1):
        reader.reject("illegal value", "blk", blk, "0 or plus or minus a power of two")
    modules = ("arm", "syn") if latents_zero else ("arm", "ups", "syn")
    steps = {}
    for module in modules:
        max_w, max_b = MAX_Q[module]
        q_w = reader.u8(f"{module}.q_w", range(max_w + 1))
        steps[module] = q_w, reader.u8(f"{module}.q_b", range(max_b + 1))
    orders = {}
    for module in modules:
        eg_w = reader.u8(f"{module}.eg_w", _ORDERS)
        orders[module] = eg_w, reader.u8(f"{module}.eg_b", _ORDERS)
    codings = {}
    for module in modules:
        len_w = reader.uvar(f"{module}.len_w")
        lengths = len_w, reader.uvar(f"{module}.len_b")
        codings[module] = Coding(*steps[module], *orders[module], *lengths)
    len_lat = tuple(
        reader.uvar(f"len_lat[{i}]") if coded and not latents_zero else 0
        for i, coded in enumerate(topology.lat.latent)
    )
    return CoolChicHeader(
        topology=topology,
        latents_zero=latents_zero,
        blk=blk,
        arm=codings["arm"],
        ups=codings.get("ups"),
        syn=codings["syn"],
        len_lat=len_lat,
        lead=lead,
        n_bytes_header=reader.offset - start,
    )
