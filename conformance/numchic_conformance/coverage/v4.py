# SPDX-License-Identifier: BSD-3-Clause
"""What a stream of the generations 4.2, 4.1 and 4.0 exercises, as a set of keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

import numchic
from numchic.v4.arm import prepare_arm
from numchic.v4.latents import Coder, decode_plane, interior, new_plane, read_blocks
from numchic_bitstream import NumchicError
from numchic_bitstream.bits import Entry
from numchic_bitstream.v4 import CoolChic, CoolChicHeader, Frame, Stream, read_stream
from numchic_bitstream.v4.entropy import renormalisation, start, symbol_contexts
from numchic_bitstream.v4.parameters import read_parameters

LARGE = 10_000  # a latent that only a long code can say
HIGHEST_STEPS = {"arm": (8, 16), "ups": (12, 0), "syn": (12, 24)}


def stream_facts4(data: bytes) -> frozenset[str]:
    """Keys of everything that a 4.x stream exercises.

    A stream that numchic refuses exercises the check that refuses it: ``v4.refused.CLASS.FIELD``.
    """
    entries: list[Entry] = []
    try:
        stream = read_stream(data, listener=lambda _, some: entries.extend(some))
        for _ in numchic.decode_frames(data):
            pass
    except NumchicError as error:
        field = re.sub(r"\[\d+\]", "[]", error.field or "")
        return frozenset({f"v4.refused.{type(error).__name__}.{field}"})
    marks = set(_stream_marks(stream))
    marks.update(_copy_marks(entries))
    for frame in stream.frames:
        marks.update(_frame_marks(stream, frame))
        for part in frame.parts:
            marks.update(_header_marks(part.header))
            marks.update(_latent_marks(part))
    return frozenset(marks)


def _stream_marks(stream: Stream) -> Iterator[str]:
    kind = "still" if len(stream.frames) == 1 else "video"
    yield f"v4.{stream.generation}.{kind}"
    yield f"v4.samples.{stream.data_type}.{stream.bitdepth}"
    for axis, size in zip(("height", "width"), stream.img_size, strict=True):
        yield f"v4.{axis}.{'one' if size == 1 else 'odd' if size % 2 else 'even'}"


def _copy_marks(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.field.startswith("topology_copy"):
            part = "residue" if entry.field.endswith("[0]") else "motion"
            for bit, group in enumerate(("arm", "ups", "syn", "lat")):
                if int(str(entry.value)) >> bit & 1:
                    yield f"v4.copy.{part}.{group}"


def _frame_marks(stream: Stream, frame: Frame) -> Iterator[str]:
    header = frame.header
    yield f"v4.{stream.generation}.frame-{header.frame_type}"
    if header.frame_type == "I":
        return
    yield f"v4.taps.{header.n_taps}"
    yield f"v4.lead.{frame.parts[1].header.lead}"
    for flow in header.global_flow:
        for value, size in zip(flow, stream.img_size[::-1], strict=True):
            where = "beyond" if abs(value) >= size else "inside" if value else "zero"
            yield f"v4.flow.{where}"
    if frame.parts[1].header.latents_zero:
        yield "v4.zero.motion"


def _header_marks(header: CoolChicHeader) -> Iterator[str]:
    arm, ups, layers, lat = header.topology
    yield f"v4.arm.context-{arm.context_size}"
    yield f"v4.arm.hidden-{arm.n_hidden}"
    if not header.latents_zero:
        yield f"v4.ups.size-{ups.ups_size}"
        yield f"v4.pre.size-{ups.pre_size}"
        yield f"v4.ups.kernels-{'one' if ups.n_ups == 1 else 'several'}"
    for layer in layers:
        mode = "residual" if layer.residual else "linear"
        yield f"v4.syn.{mode}.{'relu' if layer.relu else 'none'}.k-{layer.k_size}"
    yield f"v4.syn.{'fused' if layers[0].k_size == layers[1].k_size == 1 else 'not-fused'}"
    if max(layer.n_outputs for layer in layers) > 32:
        yield "v4.syn.wide"
    yield f"v4.lat.n-{len(lat.latent)}"
    if any(b < a for a, b in zip(lat.latent, lat.latent[1:], strict=False)):
        yield "v4.lat.gap"
    for latent, noise in zip(lat.latent, lat.noise, strict=True):
        if noise:
            yield f"v4.noise.{'beside' if latent else 'without'}-latent"
    if header.latents_zero:
        yield f"v4.zero.{'noise' if any(lat.noise) else 'no-noise'}"
    elif any(there and not n for there, n in zip(lat.latent, header.len_lat, strict=True)):
        yield "v4.lat.empty"
    yield f"v4.blk.{'none' if header.blk == 0 else 'plain' if header.blk > 0 else 'adaptive'}"
    for module, coding in header.modules:
        steps = (("w", coding.q_w), ("b", coding.q_b))
        for (kind, step), highest in zip(steps, HIGHEST_STEPS[module], strict=True):
            what = "lowest" if step == 0 else "highest" if step == highest else "between"
            yield f"v4.step.{module}.{kind}.{what}"
        for order in (coding.eg_w, coding.eg_b):
            what = "lowest" if order == 0 else "highest" if order == 12 else "between"
            yield f"v4.order.{module}.{what}"


def _latent_marks(part: CoolChic) -> Iterator[str]:
    header = part.header
    arm = prepare_arm(read_parameters(part).arm)
    context_size = header.topology.arm.context_size
    for i in header.derived.coded_planes:
        height, width = header.derived.sizes[i]
        data = np.frombuffer(part.latents[i].data, np.uint8)
        coder = Coder(data, start(data), symbol_contexts(), renormalisation())
        blocks = read_blocks(coder, height, width, header.blk)
        if blocks.significant.size > 1:
            yield "v4.block.skipped" if not blocks.significant.all() else "v4.block.none-skipped"
            yield "v4.block.flat" if blocks.flat.any() else "v4.block.none-flat"
        plane = new_plane(height, width)
        for _ in decode_plane(part.latents[i], arm, context_size, header.blk, i, plane):
            pass
        latent = interior(plane)
        yield from (f"v4.latent.{name}" for name, some in (
            ("zero", latent == 0), ("positive", latent > 0), ("negative", latent < 0),
            ("large", np.abs(latent) > LARGE),
        ) if some.any())  # fmt: skip
