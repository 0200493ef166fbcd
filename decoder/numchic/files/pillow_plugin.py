# SPDX-License-Identifier: BSD-3-Clause
"""Opt-in plugin for Pillow; imports Pillow only when it is registered."""

from __future__ import annotations

from numchic_bitstream.limits import Limits


def register_pillow(*, limits: Limits | None = None) -> None:
    """Make ``PIL.Image.open`` read Cool-chic stills with 8-bit RGB samples.

    Opening reads size and mode from the headers; the picture is decoded when its pixels are first
    needed. Pillow's own limit on the number of pixels applies as for any other format. Pictures
    that Pillow has no mode for (YUV, whose conversion the stream does not define, and more than 8
    bits) and videos raise :class:`UnsupportedError`; use :func:`numchic.decode` for them.

    Parameters
    ----------
    limits : Limits, optional
        Limits for all pictures opened this way.

    Examples
    --------
    >>> numchic.register_pillow()                       # doctest: +SKIP
    >>> Image.open("picture.cool").resize((64, 64))     # doctest: +SKIP
    """
    from numchic.files.pillow_image import register

    register(limits or Limits())
