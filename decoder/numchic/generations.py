# SPDX-License-Identifier: BSD-3-Clause
"""Which modules decode a stream: 5.0 those beside this one, 4.x those in ``numchic.v4``."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from numchic.video import FrameDecoder
from numchic_bitstream.generations import Coded
from numchic_bitstream.v5.stream import Stream


def frame_decoder(stream: Coded) -> FrameDecoder:
    """Give the function that decodes one frame of a stream; imports the kernels."""
    module = "numchic.generation5" if isinstance(stream, Stream) else "numchic.v4.frame"
    decoder: FrameDecoder = partial(import_module(module).decode_frame, stream)
    return decoder
