# SPDX-License-Identifier: BSD-3-Clause
"""Valid videos: coding structures, references, global flow, warp filters, data types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numchic_bitstream import FrameHeader, SynthesisLayer, VideoHeader
from numchic_bitstream.v5.structure import coding_order
from numchic_conformance.manifest import Level
from numchic_conformance.synthetic.drawing import INTER_RESIDUE, MOTION, PICTURE, Signal
from numchic_conformance.synthetic.recipe import CodedFrame, Part, Recipe, header

_OUTPUTS = {"I": 3, "P": 4, "B": 5}

# Horizontal and vertical displacement of up to two references, taken in turn.
_FLOWS = ((0, 0, 0, 0), (3, -2, -5, 1), (-1, -4, 2, 7), (0, 6, -3, 0))

# Number of frames, I frames, P frames, what is special.
_STRUCTURES = (
    (2, (0,), (1,), "I P"),
    (3, (0,), (2,), "I B P"),
    (2, (0, 1), (), "intra frames only"),
    (5, (0,), (1, 2, 3, 4), "a chain of P frames"),
    (9, (0,), (8,), "a pyramid of B frames"),
    (9, (0,), (6, 8), "two P frames with different gaps"),
    (12, (0, 7), (3, 11), "intra frames in between"),
    (6, (0, 5), (), "B frames between intra frames"),
    (8, (0, 4, 6), (2, 7), "P frames that refer to an intra frame and not to the P frame before"),
)


def video_recipes() -> list[Recipe]:
    """Return the recipes of all videos."""
    return [*_structures(), *_frames(), *_parts(), *_long()]


def _structures() -> Iterator[Recipe]:
    for n, intra, p, what in _STRUCTURES:
        name = f"structure-{n}-intra-{'-'.join(map(str, intra))}"
        name += "".join(f"-p-{'-'.join(map(str, p))}" for _ in range(bool(p)))
        yield video(name, f"Coding structure: {what}.", n, intra, p)
    yield video(
        "structure-unsorted-lists",
        "Lists of intra and P positions that are not in order.",
        6, (3, 0), (5, 2),
    )  # fmt: skip


def _frames() -> Iterator[Recipe]:
    for size in range(2, 15, 2):
        yield video(
            f"warp-{size}",
            f"Warp filter of size {size}.",
            3, (0,), (2,), warp_filter_size=size,
        )  # fmt: skip
    for data_type in ("rgb", "yuv420", "yuv444"):
        for bitdepth in (8, 10, 16):
            yield video(
                f"format-{data_type}-{bitdepth}b-video",
                f"Video in {data_type} with {bitdepth} bits.",
                3, (0,), (2,), frame_data_type=data_type, bitdepth=bitdepth,
            )  # fmt: skip
    for name, flow in (
        ("largest", (8191, 8191, 8191, 8191)),
        ("smallest", (-8191, -8191, -8191, -8191)),
        ("mixed", (8191, -8191, -1, 1)),
    ):
        yield video(
            f"flow-{name}",
            f"Global flow: the {name} values.",
            3, (0,), (2,), flows=(flow,),
        )  # fmt: skip


def _parts() -> Iterator[Recipe]:
    yield video(
        "outputs-more-than-needed",
        "Residue and motion decoders with more output channels than are used.",
        3, (0,), (2,), extra=2,
    )  # fmt: skip
    yield video(
        "gains-beyond-bounds",
        "Alpha and beta below 0, inside and above 1.",
        5, (0,), (4,), residue=Signal(mean=0.0, spread=2.0),
    )  # fmt: skip
    yield video(
        "motion-at-picture-size",
        "Motion decoders with latents from level 0, hyperlatents, IFCE and common randomness.",
        3, (0,), (2,),
        motion={
            "latent_resolution": (0, 2), "hyperlatent_resolution": (1, 2),
            "output_feature_ifce": 3, "ifce_resolution": (0, 1), "flag_common_randomness": 1,
        },
    )  # fmt: skip
    yield video(
        "pixel-video",
        "A video of one pixel.",
        3, (0,), (2,), img_size=(1, 1),
    )  # fmt: skip


def _long() -> Iterator[Recipe]:
    yield video(
        "frames-100",
        "A hundred frames.",
        100, tuple(range(0, 100, 10)), tuple(range(5, 96, 10)) + (99,),
        level=Level.FULL, img_size=(2, 2), tiny=True,
    )  # fmt: skip
    yield video(
        "frames-4095",
        "The longest video, of intra frames of one pixel.",
        4095, tuple(range(4095)), (), level=Level.STRESS, img_size=(1, 1), tiny=True,
    )  # fmt: skip


def video(
    name: str,
    description: str,
    n_frames: int,
    intra: tuple[int, ...],
    p: tuple[int, ...],
    *,
    level: Level = Level.CORE,
    img_size: tuple[int, int] = (10, 14),
    flows: tuple[tuple[int, ...], ...] = _FLOWS,
    extra: int = 0,
    residue: Signal = INTER_RESIDUE,
    motion: dict[str, Any] | None = None,
    tiny: bool = False,
    **frame: Any,
) -> Recipe:
    """Return the recipe of a video.

    Parameters
    ----------
    name, description, level, img_size
        As for a still.
    n_frames, intra, p
        The coding structure.
    flows : tuple
        Global flows, taken in turn.
    extra : int
        Output channels of inter frames that are not used.
    residue : Signal
        What the residue decoders of inter frames give.
    motion : dict
        Changes of the headers of motion decoders.
    tiny : bool
        Networks as small as they can be.
    **frame
        Fields of the frame headers.
    """
    structure = VideoHeader(n_frames=n_frames, intra_pos=intra, p_pos=p)
    small: dict[str, Any] = {"img_size": img_size}
    if tiny:
        small |= {
            "output_feature_ifce": 0, "spatial_context_arm": 1, "linear_stabiliser_arm": 0,
            "n_hidden_layers_arm": 0, "linear_stabiliser_synth": 0, "latent_resolution": (0, 0),
        }  # fmt: skip
    frames = []
    for i, coded in enumerate(coding_order(structure)):
        n_references = len(coded.references)
        outputs = _OUTPUTS[coded.frame_type] + (extra if n_references else 0)
        changes: dict[str, Any] = {"frame_data_type": "yuv420" if img_size[0] > 1 else "rgb"}
        if n_references:
            changes["warp_filter_size"] = 8
            changes |= {k: v for k, v in frame.items() if k == "warp_filter_size"}
        changes |= {k: v for k, v in frame.items() if k != "warp_filter_size"}
        frames.append(
            CodedFrame(
                header=FrameHeader(
                    display_index=coded.display_index,
                    frame_type=coded.frame_type,
                    index_references=coded.references,
                    global_flow=flows[i % len(flows)][: 2 * n_references],
                    **changes,
                ),
                residue=_part(outputs, residue if n_references else PICTURE, small),
                motion=_motion(2 * n_references + extra, small, motion) if n_references else None,
            )
        )
    return Recipe(
        id=name,
        description=description,
        features=("video",),
        level=level,
        frames=tuple(frames),
        video=structure,
    )


def _motion(outputs: int, small: dict[str, Any], changes: dict[str, Any] | None) -> Part:
    """Return a motion decoder as encoders make it: coarse, with blocks of equal vectors."""
    coarse = {"latent_resolution": (2, 3), "final_upsampling_type": "nearest"}
    return _part(outputs, MOTION, coarse | small | (changes or {}))


def _part(outputs: int, signal: Signal, changes: dict[str, Any]) -> Part:
    last = SynthesisLayer(outputs, 1, "linear", "none")
    first = SynthesisLayer(4, 1, "linear", "relu")
    layers = {"syn_layer": (first, last)[changes.get("spatial_context_arm") == 1 :]}
    return Part(header=header(**layers, **changes), signal=signal)
