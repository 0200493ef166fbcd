# SPDX-License-Identifier: BSD-3-Clause
"""The Cool-chic 5.0 bitstream, both directions.

Importing this package does not import Numba; the modules with kernels, ``laplace`` and
``rangecoder``, are imported by name where they are needed.
"""

from numchic_bitstream.complexity import Macs, count_macs
from numchic_bitstream.dump import dump
from numchic_bitstream.errors import (
    CorruptError,
    LimitError,
    NumchicError,
    StreamError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from numchic_bitstream.headers import (
    CoolChicHeader,
    Descriptor,
    FrameHeader,
    SynthesisLayer,
    VideoHeader,
)
from numchic_bitstream.limits import Limits
from numchic_bitstream.parameters import (
    ArmParameters,
    IfceParameters,
    Layer,
    Parameters,
    SynthesisParameters,
    UpsamplingParameters,
    read_parameters,
    write_parameters,
)
from numchic_bitstream.stream import CoolChic, Frame, Stream, read_stream, write_stream

__all__ = [
    "ArmParameters",
    "CoolChic",
    "CoolChicHeader",
    "CorruptError",
    "Descriptor",
    "Frame",
    "FrameHeader",
    "IfceParameters",
    "Layer",
    "LimitError",
    "Limits",
    "Macs",
    "NumchicError",
    "Parameters",
    "Stream",
    "StreamError",
    "SynthesisLayer",
    "SynthesisParameters",
    "TruncatedError",
    "UnsupportedError",
    "UpsamplingParameters",
    "UsageError",
    "VideoHeader",
    "count_macs",
    "dump",
    "read_parameters",
    "read_stream",
    "write_parameters",
    "write_stream",
]
