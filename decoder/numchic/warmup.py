# SPDX-License-Identifier: BSD-3-Clause
"""Compile and cache all kernels by coding and decoding pictures of a few samples."""

from __future__ import annotations

from numchic.api import decode_frames
from numchic.generations import all_generations


def warm_up() -> None:
    """Compile every kernel, or load it from the cache."""
    for generation in all_generations():
        for stream in generation.warmup_streams():
            list(decode_frames(stream, threads=1))
