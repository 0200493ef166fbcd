# SPDX-License-Identifier: BSD-3-Clause
"""Header fields with codes that no stream may have."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import Descriptor
from numchic_bitstream.v5.headers import MAX_EXPGOL_CNT, MAX_Q_STEP
from numchic_conformance.synthetic.malformed.case import VIDEO, Case, refuse
from numchic_conformance.synthetic.malformed.editing import put

# Header, field, illegal codes, what is wrong.
_CODES: tuple[tuple[str, str, tuple[int, ...], str], ...] = (
    ("video", "n_frames", (0,), "no frame at all"),
    ("video", "n_intras", (0,), "no intra frame"),
    ("frame 0", "frame_type", (3,), "a type that does not exist"),
    ("frame 0", "frame_data_type", (3,), "flow, which is not a picture"),
    ("frame 0", "bitdepth", tuple(range(9, 16)), "an index beyond 16 bits"),
    ("residue 0", "n_layer_synthesis", (0,), "no layer at all"),
    ("residue 0", "ups_k_size", (0, 1, 2, 3, 5, 7, 9, 11, 13, 15), "odd or less than 4"),
    ("residue 0", "ups_preconcat_k_size", (0, 2, 4, 6, 8, 10, 12, 14), "even"),
    ("residue 0", "spatial_context_arm", (0, 41, 63), "not 1..40"),
    ("residue 0", "img_size[0]", (0,), "a height of 0"),
    ("residue 0", "img_size[1]", (0,), "a width of 0"),
    ("residue 0", "final_upsampling_type", (3,), "a type that does not exist"),
    ("residue 0", "nn_n_bytes", (0,), "no network payload"),
    ("residue 0", "n_bytes_latent", (0,), "no latent payload"),
    ("residue 0", "n_bytes_latent", (1, 2, 3, 5, 1 << 27 | 2), "not a multiple of 4"),
    ("residue 0", "syn_layer[0].out_ft", (0,), "no output channel"),
)  # fmt: skip


def field_cases() -> Iterator[Case]:
    """Illegal codes of every field."""
    for header, field, codes, what in _CODES:
        for code in codes:
            name = f"{field}-{code}".replace("_", "-").replace("[", "-").replace("]", "")
            yield refuse(
                name,
                f"{field} = {code}: {what}.",
                put(header, field, code),
                "CorruptError",
                field,
                "field",
            )
    for name in Descriptor._fields:
        for kind, largest, of_all in (
            ("nn_q_step", getattr(MAX_Q_STEP, name), 31),
            ("nn_expgol_cnt", MAX_EXPGOL_CNT, 15),
        ):
            for code in (largest + 1, of_all):
                yield refuse(
                    f"{kind}-{name}-{code}".replace("_", "-"),
                    f"{kind}.{name} = {code}: an index beyond the table, whose last is {largest}.",
                    put("residue 0", f"{kind}.{name}", code),
                    "CorruptError",
                    f"{kind}.{name}",
                    "field",
                )
    for role in ("residue", "motion"):
        for frame in (1, 2):
            yield refuse(
                f"video-{role}-{frame}-final-upsampling-type-3",
                f"An illegal field in the {role} of frame {frame} of a video.",
                put(f"{role} {frame}", "final_upsampling_type", 3),
                "CorruptError",
                "final_upsampling_type",
                "field", "video",
                good=VIDEO,
            )  # fmt: skip
    for code in (0, 1, 3, 5, 7, 9, 11, 13, 15):
        yield refuse(
            f"warp-filter-size-{code}",
            f"warp_filter_size = {code}: odd or less than 2.",
            put("frame 1", "warp_filter_size", code),
            "CorruptError",
            "warp_filter_size",
            "field", "video",
            good=VIDEO,
        )  # fmt: skip
