# SPDX-License-Identifier: BSD-3-Clause
"""Estimate of the memory that decoding takes, from headers alone.

An upper bound of all arrays that are alive at the same time, those inside kernels included. What
one stage needs for a moment is counted as if the other stages needed theirs at the same time, since
with several threads they may. Not counted: the interpreter, its libraries, compiled kernels, and
the source as the caller holds it.

"""

from __future__ import annotations

from collections.abc import Sequence

from numchic.generations import generation
from numchic.video import max_pictures
from numchic_bitstream.generations import Coded

_FIXED = 15_000_000
"""Tables of the entropy model while they are made, seeds of the noise, small objects."""


def estimate_memory(stream: Coded, threads: int = 1, wanted: Sequence[int] = ()) -> int:
    """Bytes in all arrays that are alive at the same time, rounded up.

    Parameters
    ----------
    stream : Coded
    threads : int
        Number of threads that decode at the same time; more than there is work for do not count.
    wanted : sequence of int
        Display indices of the frames to be decoded; all if empty.
    """
    frame_memory, places = generation(stream.generation).frame_memory, stream.places
    wanted = wanted or range(len(places))
    total = _FIXED + 2 * stream.n_bytes
    if (
        len(wanted) == 1
        and not places[[p.display_index for p in places].index(wanted[0])].references
    ):
        return total + frame_memory(stream, threads)
    # Each thread has a frame of its own.
    n_frames = min(threads, len(places))
    ahead = threads if threads > 1 else 0
    n_pictures = min(max_pictures(places, wanted, ahead), len(places))
    height, width = stream.img_size
    picture = 3 * height * width * (1 if stream.bitdepth == 8 else 2)
    return total + n_frames * frame_memory(stream, 1) + n_pictures * picture
