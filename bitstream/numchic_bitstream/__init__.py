# SPDX-License-Identifier: BSD-3-Clause
"""The Cool-chic 5.0 bitstream, both directions.

Importing this package does not import Numba; the modules with kernels, such as ``v5.laplace`` and
``v5.rangecoder``, are imported by name where they are needed.
"""

from numchic_bitstream.dump import dump
from numchic_bitstream.errors import (
    CorruptError,
    IntegrityError,
    LimitError,
    NumchicError,
    StreamError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from numchic_bitstream.limits import Limits
from numchic_bitstream.metadata import Metadata
from numchic_bitstream.v5.complexity import Macs, count_macs
from numchic_bitstream.v5.headers import (
    CoolChicHeader,
    Descriptor,
    FrameHeader,
    SynthesisLayer,
    VideoHeader,
)
from numchic_bitstream.v5.parameters import (
    ArmParameters,
    IfceParameters,
    Layer,
    Parameters,
    SynthesisParameters,
    UpsamplingParameters,
    read_parameters,
    write_parameters,
)
from numchic_bitstream.v5.stream import CoolChic, Frame, Stream, read_stream, write_stream
from numchic_bitstream.v5.trailer import (
    Trailer,
    append_trailer,
    latents_crc,
    read_trailer,
    samples_digest,
)

__all__ = [
    "ArmParameters",
    "CoolChic",
    "CoolChicHeader",
    "CorruptError",
    "Descriptor",
    "Frame",
    "FrameHeader",
    "IfceParameters",
    "IntegrityError",
    "Layer",
    "LimitError",
    "Limits",
    "Macs",
    "Metadata",
    "NumchicError",
    "Parameters",
    "Stream",
    "StreamError",
    "SynthesisLayer",
    "SynthesisParameters",
    "Trailer",
    "TruncatedError",
    "UnsupportedError",
    "UpsamplingParameters",
    "UsageError",
    "VideoHeader",
    "append_trailer",
    "count_macs",
    "dump",
    "latents_crc",
    "read_parameters",
    "read_stream",
    "read_trailer",
    "samples_digest",
    "write_parameters",
    "write_stream",
]
