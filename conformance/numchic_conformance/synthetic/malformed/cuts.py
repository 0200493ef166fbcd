# SPDX-License-Identifier: BSD-3-Clause
"""Streams that end too early, and sizes that reach too far."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import read_stream
from numchic_conformance.manifest import Expect, ExpectedError
from numchic_conformance.synthetic.malformed.case import STILL, VIDEO, Case, base, refuse
from numchic_conformance.synthetic.malformed.editing import (
    Change,
    header_start,
    keep,
    keep_header,
    put,
)
from numchic_conformance.synthetic.seeded import Source

# A chunk of a PNG file, as somebody may well pass one.
_PNG = bytes.fromhex("89504e470d0a1a0a0000000d494844520000000100000001080200000090774dde")


def cut_cases() -> Iterator[Case]:
    """Cuts at and inside every part, and sizes beyond the end of the data."""
    yield from _foreign()
    yield from _cuts()
    yield from _sizes()


def _foreign() -> Iterator[Case]:
    def instead(data: bytes) -> Change:
        return lambda _: data

    rows: tuple[tuple[str, str, bytes, str, str], ...] = (
        ("empty", "No byte at all.", b"", "TruncatedError", "n_frames"),
        ("one-byte", "One byte.", b"\0", "TruncatedError", "n_frames"),
        ("png", "The start of a PNG file.", _PNG, "TruncatedError", "n_bytes_header"),
        ("zeros", "A hundred bytes of zeros.", bytes(100), "CorruptError", "n_frames"),
        ("ones", "A hundred bytes of ones.", b"\xff" * 100, "TruncatedError", "n_bytes_header"),
        (
            "random", "Random bytes.", Source("random").data("bytes", 700),
            "TruncatedError", "n_bytes_header",
        ),
    )  # fmt: skip
    for name, description, data, error, field in rows:
        yield refuse(f"foreign-{name}", description, instead(data), error, field, "foreign")


def _cuts() -> Iterator[Case]:
    """Cuts of the good still: what is kept, what is then missing first."""
    rows: tuple[tuple[str, str, Change, str], ...] = (
        ("video-header-2", "inside n_intras", keep(2), "n_intras"),
        ("video-header-6", "before the end of n_bytes_header", keep(6), "n_bytes_header"),
        ("video-header-7", "before the last byte of the video header", keep(7), "n_bytes_header"),
        ("after-video-header", "after the video header", keep_header("video"), "display_index"),
        ("frame-header-1", "inside display_index", keep_header("video", 1), "display_index"),
        ("frame-header-4", "inside the frame header", keep_header("video", 4), "n_bytes_header"),
        (
            "after-frame-header", "after the frame header", keep_header("frame 0"),
            "linear_stabiliser_synth",
        ),
        (
            "coolchic-header-3", "inside the Cool-chic header", keep_header("frame 0", 3),
            "n_hidden_layers_arm",
        ),
        (
            "coolchic-header-8", "inside latent_resolution", keep_header("frame 0", 7),
            "latent_resolution[0]",
        ),
        (
            "coolchic-header-20", "inside nn_expgol_cnt", keep_header("frame 0", 15),
            "nn_expgol_cnt.ifce_weight",
        ),
        (
            "coolchic-header-1", "before the last byte of the Cool-chic header",
            keep_header("residue 0", -1), "n_bytes_header",
        ),
        (
            "after-coolchic-header", "after the Cool-chic header", keep_header("residue 0"),
            "nn_n_bytes",
        ),
        (
            "nn-payload", "inside the network payload", keep_header("residue 0", 40),
            "nn_n_bytes",
        ),
    )  # fmt: skip
    for name, what, change, field in rows:
        yield refuse(f"cut-{name}", f"Cut {what}.", change, "TruncatedError", field, "cut")
    # The official decoder reads zeros beyond the end of the latents.
    for name, what, change in (
        ("after-nn-payload", "after the network payload", _keep_networks),
        ("latents-aligned", "before the last word of the latents", keep(-4)),
        ("latents-unaligned", "before the last byte", keep(-1)),
    ):
        yield Case(
            id=f"cut-{name}",
            description=f"Cut {what}.",
            change=change,
            expect=Expect.REFUSE if name.endswith("unaligned") else Expect.EITHER,
            error=ExpectedError("TruncatedError", "n_bytes_latent"),
            features=("cut",),
        )
    for name, what, change, field in (
        ("frame-1", "before frame 1", _keep_before("frame 1"), "display_index"),
        ("frame-2", "before frame 2", _keep_before("frame 2"), "display_index"),
        (
            "motion", "between the residue and the motion of a P frame", _keep_before("motion 1"),
            "linear_stabiliser_synth",
        ),
        (
            "warp-filter-size", "before the last byte of the header of a P frame",
            keep_header("frame 1", -1), "n_bytes_header",
        ),
    ):  # fmt: skip
        yield refuse(
            f"cut-before-{name}", f"A video cut {what}.", change, "TruncatedError", field,
            "cut", "video", good=VIDEO,
        )  # fmt: skip


def _keep_networks(data: bytes) -> bytes:
    part = read_stream(data).frames[0].residue
    return data[: part.latent_offset]


def _keep_before(header: str) -> Change:
    return lambda data: data[: header_start(data, header)]


def _sizes() -> Iterator[Case]:
    """Sizes that reach past the end of the data, or are too small for what they count."""
    rows = (
        ("video", "n_bytes_header", 65535, "TruncatedError", "past the end of the data"),
        ("frame 0", "n_bytes_header", 65535, "TruncatedError", "past the end of the data"),
        ("residue 0", "n_bytes_header", 65535, "TruncatedError", "past the end of the data"),
        ("video", "n_bytes_header", 7, "CorruptError", "one less than its fields need"),
        ("video", "n_bytes_header", 0, "CorruptError", "zero"),
        ("frame 0", "n_bytes_header", 4, "CorruptError", "one less than its fields need"),
        ("frame 0", "n_bytes_header", 0, "CorruptError", "zero"),
        ("residue 0", "n_bytes_header", 32, "CorruptError", "one less than its fields need"),
        ("residue 0", "n_bytes_header", 0, "CorruptError", "zero"),
        ("residue 0", "nn_n_bytes", 16383, "TruncatedError", "past the end of the data"),
        ("residue 0", "n_bytes_latent", 4000, "TruncatedError", "past the end of the data"),
        ("residue 0", "n_bytes_latent", 16_000_000, "TruncatedError", "16 MB that are missing"),
    )  # fmt: skip
    for header, field, value, error, what in rows:
        name = f"size-{header.split(' ', maxsplit=1)[0]}-{field}-{value}".replace("_", "-")
        yield refuse(
            name, f"{field} of the {header.split(' ')[0]} header = {value}: {what}.",
            put(header, field, value), error, field, "size",
        )  # fmt: skip
    for field, listed in (("n_intras", "intra_pos"), ("n_p_frames", "p_pos")):
        first = 52 if listed == "intra_pos" else 64
        fitting = (8 * len(base(STILL)) - first) // 12
        yield refuse(
            f"size-{field}-4095".replace("_", "-"),
            f"{field} = 4095: a list past the end of the data.",
            put("video", field, 4095), "TruncatedError", f"{listed}[{fitting}]", "size",
        )  # fmt: skip
