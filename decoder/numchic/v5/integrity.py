# SPDX-License-Identifier: BSD-3-Clause
"""Comparison of what was decoded with what the trailer says of it (docs/trailer.md, section 4)."""

from __future__ import annotations

import hashlib

from numchic.video import DecodedFrame
from numchic_bitstream.v5.stream import Stream
from numchic_bitstream.v5.trailer import DIGEST_SIZE, Trailer, join_crcs


class IntegrityCheck:
    """Collects digests of all frames of a stream, which come in display order.

    Parameters
    ----------
    stream : Stream
    trailer : Trailer
    """

    def __init__(self, stream: Stream, trailer: Trailer) -> None:
        self._stream = stream
        self._trailer = trailer
        self._latents: dict[int, int] = {}
        self._samples = hashlib.sha256()

    def add(self, place: int, frame: DecodedFrame) -> None:
        """Take the next frame; the last one brings the comparison.

        Parameters
        ----------
        place : int
            Place of the frame in coding order.
        frame : DecodedFrame

        Raises
        ------
        IntegrityError
            Latents or samples are not what the trailer says.
        """
        self._latents[place] = frame.latents_crc
        if self._trailer.samples is not None:
            for piece in frame.picture.pieces():
                self._samples.update(piece)
        if len(self._latents) < len(self._stream.frames):
            return
        sizes = (
            sum(part.header.derived.n_samples for part in coded.parts)
            for coded in self._stream.frames
        )
        crcs = (self._latents[i] for i in range(len(self._latents)))
        self._trailer.check_latents(join_crcs(zip(crcs, sizes, strict=True)))
        self._trailer.check_samples(self._samples.digest()[:DIGEST_SIZE])
