# SPDX-License-Identifier: BSD-3-Clause
"""What a stream exercises, computed from its bytes, as a set of keys."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numchic
from numchic.v5.latents import decode_latents
from numchic_bitstream import NumchicError, Stream, read_parameters, read_stream
from numchic_bitstream.metadata import MAX_BLOCKS
from numchic_bitstream.v5.trailer import Trailer, read_trailer
from numchic_conformance.coverage.coder import coder_marks
from numchic_conformance.coverage.headers import stream_marks
from numchic_conformance.coverage.latents import latent_marks
from numchic_conformance.coverage.networks import network_marks
from numchic_conformance.coverage.signal import gain_marks, signal_marks

MOST_PARTS = 40
"""Of longer videos only the headers are looked at."""


def stream_facts(data: bytes) -> frozenset[str]:
    """Keys of everything that a stream exercises.

    A stream that numchic refuses exercises the check that refuses it:
    ``refused.CLASS.FIELD.REASON`` or ``illegal.FIELD=CODE``.
    """
    try:
        stream = read_stream(data)
        if len(stream.frames) < MOST_PARTS:
            for _ in numchic.decode_frames(data):
                pass
    except NumchicError as error:
        return frozenset(_refusals(error))
    marks = set(stream_marks(data, stream))
    marks.update(_trailer_marks(read_trailer(data, stream)))
    if len(stream.frames) < MOST_PARTS:
        _decoded(stream, marks)
    return frozenset(marks)


def _trailer_marks(trailer: Trailer | None) -> Iterator[str]:
    """What a trailer has (docs/trailer.md)."""
    if trailer is None:
        yield "trailer.none"
        return
    yield f"trailer.samples-{'recorded' if trailer.samples else 'not-recorded'}"
    if trailer.metadata is None:
        yield "trailer.no-block"
        return
    for field in dataclasses.fields(trailer.metadata):
        if getattr(trailer.metadata, field.name):
            yield f"trailer.{field.name}"
    if len(trailer.metadata.text) > 1:
        yield "trailer.many-texts"
    if len(trailer.metadata.other) == MAX_BLOCKS:
        yield "trailer.most-blocks"


def _decoded(stream: Stream, marks: set[str]) -> None:
    for frame in stream.frames:
        for part in frame.parts:
            header = part.header
            parameters = read_parameters(header, part.nn_payload)
            marks.update(network_marks(header, parameters))
            grids = decode_latents(part, parameters)
            symbols = latent_marks(header, parameters, grids, marks)
            coder_marks(symbols, header.n_bytes_latent // 4, marks)
            kinds = header.derived.grids
            latents = [g for g, kind in zip(grids, kinds, strict=True) if not kind.hyper]
            if len(stream.frames) == 1:
                marks.update(signal_marks(frame.header, header, parameters, latents))
            elif part is frame.residue:
                n_references = len(frame.header.index_references)
                marks.update(gain_marks(header, parameters, latents, n_references))


def _refusals(error: NumchicError) -> Iterator[str]:
    field = re.sub(r"\[\d+\]", "[]", error.field or "")
    if error.reason == "illegal value":
        yield f"illegal.{field}={error.found}"
    yield f"refused.{type(error).__name__}.{field}.{error.reason}"
