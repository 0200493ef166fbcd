# SPDX-License-Identifier: BSD-3-Clause
"""A light, exact and fast decoder for Cool-chic pictures and videos.

>>> import numchic
>>> picture = numchic.decode("picture.cool")        # doctest: +SKIP
>>> picture.planes[0].shape, picture.bitdepth       # doctest: +SKIP
((512, 768), 8)

Importing this package imports neither Numba nor any other framework. Where it was installed
without compiled kernels, the first call of :func:`decode` imports Numba, which compiles them once
per machine.
"""

from numchic._version import __version__
from numchic.api import decode, decode_frames, open, read_info  # noqa: A004
from numchic.files.pillow_plugin import register_pillow
from numchic.info import FrameInfo, PartInfo, StreamInfo, TrailerInfo
from numchic.opened import OpenedStream
from numchic.picture import Picture
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

__all__ = [
    "CorruptError",
    "FrameInfo",
    "IntegrityError",
    "LimitError",
    "Limits",
    "Metadata",
    "NumchicError",
    "OpenedStream",
    "PartInfo",
    "Picture",
    "StreamError",
    "StreamInfo",
    "TrailerInfo",
    "TruncatedError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "decode",
    "decode_frames",
    "open",
    "read_info",
    "register_pillow",
]
