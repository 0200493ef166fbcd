# SPDX-License-Identifier: BSD-3-Clause
"""Section 15.1: what a decoder must notice."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import Descriptor
from numchic_bitstream.v5.headers import MAX_Q_STEP
from numchic_conformance.coverage.items.item import Item, each, items

_SECTION = "15.1 Validation"

# Field, all its illegal codes, or some of them where there are many.
_ILLEGAL: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("n_frames", (0,)),
    ("n_intras", (0,)),
    ("frame_type", (3,)),
    ("frame_data_type", (3,)),
    ("bitdepth", (9, 10, 11, 12, 13, 14, 15)),
    ("warp_filter_size", (0, 1, 3, 5, 7, 9, 11, 13, 15)),
    ("n_layer_synthesis", (0,)),
    ("ups_k_size", (0, 1, 2, 3, 5, 7, 9, 11, 13, 15)),
    ("ups_preconcat_k_size", (0, 2, 4, 6, 8, 10, 12, 14)),
    ("spatial_context_arm", (0, 41, 63)),
    ("img_size[]", (0,)),
    ("final_upsampling_type", (3,)),
    ("nn_n_bytes", (0,)),
    ("n_bytes_latent", (0, 1, 2, 3, 5)),
    ("syn_layer[].out_ft", (0,)),
    ("syn_layer[].k_size", (0, 2, 4, 6, 8, 10, 12, 14)),
)

# Class, field, reason, what is wrong.
_CHECKS = (
    ("TruncatedError", "n_frames", "the data end inside a field", "no data at all"),
    ("TruncatedError", "display_index", "the data end inside a field", "no frame header"),
    ("TruncatedError", "linear_stabiliser_synth", "the data end inside a field", "no header"),
    ("TruncatedError", "intra_pos[]", "the data end inside a field", "a list of intra frames"),
    ("TruncatedError", "p_pos[]", "the data end inside a field", "a list of P frames"),
    (
        "TruncatedError", "n_bytes_header", "the header reaches past the end of the data",
        "n_bytes_header past the end",
    ),
    ("CorruptError", "n_bytes_header", "smaller than the header", "n_bytes_header too small"),
    ("CorruptError", "intra_pos[]", "no such frame", "an intra position >= n_frames"),
    ("CorruptError", "p_pos[]", "no such frame", "a P position >= n_frames"),
    ("CorruptError", "intra_pos[]", "a frame is listed twice", "an intra frame listed twice"),
    ("CorruptError", "p_pos[]", "a frame is listed twice", "a P frame listed twice or as intra"),
    ("CorruptError", "intra_pos", "the first frame is not an intra frame", "frame 0 not intra"),
    (
        "CorruptError", "n_frames", "the last frame is neither an intra nor a P frame",
        "the last frame a B frame",
    ),
    ("CorruptError", "frame_type", "disagrees with the stream", "another type than derived"),
    ("CorruptError", "display_index", "disagrees with the stream", "another display index"),
    ("CorruptError", "index_references", "disagrees with the stream", "other references"),
    ("CorruptError", "frame_data_type", "disagrees with the stream", "a data type that changes"),
    ("CorruptError", "bitdepth", "disagrees with the stream", "a bit depth that changes"),
    ("CorruptError", "img_size", "differs from the other parts of the stream", "another size"),
    ("CorruptError", "img_size", "odd size in 4:2:0", "odd size of an inter frame in 4:2:0"),
    ("CorruptError", "img_size", "no chroma sample", "4:2:0 of one row or column"),
    ("CorruptError", "latent_resolution", "bounds are reversed", "latent levels reversed"),
    ("CorruptError", "hyperlatent_resolution", "bounds are reversed", "hyperlatents reversed"),
    ("CorruptError", "ifce_resolution", "bounds are reversed", "IFCE levels reversed"),
    ("CorruptError", "hyperlatent_resolution", "a level is missing", "a gap between levels"),
    ("CorruptError", "n_latent_grids", "disagrees with the resolutions", "another n_latent_grids"),
    (
        "CorruptError", "syn_layer[].out_ft", "a residual layer changes the channels",
        "a residual layer that changes the channels",
    ),
    (
        "CorruptError", "syn_layer[].out_ft", "wrong number of output channels",
        "a wrong number of output channels",
    ),
    (
        "CorruptError", "latent_resolution", "common randomness needs latents of picture size",
        "common randomness below picture size",
    ),
    (
        "TruncatedError", "nn_n_bytes", "the payload reaches past the end of the data",
        "nn_n_bytes past the end",
    ),
    (
        "TruncatedError", "n_bytes_latent", "the payload reaches past the end of the data",
        "n_bytes_latent past the end",
    ),
    ("CorruptError", "nn_payload", "padding is not zero", "bits set in the padding"),
    ("CorruptError", "nn_payload", "bits are left over", "bits after the last parameter"),
    ("CorruptError", "nn_payload", "too many parameters", "more parameters than bits"),
    (
        "TruncatedError", "nn_payload.synthesis_bias", "the payload ends inside a parameter",
        "a code past the end of the payload",
    ),
    (
        "CorruptError", "nn_payload.arm_weight", "a parameter has too many leading zeros",
        "a prefix of more than 40 zeros",
    ),
    (
        "CorruptError", "nn_payload.arm", "accumulators of the ARM overflow",
        "ARM sums that may reach 2^63",
    ),
    (
        "CorruptError", "nn_payload.ifce", "accumulators of the IFCE overflow",
        "IFCE sums that may reach 2^63",
    ),
    ("CorruptError", "latent_payload", "invalid range coder state", "a quantile >= 2^24"),
    (
        "TruncatedError", "latent_payload", "the payload ends before the last symbol",
        "latents that end early",
    ),
    ("CorruptError", "nn_payload.synthesis", "the synthesis overflows", "infinity or NaN"),
    ("CorruptError", "nn_payload.synthesis", "the motion overflows", "infinite or NaN vectors"),
    ("LimitError", "pixels", "the stream exceeds a limit", "more pixels than allowed"),
    ("LimitError", "work", "the stream exceeds a limit", "more work than allowed"),
    ("LimitError", "memory_bytes", "the stream exceeds a limit", "more memory than allowed"),
)  # fmt: skip


_TRAILER = "Trailer (docs/trailer.md)"
_CUT, _DAMAGED = "the trailer is damaged or cut off", "the trailer is damaged"
_OTHER = "the stream is not what its trailer says"

# Class, field, reason, what is wrong.
_TRAILER_CHECKS = (
    ("IntegrityError", "trailer", "the trailer is cut off or missing", "cut off or missing"),
    ("IntegrityError", "trailer.head", _DAMAGED, "a wrong head"),
    ("IntegrityError", "trailer.n_bytes", _CUT, "a wrong size"),
    ("IntegrityError", "trailer.n_bytes_again", _CUT, "a wrong second size"),
    ("IntegrityError", "trailer.tail", _DAMAGED, "a wrong tail"),
    ("IntegrityError", "trailer.trailer_crc", _DAMAGED, "a wrong CRC of the trailer"),
    ("IntegrityError", "trailer.announcement", "the trailer is not announced", "not announced"),
    ("IntegrityError", "trailer.stream_crc", _OTHER, "a wrong CRC of the stream"),
    ("IntegrityError", "trailer.latents_crc", _OTHER, "a wrong CRC of the latents"),
    ("IntegrityError", "trailer.samples", _OTHER, "a wrong digest of the samples"),
    (
        "UnsupportedError", "trailer.version", "unknown version of the trailer",
        "an unknown version",
    ),
    ("CorruptError", "trailer.block[].type", "the type is reserved", "a block of type 0"),
    ("CorruptError", "trailer.block[].type", "a second block of this type", "a second profile"),
    ("CorruptError", "trailer.block[].data", "not a TIFF structure", "Exif data without TIFF"),
    ("CorruptError", "trailer.block[].data", "the text is not UTF-8", "a text not in UTF-8"),
    ("CorruptError", "trailer.block[].data", "malformed text", "a text without key or value"),
    ("CorruptError", "trailer.block[]", "the block is cut off", "half a block"),
    (
        "CorruptError", "trailer.block[].n_bytes", "the block reaches past the end of the trailer",
        "a block that is too long",
    ),
    ("CorruptError", "trailer.block[]", "too many blocks", "too many blocks"),
)  # fmt: skip


def trailer_items() -> Iterator[Item]:
    """Items of trailers, good and bad."""
    yield from items(
        _TRAILER,
        ("trailer.none", "no trailer"),
        ("trailer.no-block", "a trailer without blocks"),
        ("trailer.samples-recorded", "a digest of the samples"),
        ("trailer.samples-not-recorded", "no digest of the samples"),
        ("trailer.icc", "an ICC profile"),
        ("trailer.exif", "Exif data"),
        ("trailer.text", "a text"),
        ("trailer.many-texts", "several texts"),
        ("trailer.other", "blocks of unknown types"),
        ("trailer.most-blocks", "1024 blocks"),
    )
    for error, field, reason, text in _TRAILER_CHECKS:
        yield Item(_TRAILER, f"refused.{error}.{field}.{reason}", text)


def refusal_items() -> Iterator[Item]:
    """Items of everything that makes a stream malformed."""
    for field, codes in _ILLEGAL:
        yield from each(_SECTION, f"illegal.{field}=" + "{}", codes, f"{field} with code {{}}")
    for name in Descriptor._fields:
        steps = (getattr(MAX_Q_STEP, name) + 1, 31)
        for table, codes in (("nn_q_step", steps), ("nn_expgol_cnt", (13, 15))):
            yield from each(
                _SECTION, f"illegal.{table}.{name}=" + "{}", codes, f"{table}.{name} with code {{}}"
            )
    for error, field, reason, text in _CHECKS:
        yield Item(_SECTION, f"refused.{error}.{field}.{reason}", text)
