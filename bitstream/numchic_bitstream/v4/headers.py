# SPDX-License-Identifier: BSD-3-Clause
"""Headers of the 4.x generations (coolchic-4.2, sections 3 to 5, appendices C.1 and C.2). Exact.

``file := gop_header frame ...``, ``frame := frame_header payload ...``. A frame header holds the
headers of its one or two Cool-chic decoders. Only what the structural walk asks for is checked here
(section 2, rules 1 to 3), so that the generation can be told before the rest is judged.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from numchic_bitstream.bits import BitReader, Entry
from numchic_bitstream.structure import FrameDataType, FrameType
from numchic_bitstream.tables import Field, TableReader, Values, field_offset
from numchic_bitstream.v4.derived import Derived, derive

Generation = Literal["4.2", "4.1", "4.0"]
"""Generations that share these headers, in the order in which they are tried."""

GENERATIONS: tuple[Generation, ...] = get_args(Generation)

ROLES = ("residue", "motion")

GOP_HEADER_BYTES = 6
MIN_FILE_BYTES = 8

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

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


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


class Vector(NamedTuple):
    """A displacement in samples, to the right and down."""

    x: int
    y: int


def _n_references(values: Values) -> int:
    return get_args(FrameType).index(values["frame_type"])


def _uvar(name: str) -> Field:
    return Field(name, allowed=range(1 << 31))


_SVAR = range(1 - (1 << 30), 1 << 30)

GOP_HEADER = (
    Field("n_bytes_header", 8, range(GOP_HEADER_BYTES, GOP_HEADER_BYTES + 1)),
    Field("H", 16, range(1, 1 << 16)),
    Field("W", 16, range(1, 1 << 16)),
    Field("data_type", 4, get_args(FrameDataType)),
    Field("bitdepth - 8", 4, range(9)),
)

FRAME_HEADER = (
    _uvar("n_bytes_header"),
    _uvar("display_index"),
    Field("reserved", 1, range(1)),
    Field("topology_copy[0]", 4),
    Field("latents_zero[0]", 1),
    Field("frame_type", 2, get_args(FrameType)),
    Field("w", 3, present=_n_references),
    Field("topology_copy[1]", 4, present=_n_references),
    Field("latents_zero[1]", 1, present=_n_references),
    Field(
        "global_flow",
        count=_n_references,
        elements=tuple(Field(axis, allowed=_SVAR, sign="last bit") for axis in Vector._fields),
        build=Vector,
    ),
)

# The four groups of section 5.1, in the order of the copy bits.
ARM = (Field("arm.n", 4), Field("arm.L", 4))
UPS = (Field("ups.NU", 4), Field("ups.KU", 4), Field("pre.NP", 4), Field("pre.KP", 4))
SYN = (
    Field("n_syn", 8),
    Field(
        "syn",
        count=lambda v: int(v["n_syn"]),
        elements=(Field("out", 8), Field("ks", 8), Field("residual", 4), Field("relu", 4)),
        build=lambda out, ks, residual, relu: SynthesisLayer(out, ks, residual > 0, relu > 0),
    ),
)
_N_RES = Field("n_res", 8, range(1, 9))
LAT: dict[str, tuple[Field, ...]] = {
    "4.2": (_N_RES, Field("noise_mask", 8), Field("latent_mask", 8)),
    "4.1": (_N_RES, Field("latent_mask", 8)),
    "4.0": (_N_RES, Field("latent", 8, range(2), count=lambda v: int(v["n_res"]))),
}

CONTEXT_UNIT = {"4.2": 4, "4.1": 8, "4.0": 8}
"""Context size for an ``arm.n`` of 1."""


@functools.cache
def coding_table(latents_zero: bool, latent: tuple[int, ...]) -> tuple[Field, ...]:
    """Return the fields of section 5.2; ``latent`` says where there are latent planes."""
    modules = [m for m in MAX_Q if m != "ups" or not latents_zero]
    kinds = [(m, k) for m in modules for k in range(2)]
    sizes = [0, *(sign << i for i in range(8) for sign in (1, -1))]
    return (
        Field("blk", 8, sizes, sign="complement"),
        *(Field(f"{m}.q_{'wb'[k]}", 8, range(MAX_Q[m][k] + 1)) for m, k in kinds),
        *(Field(f"{m}.eg_{'wb'[k]}", 8, range(13)) for m, k in kinds),
        *(_uvar(f"{m}.len_{'wb'[k]}") for m, k in kinds),
        *(_uvar(f"len_lat[{i}]") for i, n in enumerate(latent) if n and not latents_zero),
    )


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
    img_size : (height, width)
        Size of the picture, which the header of the file tells.
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
    img_size: tuple[int, int]

    @functools.cached_property
    def derived(self) -> Derived:
        """What follows from the fields (8.1 and 9.1)."""
        return derive(self)

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

    @functools.cached_property
    def sub_streams(self) -> tuple[tuple[str, int], ...]:
        """Names and sizes of the sub-streams of section 6, in stream order."""
        sizes = [(m, k, n) for m, c in self.modules for k, n in (("w", c.len_w), ("b", c.len_b))]
        parameters = tuple((f"{module}.{kind}", n_bytes) for module, kind, n_bytes in sizes)
        return parameters + tuple((f"latent[{i}]", n) for i, n in enumerate(self.len_lat))

    @property
    def n_bytes(self) -> int:
        """Size of all sub-streams."""
        return sum(n_bytes for _, n_bytes in self.sub_streams)


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
        return field_offset(self.sections[section][1], field)


def read_gop_header(data: bytes) -> tuple[GopHeader, tuple[Entry, ...]]:
    """Read the header of the file and check rule 1 of section 2.

    Raises
    ------
    TruncatedError, CorruptError
    """
    reader = TableReader(BitReader(data))
    values = reader.read_table(GOP_HEADER)
    data_type, depth = values["data_type"], values["bitdepth - 8"]
    if data_type != "rgb" and depth not in (0, 2):
        reader.reject("illegal value", "bitdepth - 8", depth, "0, 2")
    if len(data) < MIN_FILE_BYTES:
        reader.reader.read(8 * (MIN_FILE_BYTES - GOP_HEADER_BYTES), "frame_header")
    header = GopHeader(
        height=values["H"], width=values["W"], data_type=data_type, bitdepth=8 + depth
    )
    return header, tuple(reader.entries)


class FrameHeaderReader:
    """Reads frame headers in coding order; keeps the topology sources of section 4.1.

    Parameters
    ----------
    data : bytes
    generation : Generation
    img_size : (height, width)
    """

    def __init__(self, data: bytes, generation: Generation, img_size: tuple[int, int]) -> None:
        self._data = data
        self._generation = generation
        self._img_size = img_size
        self._last_intra: FrameHeader | None = None
        self._last_inter: FrameHeader | None = None

    def read(self, offset: int) -> tuple[FrameHeader, Listing]:
        """Read the frame header at a byte and check rules 2 and 3 of section 2.

        Raises
        ------
        TruncatedError, CorruptError
        """
        bits = BitReader(self._data, 8 * offset)
        reader = TableReader(bits)
        values = reader.read_table(FRAME_HEADER)
        self._check(reader, values)
        index, frame_type = values["display_index"], values["frame_type"]
        source = None if frame_type == "I" else self._source(index)
        sections = [(f"frame header {index}", tuple(reader.entries))]
        parts = []
        for k, role in enumerate(ROLES[: 1 if frame_type == "I" else 2]):
            # An I frame has no motion: both parts copy from its residue.
            copied = None if source is None else source.parts[min(k, len(source.parts) - 1)]
            part, topology = TableReader(bits), None if copied is None else copied.topology
            copies, latents_zero = values[f"topology_copy[{k}]"], values[f"latents_zero[{k}]"]
            parts.append(self._read_part(part, copies, topology, bool(latents_zero)))
            sections.append((f"cool-chic header ({role})", tuple(part.entries)))
        size = bits.byte_offset - offset
        if values["n_bytes_header"] != size:
            reason = "not the size of the header"
            reader.reject(reason, "n_bytes_header", values["n_bytes_header"], size)
        header = FrameHeader(
            n_bytes_header=size,
            display_index=index,
            frame_type=frame_type,
            n_taps=0 if frame_type == "I" else 2 + 2 * values["w"],
            global_flow=values["global_flow"],
            parts=tuple(parts),
        )
        if frame_type == "I":
            self._last_intra, self._last_inter = header, None
        else:
            self._last_inter = header
        return header, Listing(tuple(sections))

    def _check(self, reader: TableReader, values: Values) -> None:
        """Check relations between the fields of a frame."""
        index, frame_type = values["display_index"], values["frame_type"]
        if self._last_intra is None and frame_type != "I":
            reader.reject("the first frame is no I frame", "frame_type", frame_type, "I")
        if self._last_intra is None and index != 0:
            reader.reject("the first frame is not displayed first", "display_index", index, 0)
        copies = values["topology_copy[0]"]
        if frame_type == "I" and copies:
            reader.reject("an I frame copies no topology", "topology_copy[0]", copies, 0)
        if self._generation == "4.0" and values["w"]:
            reader.reject("illegal value", "w", values["w"], 0)

    def _read_part(
        self, reader: TableReader, copies: int, source: Topology | None, latents_zero: bool
    ) -> CoolChicHeader:
        """Read a Cool-chic header (section 5)."""
        start = reader.reader.byte_offset
        topology = _read_topology(reader, self._generation, copies, source)
        latent = topology.lat.latent
        values = reader.read_table(coding_table(latents_zero, latent))
        coding = {
            module: Coding._make(values[f"{module}.{name}"] for name in Coding._fields)
            for module in MAX_Q
            if f"{module}.q_w" in values
        }
        return CoolChicHeader(
            topology=topology,
            latents_zero=latents_zero,
            blk=values["blk"],
            arm=coding["arm"],
            ups=coding.get("ups"),
            syn=coding["syn"],
            len_lat=tuple(values.get(f"len_lat[{i}]", 0) for i in range(len(latent))),
            lead=0 if self._generation == "4.0" else latent.index(True),
            n_bytes_header=reader.reader.byte_offset - start,
            img_size=self._img_size,
        )

    def _source(self, display_index: int) -> FrameHeader | None:
        """Topology source of an inter frame (section 4.1)."""
        intra, inter = self._last_intra, self._last_inter
        if intra is None or inter is None:
            return intra  # never None for an inter frame
        if inter.display_index < intra.display_index < display_index:
            return intra
        return inter


def _read_topology(
    reader: TableReader, generation: Generation, copies: int, source: Topology | None
) -> Topology:
    """Read the groups of section 5.1 that are not copied from ``source``."""
    groups: list[Any] = [None] * 4 if source is None else list(source)
    if not copies & 1:
        values = reader.read_table(ARM)
        groups[0] = ArmTopology(CONTEXT_UNIT[generation] * values["arm.n"], values["arm.L"])
    if not copies & 2:
        groups[1] = UpsTopology(*reader.read_table(UPS).values())
    if not copies & 4:
        groups[2] = reader.read_table(SYN)["syn"]
    if not copies & 8:
        groups[3] = _read_lat(reader, generation)
    return Topology(*groups)


def _read_lat(reader: TableReader, generation: Generation) -> LatentTopology:
    values = reader.read_table(LAT[generation])
    n_res = values["n_res"]
    noise, latent = (_read_mask(reader, values, name) for name in ("noise_mask", "latent_mask"))
    field = "latent_mask"
    if generation == "4.0":
        latent, field = tuple(map(bool, values["latent"])), f"latent[{n_res - 1}]"
    if not any(latent):
        reader.reject("no latent at all", field, 0, "> 0")
    return LatentTopology(noise, latent)


def _read_mask(reader: TableReader, values: Values, field: str) -> tuple[bool, ...]:
    """Bits of a mask; none is set where the generation has no such mask."""
    n_res, mask = values["n_res"], values.get(field, 0)
    if mask & (0xFF >> n_res):
        reader.reject("bits beyond the last resolution", field, mask, f"{n_res} leading bits")
    return tuple(bool(mask >> (7 - i) & 1) for i in range(n_res))
