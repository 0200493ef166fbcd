# SPDX-License-Identifier: BSD-3-Clause
"""The Cool-chic 4.2, 4.1 and 4.0 bitstreams, reading only.

Importing this package does not import Numba; the modules with kernels, ``entropy`` and
``parameters``, are imported by name where they are needed.
"""

from numchic_bitstream.v4.headers import (
    CoolChicHeader,
    FrameHeader,
    Generation,
    GopHeader,
    SynthesisLayer,
)
from numchic_bitstream.v4.stream import CoolChic, Frame, Stream, SubStream, read_stream
from numchic_bitstream.v4.walk import detect_generation

__all__ = [
    "CoolChic",
    "CoolChicHeader",
    "Frame",
    "FrameHeader",
    "Generation",
    "GopHeader",
    "Stream",
    "SubStream",
    "SynthesisLayer",
    "detect_generation",
    "read_stream",
]
