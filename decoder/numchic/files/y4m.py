# SPDX-License-Identifier: BSD-3-Clause
"""Headers of Y4M files (YUV4MPEG2), and what of them is kept in metadata (docs/trailer.md, 3.4).

Streams say neither how fast frames follow each other nor what their colours mean; the header of a
Y4M file does. What becomes metadata comes back as it was, and nothing else: metadata of a stream
are checked like everything that somebody else has written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from numchic.picture import Picture
from numchic_bitstream.metadata import FRAME_RATE, Metadata, frame_rate
from numchic_bitstream.structure import FrameDataType

Y4M_TAGS = "y4m"
"""Key of the text that keeps the parameters I, A, C and X of a header."""
DEFAULT_RATE = (25, 1)

_MAX_TEXT = 1024  # characters
_MAX_HEADER = 96  # bytes; programs such as ffmpeg refuse long lines
_COLOUR = re.compile(r"(420|444)(?:jpeg|mpeg2|paldv|p(\d\d?))?", re.ASCII)
_TAG = re.compile(r"I[ptb?]|A\d{1,9}:\d{1,9}|C[!-~]+|X[!-~]+", re.ASCII)
_RATE = re.compile(r"F(\d+):(\d+)", re.ASCII)
_REDUNDANT = ("XYSCSS=", "XLENGTH=")  # C and the frames themselves say that


def colour_format(colour: str) -> tuple[FrameDataType, int] | None:
    """Data type and bit depth of the parameter C; None if the codec has no such samples.

    Examples
    --------
    >>> colour_format("420jpeg"), colour_format("444p10"), colour_format("422")
    (('yuv420', 8), ('yuv444', 10), None)
    """
    match = _COLOUR.fullmatch(colour)
    bitdepth = int(match[2] or 8) if match is not None else 0
    if match is None or not 8 <= bitdepth <= 16:
        return None
    return ("yuv420" if match[1] == "420" else "yuv444"), bitdepth


def metadata_of_parameters(parameters: Sequence[str]) -> Metadata | None:
    """What is kept of the parameters of a header; None if that is nothing.

    Parameters
    ----------
    parameters : sequence of str
        What follows ``YUV4MPEG2``, such as ``F30000:1001``.
    """
    rates = [match for match in map(_RATE.fullmatch, parameters) if match is not None]
    text = [(FRAME_RATE, f"{match[1]}/{match[2]}") for match in rates[:1]]
    if frame_rate(Metadata(text=tuple(text))) is None:
        text = []  # 0:0 says that it is not known
    tags = " ".join(_sound_tags(parameters))
    if tags and len(tags) <= _MAX_TEXT:
        text.append((Y4M_TAGS, tags))
    return Metadata(text=tuple(text)) if text else None


def _sound_tags(parameters: Sequence[str]) -> list[str]:
    return [p for p in parameters if _TAG.fullmatch(p) and not p.startswith(_REDUNDANT)]


def header(picture: Picture, rate: tuple[int, int] | None) -> bytes:
    """First line of a file.

    Parameters
    ----------
    picture : Picture
        Any frame of the video: 4:2:0 or 4:4:4. Its metadata give aspect, siting of the chroma
        samples and so on, where they are sound and fit the samples.
    rate : (int, int) or None
        Frames per second, as a fraction. None is that of the metadata, else 25.
    """
    kept = _kept_tags(picture)
    rate = rate or frame_rate(picture.metadata) or DEFAULT_RATE
    line = f"YUV4MPEG2 W{picture.width} H{picture.height} F{rate[0]}:{rate[1]}"
    for default in ("Ip", "A1:1", _default_colour(picture)):
        line += " " + next((tag for tag in kept if tag[0] == default[0]), default)
    for tag in kept:
        if tag[0] == "X" and len(line) + len(tag) + 2 <= _MAX_HEADER:
            line += " " + tag
    return line.encode("ascii") + b"\n"


def _kept_tags(picture: Picture) -> list[str]:
    """Parameters in the picture's metadata that a header may have."""
    text = picture.metadata.text_of(Y4M_TAGS) if picture.metadata is not None else None
    if text is None or len(text) > _MAX_TEXT:
        return []
    form = (picture.data_type, picture.bitdepth)
    tags = _sound_tags(text.split(" "))
    return [tag for tag in tags if tag[0] != "C" or colour_format(tag[1:]) == form]


def _default_colour(picture: Picture) -> str:
    colour = "C420" if picture.data_type == "yuv420" else "C444"
    if picture.bitdepth > 8:
        return f"{colour}p{picture.bitdepth}"
    # By this chroma samples lie between those of luma.
    return colour + ("jpeg" if picture.data_type == "yuv420" else "")
