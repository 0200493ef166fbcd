# SPDX-License-Identifier: BSD-3-Clause
"""The way from finished frames to a stream: join, decode, compare (video-training, section 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

import numchic
from numchic.generations import generation
from numchic.video import decode_video
from numchic_bitstream import Metadata, Stream, VideoHeader, append_trailer, write_stream
from numchic_bitstream.v5.trailer import DIGEST_SIZE, join_crcs
from numchic_trainer.quality import psnr
from numchic_trainer.video.frame import FrameReport
from numchic_trainer.video.records import Record, digest_of
from numchic_trainer.video.result import VideoResult


def join(
    header: VideoHeader,
    records: Sequence[Record],
    metadata: Metadata | None,
    *,
    trailer: bool,
    threads: int,
) -> tuple[bytes, int]:
    """Make a stream of frames, and decode it whole.

    Parameters
    ----------
    header : VideoHeader
    records : sequence of Record
        In coding order.
    metadata : Metadata or None
        For the trailer.
    trailer : bool
    threads : int
        So many decode.

    Returns
    -------
    bytes, int
        The stream, and the size of its trailer.

    Raises
    ------
    RuntimeError
        The decoder gives other frames than were reported: a bug.
    """
    stream = Stream(header, tuple(record.frame for record in records))
    data = write_stream(stream)
    latents, samples = _decoded(stream, [record.samples for record in records], threads)
    complete = data
    if trailer:
        complete = append_trailer(data, latents, samples, metadata)
    numchic.open(complete).close()  # compares the stream with its trailer
    return complete, len(complete) - len(data)


def _decoded(stream: Stream, expected: Sequence[str], threads: int) -> tuple[int, bytes | None]:
    """CRC-32 of all latents and digest of all samples, as trailers have them."""
    crcs: dict[int, int] = {}
    samples = hashlib.sha256()
    n_frames = len(stream.frames)
    decoder = generation(stream.generation).frame_decoder(stream)
    for place, frame in decode_video(stream.places, range(n_frames), decoder, threads=threads):
        if digest_of(frame.picture) != expected[place]:
            index = stream.places[place].display_index
            raise RuntimeError(f"the decoder gives another frame {index} than was reported")
        crcs[place] = frame.latents_crc
        for piece in frame.picture.pieces():
            samples.update(piece)
    parts = [
        (crcs[place], sum(part.header.derived.n_samples for part in frame.parts))
        for place, frame in enumerate(stream.frames)
    ]
    # Other machines may differ in a sample made of noise.
    noisy = any(part.header.flag_common_randomness for f in stream.frames for part in f.parts)
    return join_crcs(parts), None if noisy else samples.digest()[:DIGEST_SIZE]


def result_of(
    complete: bytes,
    trailer_bytes: int,
    structure: tuple[tuple[int, ...], tuple[int, ...]],
    lmbda: float,
    reports: Sequence[FrameReport],
    n_pixels: int,
) -> VideoResult:
    """Put together what is told of a video.

    Parameters
    ----------
    complete : bytes
        The stream.
    trailer_bytes : int
    structure : two tuples of int
        I frames and P frames.
    lmbda : float
    reports : sequence of FrameReport
        In coding order.
    n_pixels : int
        Of a frame.
    """
    mse = float(np.mean([report.mse for report in reports]))
    rate = 8 * (len(complete) - trailer_bytes) / (n_pixels * len(reports))
    y, u, v = np.mean([report.psnr for report in reports], axis=0)
    return VideoResult(
        stream=complete,
        trailer_bytes=trailer_bytes,
        intra=structure[0],
        p=structure[1],
        lmbda=lmbda,
        psnr_db=psnr(mse),
        plane_psnr_db=(float(y), float(u), float(v)),
        mse=mse,
        bits_per_pixel=rate,
        loss=mse + lmbda * rate,
        goal_met=True,
        cpu_seconds=sum(report.cpu_seconds for report in reports),
        frames=tuple(reports),
    )
