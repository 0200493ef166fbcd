# SPDX-License-Identifier: BSD-3-Clause
"""What is fuzzed: functions that take any bytes and return the name of the outcome.

An exception that leaves a target is a finding: whatever is not a result or a typed error, an error
that does not say where, a warning (run with warnings as errors), and a result that contradicts the
format (``FindingError``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fuzz.target_headers import headers, info, streams, trailer
from fuzz.target_payloads import latents, parameters, rangecoder
from fuzz.target_pictures import decode, pillow, video


class Target(NamedTuple):
    """A function and the length of its longest inputs."""

    run: Callable[[bytes], str]
    max_size: int


TARGETS = {
    "headers": Target(headers, 128),
    "streams": Target(streams, 1536),
    "trailer": Target(trailer, 1536),
    "info": Target(info, 1536),
    "parameters": Target(parameters, 256),
    "rangecoder": Target(rangecoder, 256),
    "latents": Target(latents, 1536),
    "decode": Target(decode, 1536),
    "video": Target(video, 2048),
    "v4": Target(video, 1536),  # the same function; inputs are of the older generations
    "pillow": Target(pillow, 1536),
}
